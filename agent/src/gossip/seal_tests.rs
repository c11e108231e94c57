//! What Debian's serf 0.9.4 sealed on loopback (`golden/`): opened, read, and sealed again. The line
//! `padded` is version 0, which that serf opens and never sends: another AES-GCM made it.

use std::sync::Arc;

use base64::Engine;

use super::seal::{Key, Seal};
use crate::swim::codec::Message;
use crate::swim::packet::unpack;
use crate::swim::stream::{self, StreamMessage};

const CAPTURED: &str = include_str!("golden/serf-0.9.4-sealed.txt");

fn lines(of: &str) -> impl Iterator<Item = &'static str> {
    let of = of.to_owned();
    CAPTURED.lines().filter_map(|line| line.split_once(' ')).filter(move |(on, _)| *on == of).map(|(_, text)| text)
}

fn sealed(on: &str) -> Vec<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    let bytes = |text: &str| text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    lines(on).map(bytes).collect()
}

fn seal() -> Arc<Seal> {
    let text = lines("key").next().expect("the pool's key");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("a key");
    Seal::new(vec![Key::new(&bytes).expect("a key's size")], true, true)
}

/// The bare messages of a packet that this key opens.
fn opened(packet: &[u8]) -> Vec<Vec<u8>> {
    let plain = seal().open_packet(packet).expect("sealed with this key").expect("sealed");
    let mut parts = Vec::new();
    unpack(&plain, &mut |bare| parts.push(bare.to_vec())).expect("a packet");
    parts
}

#[test]
fn every_captured_packet_opens_and_is_as_long_when_sealed_again() {
    let mut queries = 0;
    for packet in sealed("udp") {
        for part in opened(&packet) {
            let message = Message::read(&part).expect("a message");
            assert_eq!(message.to_bytes(), part);
            queries += usize::from(part.windows(6).any(|six| six == b"_serf_"));
        }
        let plain = seal().open_packet(&packet).expect("sealed with this key").expect("sealed");
        assert_eq!(seal().seal_packet(plain).len(), packet.len());
    }
    assert!(queries >= 3, "the queries that manage keys are among them");
}

#[test]
fn every_captured_stream_opens_to_a_state() {
    let streams = sealed("tcp");
    assert_eq!(streams.len(), 3);
    for sent in streams {
        let plain = seal().open_stream(sent.clone()).expect("sealed with this key");
        let state = stream::plain(plain.clone()).expect("a stream");
        assert!(matches!(StreamMessage::read(&state), Ok(StreamMessage::PushPull(_))));
        assert_eq!(seal().seal_stream(plain).len(), sent.len());
    }
}

#[test]
fn the_older_version_with_its_padding_opens() {
    let [packet] = &sealed("padded")[..] else { panic!("one line is padded") };
    assert_eq!(packet[0], 0);
    for part in opened(packet) {
        assert_eq!(Message::read(&part).expect("a message").to_bytes(), part);
    }
}
