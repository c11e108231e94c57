//! Owns the machines and the time: switches servers on and off, does what a schedule says, and in the
//! end heals everything and waits until all agree.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::RaftLogReader as _;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shared::event::{RaftEvent, Role};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::client::{Client, Crowd, leader};
use super::disk::{CrashDisk, Faults, held};
use super::judge::Judge;
use super::network::{Net, Weather};
use super::operator::Operator;
use super::schedule::{Deed, FOUNDERS, Flaw, MACHINES, Schedule};
use super::seams;
use crate::clock;
use crate::moment::Moment;
use crate::raft::bootstrap::{Map, Place};
use crate::raft::node::{Disks, Raft, open_on};
use crate::raft::promise::Promise;
use crate::raft::{Notice, OpenError, Options};
use crate::rpc::Pool;
use crate::store::command::{Command, KvCommand};
use crate::tasks::Tasks;

const STEP: Duration = Duration::from_millis(5);
const CLIENTS: u64 = 3;
const SEGMENT_BYTES: u64 = 4 << 10;
/// A server that opens its log and does not come to an end with it hangs.
const START_MAX: Duration = Duration::from_secs(30);
/// From the last fault until somebody leads.
const LED_WITHIN: Duration = Duration::from_secs(10);
/// From the last fault until somebody leads, all have everything and nothing is on its way.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

struct Machine {
    name: String,
    id: Uuid,
    at: SocketAddr,
    disk: Arc<CrashDisk>,
    /// An earlier day's, for the flaw of that name.
    old_disk: Option<Arc<CrashDisk>>,
    /// It is known on the disk that there has been a log.
    noted: bool,
    starts: u32,
    up: Option<(Raft, Tasks)>,
    /// When it is switched on; never, when it is not in the configuration.
    on_at: Option<Moment>,
}

/// What came of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Lived {
    pub(crate) breaches: Vec<String>,
    pub(crate) log: Vec<String>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) writes: usize,
    pub(crate) reads: usize,
    pub(crate) unknown: usize,
    pub(crate) terms: usize,
    pub(crate) starts: u32,
    pub(crate) streamed: u64,
    pub(crate) applies: u64,
}

pub(crate) struct World {
    machines: Vec<Machine>,
    net: Net,
    judge: Arc<Mutex<Judge>>,
    tasks: Tasks,
    crowd: Crowd,
    operator: Operator,
    rng: SmallRng,
    flaw: Option<Flaw>,
    log: Vec<String>,
}

/// Runs a schedule from its beginning to its verdict, in virtual time.
pub(crate) fn live(schedule: &Schedule, flaw: Option<Flaw>) -> Lived {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime of one thread").block_on(async {
        let (tasks, judge) = (Tasks::new(), Arc::default());
        let _here = seams::begin(schedule.seed, &tasks, &judge);
        World::new(schedule.seed, flaw, tasks, judge).live(schedule).await
    })
}

impl World {
    fn new(seed: u64, flaw: Option<Flaw>, tasks: Tasks, judge: Arc<Mutex<Judge>>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x5eed);
        let machine = |n: usize| {
            let disk = CrashDisk::new(rng.random());
            disk.harm(|faults| faults.lies = flaw == Some(Flaw::SyncsLie));
            Machine {
                name: format!("s{n}"),
                id: Uuid::from_u128(n as u128 + 1),
                at: SocketAddr::from(([10, 0, 0, n as u8 + 1], 8300)),
                disk,
                old_disk: None,
                noted: false,
                starts: 0,
                up: None,
                on_at: (n < FOUNDERS).then(clock::now),
            }
        };
        let machines = (0..MACHINES).map(machine).collect();
        let net = Net::new(rng.random(), &judge);
        let crowd: Crowd = Arc::new(Mutex::new(vec![None; MACHINES]));
        let operator = Operator::new(&crowd, &tasks);
        Self { machines, net, judge, tasks, crowd, operator, rng, flaw, log: Vec::new() }
    }

    async fn live(mut self, schedule: &Schedule) -> Lived {
        let clients = self.tasks.child();
        for n in 0..CLIENTS {
            let client = Client::new(format!("c{n}"), self.rng.random(), &self.crowd, &self.judge, self.flaw);
            let end = clients.token();
            clients.spawn("simulated client", async move {
                end.run_until_cancelled(client.run()).await;
            });
        }
        let start = clock::now();
        let mut deeds = schedule.deeds.iter();
        let mut next = deeds.next();
        let end = start + schedule.span();
        while clock::now() < end && !self.is_over() {
            self.attend().await;
            while let Some((at, deed)) = next.filter(|(at, _)| start + *at <= clock::now()) {
                self.tell(format!("{:?}: {deed}", at));
                self.perform(deed);
                next = deeds.next();
            }
            sleep(STEP).await;
        }
        if !self.is_over() {
            self.heal();
            self.settle().await;
        }
        clients.end(Duration::from_secs(10)).await;
        let judge = held(&self.judge);
        let counts = Counts {
            writes: judge.count(|came| matches!(came, super::history::Came::Wrote(..))),
            reads: judge.count(|came| matches!(came, super::history::Came::Saw(..))),
            unknown: judge.count(|came| matches!(came, super::history::Came::Unknown)),
            terms: judge.terms_led(),
            starts: self.machines.iter().map(|machine| machine.starts).sum(),
            streamed: judge.installed,
            applies: judge.applies,
        };
        Lived { breaches: judge.verdict(), log: self.log, counts }
    }

    fn is_over(&self) -> bool {
        held(&self.judge).first_breach().is_some()
    }

    fn tell(&mut self, text: String) {
        self.log.push(format!("{:>9} us  {text}", clock::now().micros()));
    }

    fn breach(&mut self, text: String) {
        self.tell(text.clone());
        held(&self.judge).breach(text);
    }

    /// Sees to machines that lost power, servers that stopped, and those that are to be switched on.
    async fn attend(&mut self) {
        for n in 0..MACHINES {
            let machine = &self.machines[n];
            if let Some((_, tasks)) = &machine.up {
                if machine.disk.is_gone() {
                    self.off(n, true);
                } else if tasks.fatal().is_cancelled() {
                    let (why, meant) = (tasks.failure().unwrap_or_default(), machine.disk.has_failed());
                    if !meant || why.contains("panicked") {
                        self.breach(format!("s{n} stopped, and nothing was wrong with its disk: {why}"));
                    }
                    self.off(n, false);
                }
            } else if machine.on_at.is_some_and(|at| at <= clock::now()) {
                self.on(n).await;
            }
        }
        let removed = std::mem::take(&mut *held(&self.operator.removed));
        for id in removed {
            let Some(n) = self.machines.iter().position(|machine| machine.id == id) else { continue };
            self.tell(format!("s{n} is not in the configuration any more"));
            self.off(n, false);
            self.machines[n].on_at = None;
        }
    }

    /// Ends the process of a machine, or its power, and plans its return.
    fn off(&mut self, n: usize, is_power: bool) {
        let pause = Duration::from_millis(self.rng.random_range(20..1_500));
        let machine = &mut self.machines[n];
        let old = Arc::clone(&machine.disk);
        machine.disk = if is_power { old.power_off() } else { old.hand_over() };
        if is_power && self.flaw == Some(Flaw::OldDisk) {
            let copy = machine.disk.crash(&mut self.rng);
            if let Some(old) = machine.old_disk.replace(copy) {
                machine.disk = old;
            }
        }
        self.net.gone(machine.at, is_power);
        held(&self.crowd)[n] = None;
        if let Some((raft, tasks)) = machine.up.take() {
            machine.on_at = Some(clock::now() + pause);
            let is_power = if is_power { "lost power" } else { "was ended" };
            // What is left of it reaches neither disk nor network.
            self.tasks.spawn("simulated end", async move {
                raft.shutdown().await;
                tasks.end(Duration::from_secs(10)).await;
            });
            self.tell(format!("s{n} {is_power}"));
        }
    }

    fn options(&self, n: usize) -> Options {
        let machine = &self.machines[n];
        Options {
            dir: None,
            node_id: machine.id,
            node_name: machine.name.clone(),
            address: machine.at.to_string(),
            multiplier: 1,
            bootstrap: false,
            snapshot_threshold: 40,
            snapshot_interval: Duration::ZERO,
            trailing_logs: 10,
        }
    }

    async fn on(&mut self, n: usize) {
        let (options, again) = (self.options(n), clock::now() + Duration::from_millis(self.rng.random_range(50..500)));
        let machine = &mut self.machines[n];
        machine.starts += 1;
        machine.on_at = Some(again);
        let (place, tasks, disk) = (format!("s{n}.{}", machine.starts), Tasks::new(), Arc::clone(&machine.disk));
        let disks = Disks {
            log: disk.dir(&place, "log"),
            snapshots: disk.dir(&place, "snapshots"),
            segment_bytes: SEGMENT_BYTES,
            is_expected: machine.noted,
        };
        let stop = tasks.clone();
        let on_failure = Box::new(move |text: &str| stop.fail(text));
        let promise = Promise::open(None).expect("in memory");
        let io = |source| OpenError::Io { dir: PathBuf::from(&place), source };
        let mut files = match open_on(disks, promise, on_failure, io) {
            Ok((files, _)) => files,
            Err(error) => return self.not_on(n, &error),
        };
        // So that a snapshot is many messages.
        files.chunk_bytes = 512;
        machine.noted |= !disk.is_gone();
        let vote = files.log.read_vote().await.ok().flatten();
        held(&self.judge).starts(machine.at, vote);
        let pool = Pool::routed(self.net.port(machine.at, &disk), &tasks);
        let (notices, told) = mpsc::channel(4_096);
        self.listen(&tasks, told);
        let prepared = Raft::prepare_on(files, options, pool, &tasks, notices, Arc::new(|_, _| {}));
        match timeout(START_MAX, prepared).await {
            Ok(Ok(raft)) => self.is_on(n, raft, tasks).await,
            Ok(Err(error)) => self.not_on(n, &error),
            Err(_) => self.breach(format!("s{n} does not come up")),
        }
    }

    fn listen(&self, tasks: &Tasks, mut told: mpsc::Receiver<Notice>) {
        let judge = Arc::clone(&self.judge);
        tasks.spawn("simulated listener", async move {
            while let Some(notice) = told.recv().await {
                if let Notice::Raft(RaftEvent::LeaderElected { term, leader_id, .. }) = notice {
                    held(&judge).leads(term, &leader_id);
                }
            }
        });
    }

    async fn is_on(&mut self, n: usize, raft: Raft, tasks: Tasks) {
        let map = self.founders();
        if n < FOUNDERS {
            // It was durable when it was made.
            let _ = raft.promise(&map).await;
        }
        let machine = &mut self.machines[n];
        self.net.serve(machine.at, raft.handler(), &machine.disk, &tasks);
        held(&self.crowd)[n] = Some(raft.clone());
        machine.up = Some((raft.clone(), tasks));
        let text = format!("s{n} is on for the {}. time", machine.starts);
        self.tell(text);
        let _ = raft.stand().await;
        if n == 0 && !raft.has_state().await {
            let _ = raft.form(&map).await;
        }
    }

    /// With a disk that fails that may be; later it may do.
    fn not_on(&mut self, n: usize, error: &OpenError) {
        let disk = Arc::clone(&self.machines[n].disk);
        let is_meant = disk.is_gone() || disk.has_failed();
        self.tell(format!("s{n} does not start: {error}"));
        if !is_meant {
            self.breach(format!("s{n} does not start, and nothing is wrong with its disk: {error}"));
        }
        self.machines[n].disk = disk.hand_over();
    }

    fn founders(&self) -> Map {
        let one =
            |machine: &Machine| (machine.id, Place { name: machine.name.clone(), address: machine.at.to_string() });
        self.machines[..FOUNDERS].iter().map(one).collect()
    }

    fn harm(&self, n: usize, change: impl FnOnce(&mut Faults)) {
        self.machines[n].disk.harm(change);
    }

    fn cut(&self, from: usize, to: usize) {
        self.net.cut(self.machines[from].at, self.machines[to].at);
    }

    fn perform(&mut self, deed: &Deed) {
        match deed {
            Deed::Power(who, operations) => {
                for n in who {
                    self.harm(*n, |faults| faults.power_in = Some(*operations));
                }
            }
            Deed::Kill(who) => {
                for n in who {
                    if self.machines[*n].up.is_some() {
                        self.off(*n, false);
                    }
                }
            }
            Deed::SyncFails(n, left) => self.harm(*n, |faults| faults.sync_fails_in = Some(*left)),
            Deed::WriteFails(n, left) => self.harm(*n, |faults| faults.write_fails_in = Some(*left)),
            Deed::Full(n) => self.harm(*n, |faults| faults.full = true),
            Deed::Room(n) => self.harm(*n, |faults| faults.full = false),
            Deed::Slow(n, most_ms) => seams::slow(&self.machines[*n].name, Some(*most_ms)),
            Deed::Quick(n) => seams::slow(&self.machines[*n].name, None),
            Deed::Cut(from, to) => self.cut(*from, *to),
            Deed::Split(who) => {
                for (from, to) in (0..MACHINES).flat_map(|from| (0..MACHINES).map(move |to| (from, to))) {
                    if who.contains(&from) != who.contains(&to) {
                        self.cut(from, to);
                    }
                }
            }
            Deed::Heal => self.net.heal(),
            Deed::Weather(weather) => self.net.weather(*weather),
            Deed::Transfer => self.operator.transfer(),
            Deed::Add(n) => {
                let machine = &mut self.machines[*n];
                machine.on_at = machine.on_at.or(Some(clock::now()));
                self.operator.add(machine.id, machine.name.clone(), machine.at.to_string());
            }
            Deed::Remove(n) => self.operator.remove(self.machines[*n].id),
            Deed::Wall(by_ms) => clock::set_wall(by_ms * 1_000),
        }
    }

    fn heal(&mut self) {
        self.tell("everything is well again".to_owned());
        self.net.heal();
        self.net.weather(Weather::FAIR);
        for machine in &self.machines {
            seams::slow(&machine.name, None);
            let lies = self.flaw == Some(Flaw::SyncsLie);
            machine.disk.harm(|faults| *faults = Faults { lies, ..Faults::default() });
        }
    }

    async fn settle(&mut self) {
        let until = clock::now() + SETTLED_WITHIN;
        let led_until = clock::now() + LED_WITHIN;
        let (mut why, mut is_led) = (String::new(), false);
        while clock::now() < until && !self.is_over() {
            self.attend().await;
            is_led |= leader(&self.crowd).is_some();
            if !is_led && clock::now() > led_until {
                self.breach(format!("nobody leads {LED_WITHIN:?} after the last fault\n{}", self.states()));
            }
            match self.settled().await {
                Ok(()) => return self.tell("all agree".to_owned()),
                Err(text) => why = text,
            }
            sleep(STEP * 10).await;
        }
        if !self.is_over() {
            self.breach(format!("not settled {SETTLED_WITHIN:?} after the last fault: {why}\n{}", self.states()));
        }
    }

    fn states(&self) -> String {
        let crowd = held(&self.crowd).clone();
        let one = |(n, raft): (usize, Option<Raft>)| Some(format!("s{n}: {:?}", *raft?.state().borrow()));
        crowd.into_iter().enumerate().filter_map(one).collect::<Vec<_>>().join("\n")
    }

    /// Somebody leads, every server of the configuration has what it has just written, and all are equal.
    async fn settled(&mut self) -> Result<(), String> {
        if self.operator.is_busy() {
            return Err("a change is on its way".to_owned());
        }
        let raft = leader(&self.crowd).ok_or("nobody leads")?;
        if raft.is_changing() {
            let _ = raft.finish_change().await;
            return Err("the configuration is changing".to_owned());
        }
        let wrote = timeout(Duration::from_secs(2), raft.write(last(clock::now()))).await;
        let Ok(Ok((index, _))) = wrote else { return Err(format!("a write came to {wrote:?}")) };
        let peers = raft.state().borrow().peers.clone();
        for peer in &peers {
            let n = self.machines.iter().position(|machine| machine.id.to_string() == peer.id);
            let n = n.ok_or("a server of the configuration is unknown")?;
            let machine = &mut self.machines[n];
            machine.on_at = machine.on_at.or(Some(clock::now()));
            let Some((server, _)) = &machine.up else { return Err(format!("s{n} is off")) };
            let mut state = server.state();
            let has = state.wait_for(|state| state.applied >= index && state.role != Role::Shutdown);
            if !matches!(timeout(Duration::from_secs(2), has).await, Ok(Ok(_))) {
                return Err(format!("s{n} has not applied entry {index}"));
            }
        }
        Ok(())
    }
}

/// A write whose value nobody else writes.
fn last(now: Moment) -> Command {
    let value = format!("last {}", now.micros()).into_bytes();
    Command::Kv(KvCommand::Set { key: "last".to_owned(), value, flags: 0 })
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.unknown += other.unknown;
        self.terms += other.terms;
        self.starts += other.starts;
        self.streamed += other.streamed;
        self.applies += other.applies;
    }
}
