//! What a stranger can make us do and keep: every limit on input, reached.

use std::net::SocketAddr;
use std::time::Duration;

use super::codec::{Alive, Message, Ping, State, kind};
use super::msgpack::{Flaw, Writer};
use super::packet::{deflate, pack, unpack};
use super::stream::{self, Scan, StreamMessage};
use super::tests::{Subject, alive};
use super::wire::{Intent, SerfState, write_intent};
use super::{Input, VERSIONS};

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 9, last], 8301))
}

/// How many messages are visited, and whether the packet was taken to its end.
fn visits(packet: &[u8]) -> (usize, bool) {
    let mut visited = 0;
    let outcome = unpack(packet, &mut |_| visited += 1);
    (visited, outcome.is_ok())
}

fn compound(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![kind::COMPOUND, u8::try_from(parts.len()).expect("at most 255")];
    for part in parts {
        out.extend(u16::try_from(part.len()).expect("a short part").to_be_bytes());
    }
    parts.iter().for_each(|part| out.extend(part));
    out
}

#[test]
fn what_is_packed_twice_does_not_multiply() {
    let large = deflate(&vec![kind::USER; 1000 << 10]).expect("it gets smaller");
    assert!(large.len() < 3000, "{}", large.len());
    assert_eq!(visits(&large), (1, true));
    // Each alone is lawful, all together are not.
    let bomb = compound(&vec![large; 30]);
    assert_eq!(visits(&bomb), (1, false));
    let twice = deflate(&bomb).expect("it gets smaller still");
    assert_eq!(visits(&twice), (0, false), "what the outer one took the inner one has not");
}

#[test]
fn a_packet_holds_no_more_messages_than_a_lawful_one_could() {
    let full = compound(&vec![vec![kind::USER]; 255]);
    assert_eq!(visits(&full), (255, true));
    let (visited, whole) = visits(&compound(&vec![full; 20]));
    assert!((255..1024).contains(&visited) && !whole, "{visited}");
}

#[test]
fn wrappers_nest_only_so_deep() {
    let mut packet = vec![kind::USER];
    for _ in 0..4 {
        packet = compound(&[packet]);
    }
    assert_eq!(visits(&packet), (1, true));
    assert_eq!(visits(&compound(&[packet])), (0, false));
}

fn scan(bytes: &[u8]) -> Result<bool, Flaw> {
    Scan::default().is_whole(bytes)
}

#[test]
fn a_stream_that_can_never_be_ours_ends_early() {
    // A member that is an endless list, a ping that is one, a compressed message with something else in it.
    let mut endless = vec![kind::PUSH_PULL];
    let mut writer = Writer(&mut endless);
    writer.map(1);
    writer.field("Nodes", |w| w.uint(1));
    writer.array(1 << 20);
    assert_eq!(scan(&endless), Ok(false), "it may still become one");
    endless.extend(vec![0xc0; 100 << 10]);
    assert!(scan(&endless).is_err());
    let mut ping = vec![kind::PING, 0xdd, 0x00, 0x10, 0x00, 0x00];
    ping.extend(vec![0xc0; 100 << 10]);
    assert!(scan(&ping).is_err());
    let mut packed = vec![kind::COMPRESS];
    let mut writer = Writer(&mut packed);
    writer.map(1);
    writer.field("Else", |w| w.array(1 << 20));
    assert!(scan(&packed).is_err());
    assert!(scan(&[kind::LABEL, 1, b'x']).is_err());
    assert!(scan(&vec![kind::USER; (20 << 20) + 1]).is_err(), "longer than any state");
}

#[test]
fn a_state_claims_no_more_members_and_inflates_no_further_than_any_pool() {
    let mut claimed = vec![kind::PUSH_PULL];
    let mut writer = Writer(&mut claimed);
    writer.map(1);
    writer.field("Nodes", |w| w.uint(1 << 21));
    assert!(scan(&claimed).is_err() && StreamMessage::read(&claimed).is_err());
    let bomb = deflate(&vec![0; 41 << 20]).expect("it gets smaller");
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    assert!(stream::plain(bomb).is_err());
}

#[test]
fn names_and_tags_that_no_member_has_are_not_kept() {
    let long = "n".repeat(256);
    let mut subject = Subject::among(&["a"]);
    let meta = [0xff; 513];
    let member =
        |node, meta| Message::Alive(Alive { incarnation: 1, node, address: address(1), meta, versions: VERSIONS });
    subject.hear(&[member(&long, &[]), member("b", &meta), member("", &[])]);
    let intent = write_intent(&Intent { leaves: false, ltime: 9, node: &long, prune: false });
    subject.hear(&[Message::User(&intent)]);
    assert_eq!(subject.swim.members().count(), 2);
    assert_eq!(subject.swim.facts().counters.malformed, 4);
    let mut state = SerfState::default();
    state.status_ltimes.insert(long.as_str().into(), 7);
    assert!(SerfState::read(&state.to_bytes()).is_err());
    state.status_ltimes.clear();
    state.left.push(long.as_str().into());
    assert!(SerfState::read(&state.to_bytes()).is_err());
}

/// Twenty thousand different forged messages of each kind: what is kept stays within its limits.
#[test]
fn a_flood_of_any_kind_keeps_within_its_limits() {
    let mut subject = Subject::among(&["a", "b"]);
    let before = subject.swim.facts().counters;
    for number in 0..20_000u32 {
        let name = format!("forged-{number}");
        let intent = write_intent(&Intent { leaves: number % 2 == 0, ltime: 5, node: &name, prune: true });
        let doubt = super::codec::Doubt { incarnation: number, node: "a", from: &name };
        let indirect =
            super::codec::IndirectPing { seq: number, target: address(7), node: &name, nack: true, source: None };
        let messages = [
            Message::User(&intent),
            Message::Suspect(doubt),
            Message::IndirectPing(indirect),
            Message::Ping(Ping { seq: number, node: "me", source: None }),
            // None of a relay's: those come to an end by themselves.
            Message::Ack { seq: u32::MAX - number, payload: b"\x01\x80" },
            Message::Nack { seq: u32::MAX - number },
        ];
        let parts: Vec<Vec<u8>> = messages.iter().map(Message::to_bytes).collect();
        subject.input(Input::Packet { from: address(8), bytes: &pack(&parts, false) });
    }
    let facts = subject.swim.facts();
    assert!(facts.counters.refused > before.refused + 20_000, "relays and intents: {:?}", facts.counters);
    assert_eq!(subject.swim.members().count(), 3);
    assert!(facts.intent_queue <= 16_384, "{}", facts.intent_queue);
    assert!(subject.swim.deadlines.len() < 1100, "{}", subject.swim.deadlines.len());
    assert!(subject.swim.members["a"].suspicion.as_ref().is_none_or(|s| s.doubters().len() <= 3));
    subject.pass(Duration::from_secs(5));
    assert!(subject.swim.deadlines.len() < 20, "relays end: {}", subject.swim.deadlines.len());
}

#[test]
fn a_merge_with_whom_we_cannot_speak_is_refused_and_counted() {
    let mut subject = Subject::among(&["a"]);
    let stranger = Alive { incarnation: 1, node: "x", address: address(1), meta: &[], versions: [4, 5, 4, 2, 5, 4] };
    let state = stream::push_pull(true, [(stranger, State::Alive)].into_iter(), &SerfState::default().to_bytes());
    let out = subject.input(Input::Accepted { stream: 1, from: address(1), bytes: &state });
    assert_eq!(out.replies.len(), 1, "it is told our state, as memberlist does");
    assert_eq!(subject.swim.members().count(), 2);
    assert_eq!(subject.swim.facts().counters.merges_refused, 1);
    subject.hear(&[Message::Alive(stranger), alive("b", 3, 1)]);
    assert_eq!((subject.swim.members().count(), subject.swim.facts().counters.incompatible), (3, 1));
}
