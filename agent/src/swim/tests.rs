//! Transitions, each named for the rule it shows: messages in, what changed and what was said out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use shared::event::{MemberEvent, MemberStatus, Pool};

use super::codec::{Alive, Doubt, IndirectPing, Message, Ping, Source, State};
use super::member::Name;
use super::packet::{pack, unpack};
use super::stream::{self, StreamMessage};
use super::timing::Timing;
use super::wire::{Intent, SerfState, write_intent};
use super::{Config, ForceLeaveRefusal, Input, Notice, Order, Output, Remark, Swim, VERSIONS};
use crate::moment::Moment;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 8301))
}

pub(super) fn alive<'a>(node: &'a str, last: u8, incarnation: u32) -> Message<'a> {
    Message::Alive(Alive { incarnation, node, address: address(last), meta: b"\xff\x80", versions: VERSIONS })
}

fn suspect<'a>(node: &'a str, from: &'a str, incarnation: u32) -> Message<'a> {
    Message::Suspect(Doubt { incarnation, node, from })
}

pub(super) fn dead<'a>(node: &'a str, from: &'a str, incarnation: u32) -> Message<'a> {
    Message::Dead(Doubt { incarnation, node, from })
}

/// One member `me` at 10.0.0.1 and its clock.
pub(super) struct Subject {
    pub(super) swim: Swim,
    pub(super) now: Moment,
}

impl Subject {
    fn alone() -> Self {
        let config = Config {
            pool: Pool::Lan,
            name: "me".to_owned(),
            address: address(1),
            tags: BTreeMap::new(),
            timing: Timing::lan(),
            seal_bytes: 0,
            coordinates: true,
        };
        let now = Moment::from_micros(1_000_000);
        Self { swim: Swim::new(config, now, 0xF0CA, &mut Output::default()), now }
    }

    /// `me` and others called `a`, `b`, ... at 10.0.0.2, .3, ...
    pub(super) fn among(others: &[&str]) -> Self {
        let mut subject = Self::alone();
        for (last, name) in (2..).zip(others) {
            subject.hear(&[alive(name, last, 1)]);
        }
        subject
    }

    pub(super) fn input(&mut self, input: Input<'_>) -> Output {
        let mut out = Output::default();
        self.swim.handle(self.now, input, &mut out);
        out
    }

    pub(super) fn hear(&mut self, messages: &[Message<'_>]) -> Output {
        let parts: Vec<Vec<u8>> = messages.iter().map(Message::to_bytes).collect();
        self.input(Input::Packet { from: address(9), bytes: &pack(&parts, true) })
    }

    /// Time passes, and every deadline in it is met at its moment.
    pub(super) fn pass(&mut self, span: Duration) -> Output {
        let end = self.now + span;
        let mut all = Output::default();
        while let Some(at) = self.swim.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let out = self.input(Input::Wake);
            all.packets.extend(out.packets);
            all.dials.extend(out.dials);
            all.notices.extend(out.notices);
        }
        self.now = end;
        all
    }

    pub(super) fn status(&self, name: &str) -> Option<MemberStatus> {
        self.swim.members.get(name).map(super::member::Member::shown_status)
    }

    fn incarnation(&self, name: &str) -> u32 {
        self.swim.members[name].incarnation
    }
}

/// Every bare message in these packets that `wanted` picks, as bytes.
pub(super) fn sent(out: &Output, wanted: impl Fn(&Message<'_>) -> bool) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut found = Vec::new();
    for packet in &out.packets {
        unpack(&packet.bytes, &mut |bare| {
            if Message::read(bare).is_ok_and(|message| wanted(&message)) {
                found.push((packet.to, bare.to_vec()));
            }
        })
        .expect("our own packet");
    }
    found
}

fn remarks(out: &Output) -> Vec<&Remark> {
    out.notices
        .iter()
        .filter_map(|notice| if let Notice::Remark(remark) = notice { Some(remark) } else { None })
        .collect()
}

/// One other member in state `before` at incarnation 5; a message about it; what it is then.
#[track_caller]
fn check(before: State, message: &Message<'_>, status: MemberStatus, incarnation: u32) {
    let mut subject = Subject::among(&[]);
    subject.hear(&[alive("a", 2, 5)]);
    match before {
        State::Alive => {}
        State::Suspect => drop(subject.hear(&[suspect("a", "b", 5)])),
        State::Dead => drop(subject.hear(&[dead("a", "b", 5)])),
        State::Left => drop(subject.hear(&[dead("a", "a", 5)])),
    }
    subject.hear(&[*message]);
    assert_eq!((subject.status("a"), subject.incarnation("a")), (Some(status), incarnation), "{before:?} {message:?}");
}

#[test]
fn newer_overrides_older_and_worse_overrides_as_new() {
    use MemberStatus::{Alive, Failed, Left, Suspect};
    check(State::Alive, &alive("a", 2, 4), Alive, 5);
    check(State::Alive, &alive("a", 2, 6), Alive, 6);
    check(State::Alive, &suspect("a", "b", 4), Alive, 5);
    check(State::Alive, &suspect("a", "b", 5), Suspect, 5);
    check(State::Alive, &suspect("a", "b", 7), Suspect, 7);
    check(State::Alive, &dead("a", "b", 4), Alive, 5);
    check(State::Alive, &dead("a", "b", 5), Failed, 5);
    check(State::Alive, &dead("a", "a", 5), Left, 5);
    check(State::Suspect, &alive("a", 2, 5), Suspect, 5);
    check(State::Suspect, &alive("a", 2, 6), Alive, 6);
    check(State::Suspect, &suspect("a", "c", 4), Suspect, 5);
    check(State::Suspect, &suspect("a", "c", 7), Suspect, 7);
    check(State::Suspect, &dead("a", "b", 5), Failed, 5);
    check(State::Dead, &alive("a", 2, 5), Failed, 5);
    check(State::Dead, &alive("a", 2, 6), Alive, 6);
    check(State::Dead, &suspect("a", "b", 9), Failed, 5);
    check(State::Left, &alive("a", 2, 6), Alive, 6);
    check(State::Left, &dead("a", "b", 9), Left, 5);
}

#[test]
fn news_of_strangers_counts_only_when_they_are_alive() {
    let mut subject = Subject::alone();
    let out = subject.hear(&[suspect("x", "a", 1), dead("y", "a", 1), alive("z", 4, 1)]);
    let names: Vec<_> = subject.swim.members().map(|member| &*member.name).collect();
    assert_eq!(names, ["me", "z"]);
    assert!(matches!(&out.notices[..], [Notice::Member(MemberEvent::Joined(news))] if news.state.name == "z"));
}

#[test]
fn an_accusation_of_ourselves_is_refuted_with_a_higher_incarnation() {
    for accusation in [suspect("me", "a", 7), dead("me", "a", 7)] {
        let mut subject = Subject::among(&["a"]);
        let mut out = subject.hear(&[accusation]);
        assert_eq!(subject.incarnation("me"), 8);
        assert_eq!(subject.status("me"), Some(MemberStatus::Alive));
        assert_eq!(subject.swim.facts().health_score, 1, "who is accused doubts itself");
        out.packets.extend(subject.pass(SECOND).packets);
        let said = sent(&out, |message| matches!(message, Message::Alive(alive) if alive.incarnation == 8));
        assert!(!said.is_empty());
    }
}

#[test]
fn a_refuted_suspicion_never_kills() {
    let mut subject = Subject::among(&["a", "b", "c"]);
    subject.hear(&[suspect("a", "b", 1)]);
    subject.hear(&[alive("a", 2, 2)]);
    assert_eq!(subject.status("a"), Some(MemberStatus::Alive));
    assert_eq!(subject.swim.deadlines.at(&super::deadlines::Timer::Suspicion(Name::from("a"))), None);
}

#[test]
fn a_newer_suspicion_tells_of_a_refutation_and_begins_anew() {
    let mut subject = Subject::among(&["a", "b", "c", "d"]);
    let deadline = |subject: &Subject| subject.swim.deadlines.at(&super::deadlines::Timer::Suspicion(Name::from("a")));
    for doubter in ["b", "c"] {
        subject.hear(&[suspect("a", doubter, 1)]);
    }
    subject.pass(SECOND / 100);
    let out = subject.hear(&[suspect("a", "d", 2)]);
    let [Notice::Member(MemberEvent::Refuted(refuted)), Notice::Member(MemberEvent::Suspected(anew))] =
        &out.notices[..]
    else {
        panic!("{:?}", out.notices)
    };
    let told = |account: &shared::event::Account| (account.from.clone(), account.suspected_by.join(" "));
    assert_eq!(told(&refuted.account), (Some("a".to_owned()), "b c".to_owned()));
    assert_eq!((refuted.state.status, refuted.state.incarnation), (MemberStatus::Alive, 2));
    assert_eq!(told(&anew.account), (Some("d".to_owned()), "d".to_owned()));
    assert_eq!((subject.status("a"), subject.incarnation("a")), (Some(MemberStatus::Suspect), 2));
    assert_eq!(deadline(&subject), Some(subject.now + 24 * SECOND), "nobody shares the new doubt yet");

    // The refutation itself, the new doubt again and the old ones come late: none is news.
    let before = deadline(&subject);
    let out = subject.hear(&[alive("a", 2, 2), suspect("a", "d", 2), suspect("a", "b", 1), dead("a", "c", 1)]);
    assert!(out.notices.is_empty(), "{:?}", out.notices);
    assert_eq!((subject.status("a"), deadline(&subject)), (Some(MemberStatus::Suspect), before));
}

/// How many seconds a suspicion lasts in a pool of `others` and us, after these doubters.
#[track_caller]
fn check_doubt(others: &[&str], doubters: &[&str], seconds: u64) {
    let mut subject = Subject::among(others);
    for doubter in doubters {
        subject.hear(&[suspect("a", doubter, 1)]);
    }
    let deadline = subject.swim.deadlines.at(&super::deadlines::Timer::Suspicion(Name::from("a")));
    assert_eq!(deadline, Some(subject.now + Duration::from_secs(seconds)));
}

#[test]
fn doubt_is_long_unless_others_share_it() {
    check_doubt(&["a", "b"], &["b"], 4);
    check_doubt(&["a", "b", "c", "d"], &["b"], 24);
    check_doubt(&["a", "b", "c", "d"], &["b", "b"], 24);
    check_doubt(&["a", "b", "c", "d"], &["b", "c", "d"], 4);
}

#[test]
fn a_member_that_answers_is_not_doubted() {
    let mut subject = Subject::among(&["a"]);
    for _ in 0..20 {
        let out = subject.pass(SECOND);
        for (_, bytes) in sent(&out, |message| matches!(message, Message::Ping(_))) {
            let Ok(Message::Ping(ping)) = Message::read(&bytes) else { unreachable!("a ping was picked") };
            subject.hear(&[Message::Ack { seq: ping.seq, payload: &[] }]);
        }
    }
    assert_eq!(subject.status("a"), Some(MemberStatus::Alive));
}

#[test]
fn a_silent_member_is_asked_by_others_and_by_stream_then_suspected_then_failed() {
    let mut subject = Subject::among(&["a", "b"]);
    let out = subject.pass(3 * SECOND);
    let asked = sent(&out, |message| matches!(message, Message::IndirectPing(_)));
    assert!(!asked.is_empty());
    assert!(!out.dials.is_empty(), "the stream was tried");
    let suspected = ["a", "b"].iter().any(|name| subject.status(name) == Some(MemberStatus::Suspect));
    assert!(suspected);
    subject.pass(Duration::from_secs(20));
    assert_eq!(subject.status("a"), Some(MemberStatus::Failed));
    assert_eq!(subject.status("b"), Some(MemberStatus::Failed));
}

#[test]
fn a_member_that_only_streams_reach_is_not_suspected() {
    let mut subject = Subject::among(&["a"]);
    let mut seen = Vec::new();
    for _ in 0..40 {
        let out = subject.pass(Duration::from_millis(100));
        for dial in &out.dials {
            let Ok(StreamMessage::Bare(Message::Ping(ping))) = StreamMessage::read(&dial.bytes) else { continue };
            let ack = Message::Ack { seq: ping.seq, payload: &[] }.to_bytes();
            subject.input(Input::Answered { dial: dial.id, bytes: &ack });
        }
        seen.extend(remarks(&out).into_iter().cloned());
    }
    assert!(seen.iter().any(|remark| matches!(remark, Remark::PacketsLost { .. })), "{seen:?}");
    assert_eq!(subject.status("a"), Some(MemberStatus::Alive));
}

#[test]
fn a_ping_for_another_is_not_answered() {
    let mut subject = Subject::among(&["a"]);
    let out = subject.hear(&[Message::Ping(Ping { seq: 4, node: "you", source: None })]);
    assert!(sent(&out, |message| matches!(message, Message::Ack { .. })).is_empty());
    assert!(matches!(remarks(&out)[..], [Remark::WrongPing { .. }]));
}

#[test]
fn an_answer_goes_to_the_socket_that_the_asker_names() {
    let mut subject = Subject::among(&["a"]);
    let source = Some(Source { address: address(2), node: "a" });
    let out = subject.hear(&[Message::Ping(Ping { seq: 4, node: "me", source })]);
    assert_eq!(sent(&out, |message| matches!(message, Message::Ack { seq: 4, .. }))[0].0, address(2));
}

#[test]
fn a_relay_passes_the_ack_on_or_says_that_none_came() {
    let asked = |seq| {
        let source = Some(Source { address: address(3), node: "b" });
        Message::IndirectPing(IndirectPing { seq, target: address(2), node: "a", nack: true, source })
    };
    let mut subject = Subject::among(&["a", "b"]);
    let out = subject.hear(&[asked(70)]);
    let (to, bytes) = sent(&out, |message| matches!(message, Message::Ping(_))).remove(0);
    let Ok(Message::Ping(ping)) = Message::read(&bytes) else { unreachable!("a ping was picked") };
    assert_eq!(to, address(2));
    let out = subject.hear(&[Message::Ack { seq: ping.seq, payload: &[] }]);
    assert_eq!(sent(&out, |message| matches!(message, Message::Ack { seq: 70, .. }))[0].0, address(3));
    subject.hear(&[asked(71)]);
    let out = subject.pass(SECOND);
    assert_eq!(sent(&out, |message| matches!(message, Message::Nack { seq: 71 }))[0].0, address(3));
}

#[test]
fn a_name_does_not_move_to_another_address_while_its_owner_is_there() {
    let mut subject = Subject::among(&["a"]);
    let out = subject.hear(&[alive("a", 7, 9)]);
    assert!(matches!(remarks(&out)[..], [Remark::NameConflict { .. }]), "{out:?}");
    assert_eq!(subject.swim.members["a"].address, address(2));
    subject.hear(&[dead("a", "a", 1)]);
    subject.hear(&[alive("a", 7, 1)]);
    assert_eq!(subject.swim.members["a"].address, address(7), "who left gave its address up");
    assert_eq!(subject.status("a"), Some(MemberStatus::Alive));
}

#[test]
fn a_failed_name_may_come_back_elsewhere_after_a_while() {
    let mut subject = Subject::among(&["a"]);
    subject.hear(&[dead("a", "b", 1)]);
    subject.hear(&[alive("a", 7, 9)]);
    assert_eq!(subject.status("a"), Some(MemberStatus::Failed));
    subject.pass(31 * SECOND);
    subject.hear(&[alive("a", 7, 1)]);
    assert_eq!(subject.status("a"), Some(MemberStatus::Alive));
}

#[test]
fn what_others_call_dead_is_only_suspected_by_us() {
    let mut subject = Subject::among(&["a", "b"]);
    let dial = subject.input(Input::Order(Order::Join { ticket: 1, to: address(3) })).dials.remove(0);
    let told = |node, last, incarnation, state| {
        (Alive { incarnation, node, address: address(last), meta: b"\xff\x80", versions: VERSIONS }, state)
    };
    let members = vec![told("a", 2, 1, State::Dead), told("b", 3, 2, State::Alive), told("c", 4, 3, State::Left)];
    let user = SerfState { ltime: 40, ..SerfState::default() }.to_bytes();
    let bytes = stream::plain(stream::push_pull(false, members.into_iter(), &user)).expect("our own bytes");
    let out = subject.input(Input::Answered { dial: dial.id, bytes: &bytes });
    assert_eq!(subject.status("a"), Some(MemberStatus::Suspect));
    assert_eq!(subject.incarnation("b"), 2);
    assert_eq!(subject.status("c"), None);
    assert!(out.notices.contains(&Notice::JoinEnded { ticket: 1, outcome: Ok(()) }));
    assert!(subject.swim.clock.now() >= 40, "Lamport time is caught up with");
}

#[test]
fn an_intent_before_its_member_is_remembered() {
    let mut subject = Subject::alone();
    let intent = write_intent(&Intent { leaves: true, ltime: 9, node: "a", prune: false });
    subject.hear(&[Message::User(&intent)]);
    subject.hear(&[alive("a", 2, 1)]);
    assert_eq!(subject.status("a"), Some(MemberStatus::Leaving));
    subject.hear(&[dead("a", "b", 1)]);
    assert_eq!(subject.status("a"), Some(MemberStatus::Left), "it meant to");
}

#[test]
fn leaving_that_never_ends_is_no_leaving() {
    let mut subject = Subject::among(&["a"]);
    let intent = write_intent(&Intent { leaves: true, ltime: 9, node: "a", prune: false });
    subject.hear(&[Message::User(&intent)]);
    assert_eq!(subject.status("a"), Some(MemberStatus::Leaving));
    let timer = super::deadlines::Timer::Leaving(Name::from("a"));
    let at = subject.swim.deadlines.at(&timer).expect("it is watched");
    subject.swim.leaving_expired(&Name::from("a"), &mut Output::default());
    assert_eq!(subject.status("a"), Some(MemberStatus::Alive));
    assert_eq!(at, subject.now + Duration::from_secs(60));
}

#[test]
fn somebody_elses_intent_that_we_leave_is_refuted() {
    let mut subject = Subject::among(&["a"]);
    let intent = write_intent(&Intent { leaves: true, ltime: 9, node: "me", prune: false });
    let mut out = subject.hear(&[Message::User(&intent)]);
    assert!(remarks(&out).contains(&&Remark::LeaveRefuted));
    out.packets.extend(subject.pass(SECOND).packets);
    let join = write_intent(&Intent { leaves: false, ltime: 10, node: "me", prune: false });
    assert!(!sent(&out, |message| *message == Message::User(&join)).is_empty());
}

#[test]
fn only_who_is_gone_can_be_forced_out() {
    let mut subject = Subject::among(&["a"]);
    let now = subject.now;
    let mut force = |name: &str, prune| subject.swim.force_leave(now, name, prune, &mut Output::default());
    assert_eq!(force("x", false), Err(ForceLeaveRefusal::Unknown));
    assert_eq!(force("a", false), Err(ForceLeaveRefusal::Alive));
    assert_eq!(force("me", false), Err(ForceLeaveRefusal::Alive));
    subject.hear(&[dead("a", "b", 1)]);
    let mut force = |name: &str, prune| subject.swim.force_leave(now, name, prune, &mut Output::default());
    assert_eq!(force("a", false), Ok(()));
    assert_eq!(subject.status("a"), Some(MemberStatus::Left));
    let mut force = |name: &str, prune| subject.swim.force_leave(now, name, prune, &mut Output::default());
    assert_eq!(force("a", true), Ok(()));
    assert_eq!(subject.status("a"), None);
}

#[test]
fn the_failed_are_listed_three_days_and_the_left_one() {
    let mut subject = Subject::among(&["a", "b"]);
    subject.hear(&[dead("a", "x", 1), dead("b", "b", 1)]);
    let hour = 3600 * SECOND;
    subject.pass(23 * hour);
    assert_eq!(subject.status("b"), Some(MemberStatus::Left));
    subject.pass(2 * hour);
    assert_eq!(subject.status("b"), None);
    assert_eq!(subject.status("a"), Some(MemberStatus::Failed));
    subject.pass(48 * hour);
    assert_eq!(subject.status("a"), None);
    assert_eq!(subject.swim.next_deadline(), None, "alone again, nothing is awaited");
}

#[test]
fn bytes_of_no_pool_are_counted_and_change_nothing() {
    let mut subject = Subject::among(&["a"]);
    for bytes in [&b""[..], b"\xff", b"\x07\x05\x00", b"\x0c\x00\x00\x00\x00\x00", b"\x09\x81\xa4Algo\x00", b"\x04\x80"]
    {
        subject.input(Input::Packet { from: address(9), bytes });
    }
    assert_eq!(subject.swim.facts().counters.malformed, 6);
    assert_eq!(subject.swim.members().count(), 2);
}

#[test]
fn the_failed_are_tried_again_in_turn() {
    let mut subject = Subject::among(&["a", "b", "c"]);
    subject.hear(&["a", "b", "c"].map(|name| dead(name, "x", 1)));
    let out = subject.pass(7 * 30 * SECOND);
    let tried: Vec<&str> = out
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Remark(Remark::Reconnecting { name, .. }) => Some(&**name),
            _ => None,
        })
        .collect();
    assert!(tried.len() >= 6, "{tried:?}");
    assert!(tried.windows(3).all(|three| BTreeSet::from_iter(three).len() == 3), "{tried:?}");
}
