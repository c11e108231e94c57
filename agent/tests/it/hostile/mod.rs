//! Bytes from anybody: captures of the real serf, damaged at random, and bytes that are none at all.

mod ask;

use proptest::prelude::*;

const CAPTURED: [&str; 3] = [
    include_str!("../../../src/swim/golden/serf-0.9.4.txt"),
    include_str!("../../../src/swim/golden/serf-0.9.4-user.txt"),
    include_str!("../../../src/gossip/golden/serf-0.9.4-sealed.txt"),
];

fn captured() -> Vec<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    let bytes = |hex: &str| hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    let lines = CAPTURED.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once(' '));
    lines.filter(|(on, _)| *on != "key").map(|(_, hex)| bytes(hex)).collect()
}

/// A capture with a few bytes changed, cut off or put in again.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let all = captured();
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 0..4);
    (prop::sample::select(all), changes, any::<prop::sample::Index>(), 0..4_u8).prop_map(
        |(mut bytes, changes, at, how)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_within(at..),
                _ => {}
            }
            bytes
        },
    )
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => damaged(), 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// What a member may live through: acts with what was captured, damaged or whole.
fn acts() -> impl Strategy<Value = Vec<u8>> {
    let act = (any::<u8>(), hostile()).prop_map(|(what, bytes)| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&[what], &length[..], &bytes[..]].concat()
    });
    prop::collection::vec(act, 1..40).prop_map(|acts| acts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_from_anybody_are_read_to_an_end(bytes in hostile()) {
        ask::packet(&bytes);
        ask::stream(&bytes);
        ask::value(&bytes);
        ask::tags(&bytes);
        ask::sealed(&bytes);
    }

    #[test]
    fn a_member_lives_through_whatever_anybody_sends(bytes in acts()) {
        ask::member(&bytes);
    }
}
