//! What Debian's serf 0.9.4 sent on loopback (`golden/`), read and written again byte for byte.

use super::codec::{Message, kind};
use super::packet::{self, pack};
use super::stream::{self, Scan, StreamMessage};
use super::wire::{SerfMessage, SerfState, write_intent};

/// Members that come, stay and go; and user events, queries, their answers, relayed ones too.
const CAPTURED: [&str; 2] = [include_str!("golden/serf-0.9.4.txt"), include_str!("golden/serf-0.9.4-user.txt")];

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// What three of them said while events were fired and queries asked.
pub(super) fn captured_events(carrier: &str) -> Vec<Vec<u8>> {
    read(include_str!("golden/serf-0.9.4-events.txt"), carrier)
}

pub(super) fn captured(carrier: &str) -> Vec<Vec<u8>> {
    CAPTURED.iter().flat_map(|text| read(text, carrier)).collect()
}

fn read(text: &str, carrier: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(on, _)| *on == carrier).map(|(_, hex)| from_hex(hex)).collect()
}

#[test]
fn every_captured_message_is_read_and_written_as_it_was() {
    let mut kinds = std::collections::BTreeSet::new();
    for packet in captured("udp") {
        packet::unpack(&packet, &mut |bare| {
            let message = Message::read(bare).expect("a message");
            assert_eq!(message.to_bytes(), bare, "{message:?}");
            kinds.insert(bare[0]);
        })
        .expect("a packet");
    }
    let all =
        [kind::PING, kind::INDIRECT_PING, kind::ACK, kind::SUSPECT, kind::ALIVE, kind::DEAD, kind::USER, kind::NACK];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn every_captured_packet_is_wrapped_as_it_was() {
    for packet in captured("udp") {
        let mut parts = Vec::new();
        packet::unpack(&packet, &mut |bare| parts.push(bare.to_vec())).expect("a packet");
        assert_eq!(pack(&parts, packet[0] == kind::HAS_CRC), packet);
    }
}

#[test]
fn every_captured_intent_is_written_as_it_was() {
    let mut intents = 0;
    for packet in captured("udp") {
        let check = &mut |bare: &[u8]| {
            if let Ok(Message::User(body)) = Message::read(bare)
                && let Ok(SerfMessage::Intent(intent)) = SerfMessage::read(body)
            {
                assert_eq!(write_intent(&intent), body);
                intents += 1;
            }
        };
        packet::unpack(&packet, check).expect("a packet");
    }
    assert!(intents > 0);
}

#[test]
fn every_captured_push_pull_is_read_and_written_as_it_was() {
    for sent in captured("tcp") {
        let bytes = stream::plain(sent.clone()).expect("a stream");
        let Ok(StreamMessage::PushPull(state)) = StreamMessage::read(&bytes) else { panic!("no push/pull: {bytes:?}") };
        let serf = SerfState::read(state.user).expect("serf's part");
        assert_eq!(SerfState::read(&serf.to_bytes()), Ok(serf));
        assert_eq!(stream::push_pull(state.join, state.members.into_iter(), state.user), sent);
    }
}

#[test]
fn a_stream_is_whole_at_its_last_byte_and_not_before() {
    for sent in captured("tcp") {
        for bytes in [sent.clone(), stream::plain(sent).expect("a stream")] {
            let mut scan = Scan::default();
            for end in 0..bytes.len() {
                assert_eq!(scan.is_whole(&bytes[..end]), Ok(false), "at {end} of {}", bytes.len());
            }
            assert_eq!(scan.is_whole(&bytes), Ok(true));
        }
    }
}

#[test]
fn no_cut_or_changed_packet_panics() {
    for packet in captured("udp").into_iter().chain(captured("tcp")) {
        for at in 0..packet.len() {
            for damaged in [packet[..at].to_vec(), {
                let mut changed = packet.clone();
                changed[at] ^= 0xff;
                changed
            }] {
                // Reading may fail or not; it must come to an end.
                let _ = packet::unpack(&damaged, &mut |bare| {
                    let _ = Message::read(bare);
                });
                let _ = stream::plain(damaged).map(|bytes| drop(StreamMessage::read(&bytes)));
            }
        }
    }
}
