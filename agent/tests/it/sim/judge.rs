//! What must hold after every step, apart from the actors: plain functions over what one member was
//! told, said and shows. Only members that a step was about are looked at.
//!
//! The first breach is kept and ends the run. The judge believes no member: it reads the bytes itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use agent::moment::Moment;
use agent::swim::codec::{Message, State};
use agent::swim::packet::{PACKET_BYTES_MAX, unpack};
use agent::swim::stream::{STREAM_BYTES_MAX, StreamMessage};
use agent::swim::{DialId, Facts, Input, Notice, Output};
use shared::event::{MemberEvent, MemberStatus};

use super::machine::{Machine, Seen};
use super::network::Place;

/// The limits that swim states; larger figures are a breach.
const QUEUE_MAX: usize = 16_384;
const DIALS_MAX: usize = 256;
/// How often a rumour rides on packets that go out anyway, after it was told often enough.
const RIDES: u32 = 6;
/// Wakes of one member at one moment.
const WAKES_MAX: u32 = 100;
/// From then on who is gone is forgotten, and its name is free.
const REMEMBERED: Duration = Duration::from_secs(30);

/// What one life of one member has shown, been told and said.
#[derive(Default)]
struct File {
    shown: BTreeMap<String, Seen>,
    /// Of others, the highest incarnation that an alive message brought.
    heard: BTreeMap<String, (u32, SocketAddr)>,
    /// Of others, the highest incarnation that somebody doubted: it has refuted every doubt before that one.
    doubted: BTreeMap<String, u32>,
    /// How often each rumour was told, and about whom.
    told: HashMap<Vec<u8>, (String, u32)>,
    last_wake: Option<(Moment, u32)>,
    open: BTreeSet<DialId>,
}

#[derive(Default)]
pub(crate) struct Judge {
    /// Who said that whom failed, and when.
    pub(crate) failures: Vec<(Moment, Place, String)>,
    /// The first breach, in words.
    pub(crate) breach: Option<String>,
    /// What is sent is read and counted too; pools of thousands do without.
    pub(crate) reads_packets: bool,
    /// How often one member may tell one rumour.
    tellings_max: u32,
    /// Of every member, over all its lives, the highest incarnation that it claimed itself.
    claimed: BTreeMap<String, u32>,
    files: BTreeMap<Place, File>,
    pub(crate) checks: u64,
}

/// What a step was about, read before it.
#[derive(Default)]
pub(crate) struct Brief {
    /// Everybody mentioned.
    about: BTreeSet<String>,
    alive: Vec<(String, u32, SocketAddr)>,
    doubts: Vec<(String, u32)>,
    is_wake: bool,
    ended: Option<DialId>,
}

impl Brief {
    pub(crate) fn of(input: &Input<'_>) -> Self {
        let mut brief = Self::default();
        match input {
            Input::Wake => brief.is_wake = true,
            Input::Packet { bytes, .. } => {
                // A flaw in the bytes ends the reading; so it does for the member.
                let _ = unpack(bytes, &mut |bare| brief.mention(bare));
            }
            Input::Unanswered { dial, .. } => brief.ended = Some(*dial),
            Input::Accepted { bytes, .. } | Input::Answered { bytes, .. } => {
                if let Input::Answered { dial, .. } = input {
                    brief.ended = Some(*dial);
                }
                if let Ok(StreamMessage::PushPull(state)) = StreamMessage::read(bytes) {
                    for (member, state) in &state.members {
                        brief.about.insert(member.node.to_owned());
                        match state {
                            State::Alive => {
                                brief.alive.push((member.node.to_owned(), member.incarnation, member.address));
                            }
                            // Who is dead elsewhere is doubted here.
                            State::Suspect | State::Dead => {
                                brief.doubts.push((member.node.to_owned(), member.incarnation));
                            }
                            State::Left => {}
                        }
                    }
                }
            }
            Input::Order(_) => {}
        }
        brief
    }

    /// What comes on a stream that was given up is not heard: its socket is closed.
    fn into_heard(self, open: &BTreeSet<DialId>) -> Self {
        match self.ended {
            Some(dial) if !open.contains(&dial) => Self { about: self.about, ..Self::default() },
            _ => self,
        }
    }

    fn mention(&mut self, bare: &[u8]) {
        match Message::read(bare) {
            Ok(Message::Alive(alive)) => {
                self.about.insert(alive.node.to_owned());
                self.alive.push((alive.node.to_owned(), alive.incarnation, alive.address));
            }
            Ok(Message::Suspect(doubt)) => {
                self.about.insert(doubt.node.to_owned());
                self.doubts.push((doubt.node.to_owned(), doubt.incarnation));
            }
            Ok(Message::Dead(doubt)) => drop(self.about.insert(doubt.node.to_owned())),
            _ => {}
        }
    }
}

impl Judge {
    pub(crate) fn new(members: usize) -> Self {
        // memberlist's rule for a pool as large as this can be, and the rides.
        let tellings_max = 4 * ((members as f64 + 1.0).log10().ceil() as u32) + RIDES;
        Self { tellings_max, reads_packets: true, ..Self::default() }
    }

    /// A process starts anew: what it knew is void.
    pub(crate) fn forget(&mut self, place: Place) {
        self.files.remove(&place);
    }

    fn blame(&mut self, place: Place, outcome: Result<(), String>) {
        self.checks += 1;
        if let (None, Err(text)) = (&self.breach, outcome) {
            self.breach = Some(format!("node-{place}: {text}"));
        }
    }

    /// After a step: what was said, what is shown of everybody it was about, what is queued.
    pub(crate) fn look(&mut self, place: Place, now: Moment, me: &str, machine: &Machine, brief: Brief, out: &Output) {
        let mut file = self.files.remove(&place).unwrap_or_default();
        let brief = brief.into_heard(&file.open);
        let mut about = brief.about;
        about.insert(me.to_owned());
        for notice in &out.notices {
            if let Notice::Member(event) = notice
                && let Some(name) = self.hear(place, now, event, &mut file)
            {
                about.insert(name);
            }
        }
        let own = machine.swim.member(me).map_or(0, |us| us.incarnation);
        let claimed = self.claimed.entry(me.to_owned()).or_default();
        *claimed = own.max(*claimed);
        for name in &about {
            self.compare(place, now, name, machine, &mut file, &brief.alive);
        }
        for (name, incarnation, address) in brief.alive {
            if machine.look(&name).is_some_and(|seen| seen.address == address) {
                let heard = file.heard.entry(name).or_insert((0, address));
                *heard = (incarnation.max(heard.0), address);
            }
        }
        for (name, incarnation) in brief.doubts {
            // What came before it was listed, or was back, was about an earlier life.
            if machine.look(&name).is_some() && !out.notices.iter().any(|notice| begins(notice, &name)) {
                let doubted = file.doubted.entry(name).or_default();
                *doubted = incarnation.max(*doubted);
            }
        }
        if let Some(dial) = brief.ended {
            file.open.remove(&dial);
        }
        self.measure(place, now, brief.is_wake, machine, &mut file, out);
        // What this step told of those it lists anew belongs in part to the life before, nobody can say which.
        file.told.retain(|_, (about, _)| !out.notices.iter().any(|notice| begins(notice, about)));
        self.files.insert(place, file);
    }

    /// Takes what a member says of another, and says whom it is about.
    fn hear(&mut self, place: Place, now: Moment, event: &MemberEvent, file: &mut File) -> Option<String> {
        match event {
            MemberEvent::Failed(news) => {
                let (name, incarnation) = (&news.state.name, news.state.incarnation);
                self.failures.push((now, place, name.clone()));
                let heard = file.heard.get(name).map(|(heard, _)| *heard);
                self.blame(place, a_refuted_suspicion_never_kills(name, incarnation, "alive", heard));
                let doubted = file.doubted.get(name).copied();
                self.blame(place, a_refuted_suspicion_never_kills(name, incarnation, "doubted anew", doubted));
                Some(name.clone())
            }
            MemberEvent::Reaped(news) | MemberEvent::Joined(news) => {
                let name = &news.state.name;
                file.shown.remove(name);
                file.heard.remove(name);
                file.doubted.remove(name);
                file.told.retain(|_, (about, _)| about != name);
                Some(name.clone())
            }
            MemberEvent::Rejoined(news) => {
                let name = &news.state.name;
                file.heard.remove(name);
                file.doubted.remove(name);
                file.told.retain(|_, (about, _)| about != name);
                Some(name.clone())
            }
            MemberEvent::Suspected(news) | MemberEvent::Refuted(news) | MemberEvent::Left(news) => {
                Some(news.state.name.clone())
            }
            _ => None,
        }
    }

    fn compare(
        &mut self,
        place: Place,
        now: Moment,
        name: &str,
        machine: &Machine,
        file: &mut File,
        alive: &[(String, u32, SocketAddr)],
    ) {
        let Some(seen) = machine.look(name) else {
            file.shown.remove(name);
            return;
        };
        self.blame(place, nobody_else_raises_an_incarnation(name, &seen, self.claimed.get(name).copied()));
        if let Some(before) = file.shown.insert(name.to_owned(), seen) {
            let told = |needed: u32| {
                let now_told = alive.iter().any(|(about, incarnation, _)| about == name && *incarnation > needed);
                now_told || file.heard.get(name).is_some_and(|(incarnation, _)| *incarnation > needed)
            };
            self.blame(place, an_incarnation_never_decreases(name, now, &before, &seen));
            self.blame(place, who_left_stays_away(name, now, &before, &seen, told(before.incarnation)));
        }
    }

    fn measure(&mut self, place: Place, now: Moment, is_wake: bool, machine: &Machine, file: &mut File, out: &Output) {
        for packet in &out.packets {
            self.blame(place, a_packet_fits(packet.bytes.len(), PACKET_BYTES_MAX));
            if self.reads_packets {
                let limit = self.tellings_max;
                let mut most = None;
                let _ = unpack(&packet.bytes, &mut |bare| {
                    let times = count_telling(file, packet.to, bare);
                    most = most.max(times);
                });
                self.blame(place, a_rumour_is_told_so_often_at_most(most, limit));
            }
        }
        for bytes in out.dials.iter().map(|dial| &dial.bytes).chain(out.replies.iter().map(|reply| &reply.bytes)) {
            self.blame(place, a_packet_fits(bytes.len(), STREAM_BYTES_MAX));
        }
        self.blame(place, queues_are_bounded(&machine.swim.facts()));
        file.open.extend(out.dials.iter().map(|dial| dial.id));
        self.blame(place, streams_are_bounded(file.open.len()));
        if is_wake {
            let (at, times) = file.last_wake.unwrap_or_default();
            let times = if at == now { times + 1 } else { 1 };
            file.last_wake = Some((now, times));
            self.blame(place, time_goes_on(times));
        }
    }
}

/// Of a rumour, how often it was told by now; none for what is no rumour.
fn count_telling(file: &mut File, to: SocketAddr, bare: &[u8]) -> Option<u32> {
    let about = match Message::read(bare).ok()? {
        Message::Alive(alive) => alive.node,
        // Who is pinged while suspected is told so each time; that is no rumour.
        Message::Suspect(doubt) if file.shown.get(doubt.node).is_some_and(|seen| seen.address == to) => return None,
        Message::Suspect(doubt) | Message::Dead(doubt) => doubt.node,
        _ => return None,
    };
    let (_, times) = file.told.entry(bare.to_vec()).or_insert_with(|| (about.to_owned(), 0));
    *times += 1;
    Some(*times)
}

/// Gone for so long that SWIM no longer knows it, and takes whatever comes first.
fn may_be_forgotten(now: Moment, before: &Seen) -> bool {
    matches!(before.status, MemberStatus::Left | MemberStatus::Failed) && now.since(before.changed) >= REMEMBERED
}

fn an_incarnation_never_decreases(name: &str, now: Moment, before: &Seen, seen: &Seen) -> Result<(), String> {
    let anew = before.address != seen.address || may_be_forgotten(now, before);
    if anew || seen.incarnation >= before.incarnation {
        return Ok(());
    }
    Err(format!("an incarnation decreased: {name} went from {} to {}", before.incarnation, seen.incarnation))
}

fn nobody_else_raises_an_incarnation(name: &str, seen: &Seen, claimed: Option<u32>) -> Result<(), String> {
    match claimed {
        Some(claimed) if seen.incarnation > claimed => {
            Err(format!("{name} is listed with incarnation {} and never claimed more than {claimed}", seen.incarnation))
        }
        _ => Ok(()),
    }
}

fn a_refuted_suspicion_never_kills(name: &str, incarnation: u32, word: &str, heard: Option<u32>) -> Result<(), String> {
    match heard {
        Some(heard) if heard > incarnation => Err(format!(
            "a refuted suspicion killed: {name} failed at incarnation {incarnation}, though {word} with {heard} was heard"
        )),
        _ => Ok(()),
    }
}

/// It is listed for the first time, or again.
fn begins(notice: &Notice, name: &str) -> bool {
    match notice {
        Notice::Member(MemberEvent::Joined(news) | MemberEvent::Rejoined(news)) => news.state.name == name,
        _ => false,
    }
}

fn who_left_stays_away(name: &str, now: Moment, before: &Seen, seen: &Seen, told: bool) -> Result<(), String> {
    let returned = before.status == MemberStatus::Left && seen.status != MemberStatus::Left;
    if !returned || told || before.address != seen.address || may_be_forgotten(now, before) {
        return Ok(());
    }
    Err(format!("{name} left and is {:?} again without having joined", seen.status))
}

fn a_packet_fits(bytes: usize, limit: usize) -> Result<(), String> {
    if bytes > limit { Err(format!("{bytes} bytes go out where {limit} are allowed")) } else { Ok(()) }
}

fn a_rumour_is_told_so_often_at_most(times: Option<u32>, limit: u32) -> Result<(), String> {
    match times {
        Some(times) if times > limit => Err(format!("a rumour was told {times} times where {limit} are allowed")),
        _ => Ok(()),
    }
}

fn queues_are_bounded(facts: &Facts) -> Result<(), String> {
    let longest = facts.intent_queue.max(facts.event_queue).max(facts.query_queue);
    if longest > QUEUE_MAX { Err(format!("{longest} rumours wait")) } else { Ok(()) }
}

fn streams_are_bounded(open: usize) -> Result<(), String> {
    if open > DIALS_MAX { Err(format!("{open} streams are open at once")) } else { Ok(()) }
}

fn time_goes_on(wakes: u32) -> Result<(), String> {
    if wakes > WAKES_MAX { Err(format!("it was woken {wakes} times at one moment")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use agent::swim::codec::{Alive, Doubt};
    use agent::swim::packet::pack;
    use agent::swim::timing::Timing;
    use agent::swim::{Config, Order, Swim, VERSIONS, stream};
    use shared::event::Pool;

    use super::*;

    const ME: Place = 0;

    fn address(place: u8) -> SocketAddr {
        ([10, 0, 0, place], 8301).into()
    }

    /// One that dials node-1, which it knows at incarnation 1, and what the judge holds against it.
    struct Trial {
        judge: Judge,
        machine: Machine,
        now: Moment,
        dial: DialId,
    }

    impl Trial {
        fn new() -> Self {
            let config = Config {
                pool: Pool::Lan,
                name: "node-0".to_owned(),
                address: address(0),
                tags: BTreeMap::new(),
                timing: Timing::lan(),
                coordinates: false,
                seal_bytes: 0,
            };
            let now = Moment::from_micros(1);
            let swim = Swim::new(config, now, 7, &mut Output::default());
            let mut trial = Self { judge: Judge::new(2), machine: Machine::new(swim, None), now, dial: 0 };
            let claim = pack(&[Message::Alive(claim(1)).to_bytes()], true);
            trial.give(Input::Packet { from: address(1), bytes: &claim });
            let out = trial.give(Input::Order(Order::Join { ticket: 0, to: address(1) }));
            trial.dial = out.dials[0].id;
            trial
        }

        fn give(&mut self, input: Input<'_>) -> Output {
            let mut out = Output::default();
            let brief = Brief::of(&input);
            self.machine.handle(self.now, input, &mut out);
            self.judge.look(ME, self.now, "node-0", &self.machine, brief, &out);
            out
        }

        fn time_out(&mut self) {
            let reason = "i/o timeout".to_owned();
            self.give(Input::Unanswered { dial: self.dial, reason, refused: false });
        }

        /// Doubts incarnation 1 until nobody refuted in time.
        fn bury(&mut self) {
            let doubt = Doubt { incarnation: 1, node: "node-1", from: "node-2" };
            let bytes = pack(&[Message::Suspect(doubt).to_bytes()], true);
            self.give(Input::Packet { from: address(2), bytes: &bytes });
            self.now = self.now + Duration::from_secs(60);
            self.give(Input::Wake);
            assert_eq!(self.machine.look("node-1").map(|seen| seen.status), Some(MemberStatus::Failed));
        }
    }

    fn claim(incarnation: u32) -> Alive<'static> {
        Alive { incarnation, node: "node-1", address: address(1), meta: &[], versions: VERSIONS }
    }

    fn answer() -> Vec<u8> {
        stream::push_pull(false, [(claim(2), State::Alive)].into_iter(), &[])
    }

    #[test]
    fn an_answer_on_a_stream_that_was_given_up_is_not_heard() {
        let mut trial = Trial::new();
        trial.time_out();
        let (dial, bytes) = (trial.dial, answer());
        trial.give(Input::Answered { dial, bytes: &bytes });
        trial.bury();
        assert_eq!(trial.judge.breach, None);
    }

    #[test]
    fn an_answer_on_a_stream_that_waits_for_it_is_heard() {
        let mut trial = Trial::new();
        let bytes = answer();
        let brief = Brief::of(&Input::Answered { dial: trial.dial, bytes: &bytes });
        // A member that does not listen to it.
        let mut out = Output::default();
        let deaf = Input::Unanswered { dial: trial.dial, reason: String::new(), refused: false };
        trial.machine.handle(trial.now, deaf, &mut out);
        trial.judge.look(ME, trial.now, "node-0", &trial.machine, brief, &out);
        trial.bury();
        let breach = trial.judge.breach.unwrap_or_default();
        assert!(breach.contains("a refuted suspicion killed"), "{breach:?}");
    }
}
