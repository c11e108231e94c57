//! Members, a clock that is a value, and the events between them in order of time.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use agent::moment::Moment;
use agent::swim::codec::{Alive, State};
use agent::swim::timing::Timing;
use agent::swim::{Config, DialId, Input, Notice, Order, Output, Swim, VERSIONS, member, stream};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use shared::event::{MemberStatus, Pool};

use super::judge::{Brief, Judge};
use super::machine::{Flaw, Machine, Seen};
use super::network::{Leg, Network, Place};

const PORT: u16 = 8301;
/// How long the kernel of a host that is there takes to refuse a stream.
const REFUSED_AFTER: Duration = Duration::from_millis(1);
/// Lines of what happened last, for whoever reads a failure.
const LOG_LINES: usize = 40;

#[derive(Debug)]
enum Event {
    Wake {
        place: Place,
        life: u32,
    },
    Packet {
        to: Place,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// A stream's message, and who waits for the answer.
    Asked {
        to: Place,
        from: Place,
        life: u32,
        dial: DialId,
        bytes: Vec<u8>,
    },
    Answered {
        to: Place,
        life: u32,
        dial: DialId,
        bytes: Vec<u8>,
    },
    Unanswered {
        to: Place,
        life: u32,
        dial: DialId,
        reason: &'static str,
        refused: bool,
    },
}

impl Event {
    fn place(&self) -> Place {
        match self {
            Self::Wake { place, .. } => *place,
            Self::Packet { to, .. }
            | Self::Asked { to, .. }
            | Self::Answered { to, .. }
            | Self::Unanswered { to, .. } => *to,
        }
    }
}

struct Due {
    at: Moment,
    /// Events of one moment happen in the order in which they were made.
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first is the greatest, as a heap wants it.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// What keeps a process from its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    Free,
    /// Stopped by a signal: nothing runs, and what arrives waits.
    Paused,
    /// Its timers run, and every message waits, coming in and going out: the Lifeguard paper's anomaly.
    Muffled,
}

#[derive(Default)]
struct Node {
    /// None: its process has ended.
    machine: Option<Machine>,
    /// Counts restarts, so that what was meant for an earlier life does not reach a later one.
    life: u32,
    name: String,
    /// How often its host was given a new address.
    moves: u8,
    woken_at: Option<Moment>,
    hold: Hold,
    waiting: Vec<Event>,
    unsent: Vec<Output>,
    left: bool,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) network: Network,
    pub(crate) judge: Judge,
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) steps: u64,
    /// Keeps what happened last, in words.
    pub(crate) logs: bool,
    log: VecDeque<String>,
    timing: Timing,
    flaw: Option<Flaw>,
    nodes: Vec<Node>,
    events: BinaryHeap<Due>,
    last_event: u64,
    dice: SmallRng,
}

pub(crate) fn name(place: Place) -> String {
    format!("node-{place}")
}

impl World {
    fn empty(members: usize, timing: Timing, seed: u64) -> Self {
        let node = |place| Node { name: name(place), ..Node::default() };
        Self {
            now: Moment::from_micros(1),
            network: Network::default(),
            judge: Judge::new(members),
            packets_sent: 0,
            bytes_sent: 0,
            steps: 0,
            logs: false,
            log: VecDeque::new(),
            timing,
            flaw: None,
            nodes: (0..members).map(node).collect(),
            events: BinaryHeap::new(),
            last_event: 0,
            dice: SmallRng::seed_from_u64(seed),
        }
    }

    /// Everybody runs, and knows nobody.
    pub(crate) fn new(members: usize, timing: Timing, seed: u64) -> Self {
        Self::flawed(members, timing, seed, None)
    }

    pub(crate) fn flawed(members: usize, timing: Timing, seed: u64, flaw: Option<Flaw>) -> Self {
        let mut world = Self { flaw, ..Self::empty(members, timing, seed) };
        (0..members).for_each(|place| world.start(place));
        world
    }

    /// Places from `running` on are empty; the others run, and know each other already.
    pub(crate) fn formed(members: usize, running: usize, timing: Timing, seed: u64) -> Self {
        let mut world = Self::empty(members, timing, seed);
        let meta = member::to_meta(&tags());
        let names: Vec<String> = (0..running).map(name).collect();
        let known = names.iter().enumerate().map(|(place, node)| {
            let address = world.address(place);
            (Alive { incarnation: 1, node, address, meta: &meta, versions: VERSIONS }, State::Alive)
        });
        let state = stream::push_pull(false, known.collect::<Vec<_>>().into_iter(), &[]);
        let bytes = stream::plain(state).expect("our own bytes");
        let mut out = Output::default();
        let mut first = Swim::new(world.config(0), world.now, seed, &mut out);
        first.handle(world.now, Input::Accepted { stream: 0, from: world.address(0), bytes: &bytes }, &mut out);
        for place in 0..running {
            let (config, seed) = (world.config(place), world.dice.next_u64());
            let swim = Swim::beside(&first, config, world.now, seed);
            world.nodes[place].machine = Some(Machine::new(swim, None));
            world.nodes[place].life = 1;
            world.schedule(place);
        }
        world.judge.reads_packets = false;
        world
    }

    fn config(&self, place: Place) -> Config {
        Config {
            pool: Pool::Lan,
            name: self.nodes[place].name.clone(),
            address: self.address(place),
            tags: tags(),
            timing: self.timing.clone(),
            coordinates: true,
            seal_bytes: 0,
        }
    }

    /// The first byte tells how often its host was moved.
    pub(crate) fn address(&self, place: Place) -> SocketAddr {
        let [_, high, middle, low] = u32::try_from(place).expect("few members").to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10 + self.nodes[place].moves, high, middle, low)), PORT)
    }

    /// Whose address it is; none when nobody has it, or no longer.
    fn place_of(&self, address: SocketAddr) -> Option<Place> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        let [_, high, middle, low] = ip.octets();
        let place = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
        (place < self.nodes.len() && self.address(place) == address).then_some(place)
    }

    pub(crate) fn dice(&mut self) -> &mut SmallRng {
        &mut self.dice
    }

    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn swim(&self, place: Place) -> Option<&Swim> {
        self.nodes[place].machine.as_ref().map(|machine| &machine.swim)
    }

    pub(crate) fn is_running(&self, place: Place) -> bool {
        let node = &self.nodes[place];
        node.machine.is_some() && node.hold == Hold::Free && !node.left
    }

    pub(crate) fn running(&self) -> Vec<Place> {
        (0..self.size()).filter(|place| self.is_running(*place)).collect()
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.logs {
            if self.log.len() == LOG_LINES {
                self.log.pop_front();
            }
            let line = format!("{:9.3} s  {}", self.now.micros() as f64 / 1e6, line());
            self.log.push_back(line);
        }
    }

    pub(crate) fn log(&self) -> impl Iterator<Item = &str> {
        self.log.iter().map(String::as_str)
    }

    /// A process starts, knowing nobody.
    pub(crate) fn start(&mut self, place: Place) {
        let seed = self.dice.next_u64();
        let node = &mut self.nodes[place];
        *node =
            Node { name: std::mem::take(&mut node.name), life: node.life + 1, moves: node.moves, ..Node::default() };
        let mut out = Output::default();
        let swim = Swim::new(self.config(place), self.now, seed, &mut out);
        self.nodes[place].machine = Some(Machine::new(swim, self.flaw));
        self.judge.forget(place);
        self.carry_out(place, Brief::default(), out);
    }

    /// The host of a process that has ended is given a new address.
    pub(crate) fn move_host(&mut self, place: Place) {
        self.nodes[place].moves = (self.nodes[place].moves + 1) % 64;
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, place: Place) {
        let node = &mut self.nodes[place];
        node.machine = None;
        node.hold = Hold::Free;
        node.waiting.clear();
        node.unsent.clear();
    }

    pub(crate) fn pause(&mut self, place: Place) {
        self.nodes[place].hold = Hold::Paused;
    }

    pub(crate) fn muffle(&mut self, place: Place) {
        self.nodes[place].hold = Hold::Muffled;
    }

    /// Goes on; what waited is there at once.
    pub(crate) fn resume(&mut self, place: Place) {
        let node = &mut self.nodes[place];
        node.hold = Hold::Free;
        let (waiting, unsent) = (std::mem::take(&mut node.waiting), std::mem::take(&mut node.unsent));
        unsent.into_iter().for_each(|out| self.send(place, out));
        waiting.into_iter().for_each(|event| self.push(self.now, event));
    }

    pub(crate) fn join(&mut self, place: Place, to: Place) {
        let to = self.address(to);
        self.give(place, Input::Order(Order::Join { ticket: 0, to }));
    }

    pub(crate) fn leave(&mut self, place: Place) {
        self.give(place, Input::Order(Order::Leave));
    }

    pub(crate) fn force_leave(&mut self, place: Place, name: &str, prune: bool) {
        self.give(place, Input::Order(Order::ForceLeave { ticket: 0, name: name.to_owned(), prune }));
    }

    /// Runs until no event is left before `until`, or something is wrong.
    pub(crate) fn run_until(&mut self, until: Moment) {
        while self.events.peek().is_some_and(|due| due.at <= until) && self.judge.breach.is_none() {
            let Some(due) = self.events.pop() else { break };
            self.now = due.at;
            self.happen(due.event);
        }
        self.now = until;
    }

    pub(crate) fn run(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until `holds`, looked at every `step`; false when `limit` is over first.
    pub(crate) fn run_while_not(
        &mut self,
        limit: Duration,
        step: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.now >= end || self.judge.breach.is_some() {
                return false;
            }
            self.run(step);
        }
        true
    }

    /// Everybody who runs lists everybody who runs as alive, and nobody else so.
    pub(crate) fn agrees(&self) -> bool {
        let running = self.running();
        running.iter().all(|place| {
            let Some(swim) = self.swim(*place) else { return false };
            let mut alive = 0;
            for member in swim.members().filter(|member| member.shown_status() == MemberStatus::Alive) {
                if !self.place_of(member.address).is_some_and(|other| self.is_running(other)) {
                    return false;
                }
                alive += 1;
            }
            alive == running.len()
        })
    }

    pub(crate) fn look(&self, seen_by: Place, of: Place) -> Option<Seen> {
        self.nodes[seen_by].machine.as_ref()?.look(&self.nodes[of].name)
    }

    pub(crate) fn status(&self, seen_by: Place, of: Place) -> Option<MemberStatus> {
        self.look(seen_by, of).map(|seen| seen.status)
    }

    fn push(&mut self, at: Moment, event: Event) {
        self.last_event += 1;
        self.events.push(Due { at, number: self.last_event, event });
    }

    fn happen(&mut self, event: Event) {
        let place = event.place();
        let node = &mut self.nodes[place];
        let waits = match node.hold {
            Hold::Free => false,
            Hold::Paused => true,
            Hold::Muffled => matches!(event, Event::Packet { .. } | Event::Asked { .. } | Event::Answered { .. }),
        };
        if waits {
            node.waiting.push(event);
            return;
        }
        let (exists, life) = (node.machine.is_some(), node.life);
        match event {
            Event::Wake { life: meant, .. } => {
                if exists && meant == life && node.woken_at.is_some_and(|at| at <= self.now) {
                    node.woken_at = None;
                    self.give(place, Input::Wake);
                }
            }
            Event::Packet { from, bytes, .. } => {
                if exists {
                    self.give(place, Input::Packet { from, bytes: &bytes });
                }
            }
            Event::Asked { from, life: asker, dial, bytes, .. } => {
                if exists {
                    self.ask(place, from, asker, dial, &bytes);
                } else {
                    let reason = "connection refused";
                    let refusal = Event::Unanswered { to: from, life: asker, dial, reason, refused: true };
                    self.push(self.now + REFUSED_AFTER, refusal);
                }
            }
            Event::Answered { life: meant, dial, bytes, .. } => {
                if exists && meant == life {
                    self.give(place, Input::Answered { dial, bytes: &bytes });
                }
            }
            Event::Unanswered { life: meant, dial, reason, refused, .. } => {
                if exists && meant == life {
                    self.give(place, Input::Unanswered { dial, reason: reason.to_owned(), refused });
                }
            }
        }
    }

    /// A stream's message is heard, and its answer travels back.
    fn ask(&mut self, place: Place, from: Place, life: u32, dial: DialId, bytes: &[u8]) {
        let plain = stream::plain(bytes.to_vec()).expect("our own bytes");
        let input = Input::Accepted { stream: dial, from: self.address(from), bytes: &plain };
        for reply in self.give(place, input) {
            let bytes = stream::plain(reply).expect("our own bytes");
            match self.network.stream(place, from, &mut self.dice) {
                Leg::Arrives(after) => self.push(self.now + after, Event::Answered { to: from, life, dial, bytes }),
                Leg::Breaks(after) => self.push(self.now + after, reset(from, life, dial)),
                Leg::Vanishes => {}
            }
        }
    }

    fn give(&mut self, place: Place, input: Input<'_>) -> Vec<Vec<u8>> {
        let mut out = Output::default();
        let Some(machine) = &mut self.nodes[place].machine else { return Vec::new() };
        let brief = Brief::of(&input);
        machine.handle(self.now, input, &mut out);
        self.steps += 1;
        self.carry_out(place, brief, out)
    }

    /// Has it judged and sent; what goes back on an open stream is returned.
    fn carry_out(&mut self, place: Place, brief: Brief, mut out: Output) -> Vec<Vec<u8>> {
        let node = &self.nodes[place];
        if let Some(machine) = &node.machine {
            self.judge.look(place, self.now, &node.name, machine, brief, &out);
        }
        for notice in &out.notices {
            if let Notice::Member(event) = notice {
                self.note(|| super::schedule::told(place, event));
            }
        }
        let is_muffled = self.nodes[place].hold == Hold::Muffled;
        let has_left = out.notices.contains(&Notice::Left);
        let replies = std::mem::take(&mut out.replies);
        if is_muffled && !has_left {
            self.nodes[place].unsent.push(out);
        } else {
            self.send(place, out);
        }
        if has_left {
            self.kill(place);
            self.nodes[place].left = true;
        }
        self.schedule(place);
        replies.into_iter().map(|reply| reply.bytes).filter(|bytes| !bytes.is_empty()).collect()
    }

    fn send(&mut self, place: Place, out: Output) {
        let (life, from) = (self.nodes[place].life, self.address(place));
        for packet in out.packets {
            self.packets_sent += 1;
            self.bytes_sent += packet.bytes.len() as u64;
            let Some(to) = self.place_of(packet.to) else { continue };
            let [first, second] = self.network.packet(place, to, &mut self.dice);
            if let Some(after) = second {
                self.push(self.now + after, Event::Packet { to, from, bytes: packet.bytes.clone() });
            }
            if let Some(after) = first {
                self.push(self.now + after, Event::Packet { to, from, bytes: packet.bytes });
            }
        }
        for dial in out.dials {
            if let Some(to) = self.place_of(dial.to) {
                let asked = Event::Asked { to, from: place, life, dial: dial.id, bytes: dial.bytes };
                match self.network.stream(place, to, &mut self.dice) {
                    Leg::Arrives(after) => self.push(self.now + after, asked),
                    Leg::Breaks(after) => self.push(self.now + after, reset(place, life, dial.id)),
                    Leg::Vanishes => {}
                }
            }
            // Whichever comes first counts; the machine ignores the other.
            let late = Event::Unanswered { to: place, life, dial: dial.id, reason: "i/o timeout", refused: false };
            self.push(self.now + dial.limit, late);
        }
    }

    fn schedule(&mut self, place: Place) {
        let node = &mut self.nodes[place];
        let Some(at) = node.machine.as_ref().and_then(Machine::next_deadline) else {
            node.woken_at = None;
            return;
        };
        let at = at.max(self.now);
        if node.woken_at.is_none_or(|woken| at < woken) {
            node.woken_at = Some(at);
            let life = node.life;
            self.push(at, Event::Wake { place, life });
        }
    }
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("role".to_owned(), "node".to_owned())])
}

/// A stream that breaks midway.
fn reset(to: Place, life: u32, dial: DialId) -> Event {
    Event::Unanswered { to, life, dial, reason: "connection reset by peer", refused: false }
}
