//! What is asked of whatever reads bytes from anybody, one function each: it comes to an end, and what
//! it read is written and read again the same.
//!
//! Asked by this room's tests with damaged captures in every build, and by the targets of `.ci/fuzz`
//! for as long as one likes.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::gossip::seal::{Key, Seal};
use agent::moment::Moment;
use agent::swim::codec::{Message, kind};
use agent::swim::member::{to_meta, to_tags};
use agent::swim::packet::{PACKET_BYTES_MAX, unpack};
use agent::swim::stream::{Scan, StreamMessage, plain, push_pull};
use agent::swim::timing::Timing;
use agent::swim::{Config, Input, Order, Output, Swim};
use shared::event::Pool;

pub(crate) fn packet(bytes: &[u8]) {
    let _ = unpack(bytes, &mut |bare| {
        if let Ok(message) = Message::read(bare) {
            assert_eq!(Message::read(&message.to_bytes()), Ok(message));
        }
    });
}

/// A stream arrives in pieces: its end is found where it is, whatever the pieces.
pub(crate) fn stream(bytes: &[u8]) {
    let at_once = Scan::default().is_whole(bytes);
    let mut scan = Scan::default();
    let in_pieces = (0..=bytes.len()).map(|end| scan.is_whole(&bytes[..end])).find(|found| *found != Ok(false));
    assert_eq!(in_pieces.unwrap_or(Ok(false)), at_once);
    let Ok(bytes) = plain(bytes.to_vec()) else { return };
    if let Ok(StreamMessage::PushPull(state)) = StreamMessage::read(&bytes) {
        let written = push_pull(state.join, state.members.clone().into_iter(), state.user);
        let written = plain(written).expect("our own bytes");
        assert_eq!(StreamMessage::read(&written), Ok(StreamMessage::PushPull(state)));
    }
}

/// Any msgpack value in a field that nobody knows is passed over or refused.
pub(crate) fn value(bytes: &[u8]) {
    for of in [kind::PING, kind::ACK, kind::SUSPECT, kind::ALIVE, kind::ERROR, kind::PUSH_PULL] {
        let mut message = vec![of, 0x81, 0xa1, b'?'];
        message.extend(bytes);
        let _ = Message::read(&message);
        let _ = StreamMessage::read(&message);
        let _ = Scan::default().is_whole(&message);
    }
}

pub(crate) fn tags(meta: &[u8]) {
    let tags = to_tags(meta);
    assert_eq!(to_tags(&to_meta(&tags)), tags);
}

/// A ring of three keys opens what one of them sealed, and refuses the rest without harm.
pub(crate) fn sealed(bytes: &[u8]) {
    let keys = [16, 24, 32].map(|size| Key::new(&vec![7; size]).expect("a key's size"));
    for verify in [true, false] {
        let seal = Seal::new(keys.to_vec(), verify, true);
        let _ = seal.open_packet(bytes);
        let _ = seal.open_stream(bytes.to_vec());
        let packet = seal.seal_packet(bytes.to_vec());
        assert_eq!(seal.open_packet(&packet).ok().flatten().as_deref(), Some(bytes));
    }
}

/// A whole member hears a row of acts, each a byte that says what, two for a length, and so many bytes;
/// time passes between them. It goes on, within its limits.
pub(crate) fn member(bytes: &[u8]) {
    let (mut now, mut rest, mut dial) = (Moment::from_micros(1_000_000), bytes, 0);
    let from = ([127, 0, 0, 92], 7946).into();
    let mut swim = Swim::new(config(), now, 7, &mut Output::default());
    while let [what, low, high, others @ ..] = rest {
        let (act, left) = others.split_at(others.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        rest = left;
        now = now + Duration::from_millis(u64::from(*what >> 3) * 40);
        let name = String::from_utf8_lossy(act).into_owned();
        let high_bit = *what > 127;
        let input = match what & 7 {
            0 | 1 => Input::Packet { from, bytes: act },
            2 => Input::Accepted { stream: 1, from, bytes: act },
            3 => Input::Answered { dial, bytes: act },
            4 => Input::Unanswered { dial, reason: "connection reset".to_owned(), refused: high_bit },
            5 => Input::Order(Order::ForceLeave { ticket: 1, name, prune: high_bit }),
            6 => Input::Order(Order::Join { ticket: 2, to: from }),
            _ => Input::Wake,
        };
        let mut out = Output::default();
        swim.handle(now, input, &mut out);
        dial = out.dials.last().map_or(dial, |dial| dial.id);
        assert!(out.packets.iter().all(|packet| packet.bytes.len() <= PACKET_BYTES_MAX));
        assert!(swim.member("n1").is_some(), "we are listed");
    }
}

fn config() -> Config {
    Config {
        pool: Pool::Lan,
        name: "n1".to_owned(),
        address: ([127, 0, 0, 91], 7946).into(),
        tags: BTreeMap::from([("role".to_owned(), "node".to_owned())]),
        timing: Timing::lan(),
        coordinates: true,
        seal_bytes: 0,
    }
}
