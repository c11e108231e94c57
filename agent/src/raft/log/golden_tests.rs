//! The bytes of every kind of frame, as the first version wrote them. They must be readable for ever:
//! a test that fails here asks for a new kind, not for new bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{Chain, Claim, FRAME_BYTES, Frame, Head, Kind};
use super::*;
use crate::moment::WallTime;
use crate::raft::file::MemoryDisk;
use crate::raft::record::Carried;
use crate::raft::types::{Membership, Peer, Proposal, ServerId};
use crate::store::command::{Command, KvCommand};

const SALT: u32 = 0x5a17_0001;

/// The frames of a segment in their order.
const SEGMENT: [(Kind, &str); 8] = [
    (
        Kind::Carried,
        "aa3a15451c000000040302010800000000100000000000000000000000000000000000000000000001020000000000000000\
         00000000000000cd0001010501010301010600000000",
    ),
    (
        Kind::Vote,
        "9cd20a4b12000000aa3a15450400000000100000000000000300000000000000000000000000000003000000000000000000\
         000000000000ab01000000000000",
    ),
    (
        Kind::Membership,
        "8676570a970000009cd20a4b0300000000100000000000000300000000000000070000000000000002010000000000000000\
         0000000000000001020000000000000000000000000000000100000000000000000000000000000002030000000000000000\
         0000000000000001026e310d31302e302e302e313a3833303000000000000000000000000000000002026e320d31302e302e\
         302e323a3833303000000000000000000000000000000003026e330d31302e302e302e333a3833303000",
    ),
    (Kind::Blank, "a1582f21000000008676570a01000000001000000000000003000000000000000800000000000000"),
    (
        Kind::Command,
        "2fe4556d0f000000a1582f21020000000010000000000000030000000000000009000000000000008280f281838985060200\
         016b01762a00",
    ),
    (Kind::Truncate, "7464740a000000002fe4556d06000000001000000000000000000000000000000900000000000000"),
    (Kind::Committed, "5bf595b3000000007464740a05000000001000000000000003000000000000000800000000000000"),
    (Kind::Purge, "017c45f6000000005bf595b307000000001000000000000001000000000000000600000000000000"),
];
const HEAD: &str = "71756f7261746501010000004a699d1f0100175a040302010700000000000000001000000000000000000000000000000000\
                    0000000000000000000000000000";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).expect("hexadecimal") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn vote() -> Vote {
    Vote::new_committed(3, ServerId(0xab))
}

fn membership() -> Membership {
    let peer = |n: u8| Peer { name: format!("n{n}"), address: format!("10.0.0.{n}:8300") };
    let voters = vec![BTreeSet::from([ServerId(1)]), BTreeSet::from([ServerId(1), ServerId(2)])];
    Membership::new(voters, BTreeMap::from([1, 2, 3].map(|n| (ServerId(u128::from(n)), peer(n))))).expect("valid")
}

fn proposal() -> Proposal {
    let command = Command::Kv(KvCommand::Set { key: "k".to_owned(), value: b"v".to_vec(), flags: 42 });
    Proposal { at: WallTime::from_micros(1_700_000_000_000_001), command }
}

fn carried() -> Carried {
    Carried {
        vote: Some(Vote::new(2, ServerId(0xcd))),
        committed: Some(LogId::new_term_index(1, 5)),
        purged: Some(LogId::new_term_index(1, 3)),
        last: Some(LogId::new_term_index(1, 6)),
    }
}

fn head() -> Head {
    Head { salt: SALT, prev: 0x0102_0304, number: 7, base: 4096 }
}

fn payload(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Blank | Kind::Committed | Kind::Truncate | Kind::Purge => Vec::new(),
        Kind::Command => record::write_proposal(&proposal(), Vec::new()),
        Kind::Membership => record::write_membership(&membership(), Vec::new()),
        Kind::Vote => record::write_vote(&vote(), Vec::new()),
        Kind::Carried => record::write_carried(&carried(), Vec::new()),
    }
}

fn written() -> Vec<String> {
    let mut chain: Chain = head().chain();
    let places = [(0, 0), (3, 0), (3, 7), (3, 8), (3, 9), (0, 9), (3, 8), (1, 6)];
    let mut out = Vec::new();
    for ((kind, _), (term, index)) in SEGMENT.into_iter().zip(places) {
        let mut bytes = Vec::new();
        let synced = head().base;
        frame::write(&mut chain, &Frame { kind, term, index, synced }, &payload(kind), &mut bytes);
        out.push(hex(&bytes));
    }
    out
}

#[test]
fn what_is_written_today_is_what_was_written_first() {
    assert_eq!(hex(&head().write()), HEAD);
    for ((kind, expected), found) in SEGMENT.into_iter().zip(written()) {
        assert_eq!(found, expected, "{kind:?}");
    }
}

#[test]
fn every_kind_decodes() {
    for (kind, hex) in SEGMENT {
        let bytes = bytes(hex);
        let claim = Claim::read(bytes.first_chunk::<FRAME_BYTES>().expect("a frame"), bytes.len() as u64);
        let claim = claim.expect("a frame");
        assert_eq!(Kind::of(claim.kind), Some(kind));
        let payload = &bytes[frame::payload(claim.length)];
        match kind {
            Kind::Blank | Kind::Committed | Kind::Truncate | Kind::Purge => assert_eq!(payload.len(), 0),
            Kind::Command => assert_eq!(record::read_proposal(payload).expect("decodes"), proposal()),
            Kind::Membership => assert_eq!(record::read_membership(payload).expect("decodes"), membership()),
            Kind::Vote => assert_eq!(record::read_vote(payload).expect("decodes"), vote()),
            Kind::Carried => assert_eq!(record::read_carried(payload).expect("decodes"), carried()),
        }
    }
}

#[test]
fn a_whole_segment_opens() {
    let disk = MemoryDisk::default();
    let file = disk.create(&frame::segment_name(7), 8192).expect("created");
    let frames: String = SEGMENT.iter().map(|(_, hex)| *hex).collect();
    file.write_at(0, &bytes(&format!("{HEAD}{frames}"))).expect("written");
    let log = recover::recover(&disk, false).expect("opens").expect("is there");
    assert_eq!((log.index.vote(), log.index.committed()), (Some(vote()), Some(LogId::new_term_index(3, 8))));
    assert_eq!((log.index.purged(), log.index.next()), (Some(LogId::new_term_index(1, 6)), 9));
    assert_eq!(log.cut_bytes, 0);
}

/// Damaged or made-up bytes are refused, whatever they are: the frames above, changed at random.
#[test]
fn changed_bytes_never_panic_and_never_pass() {
    let frames: String = SEGMENT.iter().map(|(_, hex)| *hex).collect();
    let whole = bytes(&format!("{HEAD}{frames}"));
    for at in 0..whole.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= change;
            let disk = MemoryDisk::default();
            let file = disk.create(&frame::segment_name(7), 8192).expect("created");
            file.write_at(0, &changed).expect("written");
            match recover::recover(&disk, false) {
                Ok(Some(log)) => assert!(log.index.next() <= 10, "byte {at}"),
                Ok(None) | Err(RecoverError::Damaged(_)) => {}
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
}
