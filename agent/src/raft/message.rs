//! What servers of Raft say to each other, as bytes: our own structs, so that openraft may change its
//! own. Used by `network`, which asks, and `serving`, which answers. A changed struct is a new variant
//! at the end of its enum; golden bytes in the tests hold the old ones.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use super::operate::{Operated, Operation};
use super::record::{DecodeError, IdBytes, LogIdRecord, MembershipRecord, VoteRecord};
use super::types::{Config, Entry, LogId, Payload, Proposal, ServerId, Vote};
use crate::moment::WallTime;
use crate::store::command::Command;

/// Of every payload of this service.
pub(crate) const FORMAT: u8 = 1;

/// A question, and the server it is meant for: an address may have another one by now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) to: IdBytes,
    pub(crate) question: Question,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    Append(AppendRecord),
    Vote(VoteAsked),
    PreVote(VoteAsked),
    Transfer(TransferRecord),
    Snapshot(Chunk),
    Operate(Operation),
    /// To one without a log, by its leader: it is no voter, and may take what comes.
    Welcome(VoteRecord),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Append(AppendTold),
    Vote(VoteTold),
    Transfer(TransferTold),
    Snapshot(ChunkTold),
    Operated(Operated),
    /// In answer to entries or a snapshot: there is no log here, and nothing was taken.
    Empty,
    Welcomed,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AppendRecord {
    vote: VoteRecord,
    prev: Option<LogIdRecord>,
    commit: Option<LogIdRecord>,
    entries: Vec<EntryRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EntryRecord {
    at: LogIdRecord,
    payload: PayloadRecord,
}

#[derive(Debug, Serialize, Deserialize)]
enum PayloadRecord {
    Blank,
    Command { at_micros: i64, command: Command },
    Membership(MembershipRecord),
}

impl From<Entry> for EntryRecord {
    fn from(entry: Entry) -> Self {
        let payload = match entry.payload {
            Payload::Blank => PayloadRecord::Blank,
            Payload::Normal(Proposal { at, command }) => PayloadRecord::Command { at_micros: at.micros(), command },
            Payload::Membership(membership) => PayloadRecord::Membership((&membership).into()),
        };
        Self { at: entry.log_id.into(), payload }
    }
}

impl EntryRecord {
    fn into_entry(self) -> Result<Entry, DecodeError> {
        let payload = match self.payload {
            PayloadRecord::Blank => Payload::Blank,
            PayloadRecord::Command { at_micros, command } => {
                Payload::Normal(Proposal { at: WallTime::from_micros(at_micros), command })
            }
            PayloadRecord::Membership(membership) => Payload::Membership(membership.try_into()?),
        };
        Ok(Entry { log_id: self.at.into(), payload })
    }
}

impl From<AppendEntriesRequest<Config>> for AppendRecord {
    fn from(request: AppendEntriesRequest<Config>) -> Self {
        Self {
            vote: (&request.vote).into(),
            prev: request.prev_log_id.map(Into::into),
            commit: request.leader_commit.map(Into::into),
            entries: request.entries.into_iter().map(Into::into).collect(),
        }
    }
}

impl AppendRecord {
    pub(crate) fn into_request(self) -> Result<AppendEntriesRequest<Config>, DecodeError> {
        let entries: Result<Vec<Entry>, DecodeError> = self.entries.into_iter().map(EntryRecord::into_entry).collect();
        Ok(AppendEntriesRequest {
            vote: self.vote.into(),
            prev_log_id: self.prev.map(Into::into),
            leader_commit: self.commit.map(Into::into),
            entries: entries?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AppendTold {
    Success,
    Partial(Option<LogIdRecord>),
    Conflict,
    HigherVote(VoteRecord),
}

impl From<AppendEntriesResponse<Config>> for AppendTold {
    fn from(response: AppendEntriesResponse<Config>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(upto) => Self::Partial(upto.map(Into::into)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote((&vote).into()),
        }
    }
}

impl From<AppendTold> for AppendEntriesResponse<Config> {
    fn from(told: AppendTold) -> Self {
        match told {
            AppendTold::Success => Self::Success,
            AppendTold::Partial(upto) => Self::PartialSuccess(upto.map(Into::into)),
            AppendTold::Conflict => Self::Conflict,
            AppendTold::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAsked {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    /// The leader itself asked for this election.
    transfer: bool,
}

impl From<&VoteRequest<Config>> for VoteAsked {
    fn from(request: &VoteRequest<Config>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: request.last_log_id.map(Into::into),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteAsked> for VoteRequest<Config> {
    fn from(asked: VoteAsked) -> Self {
        let mut request = Self::new(asked.vote.into(), asked.last.map(Into::into));
        request.leadership_transfer = asked.transfer;
        request
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteTold {
    vote: VoteRecord,
    granted: bool,
    last: Option<LogIdRecord>,
    /// Empty when granted.
    pub(crate) reason: String,
}

impl VoteTold {
    pub(crate) fn new(response: &VoteResponse<Config>, reason: String) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.map(Into::into),
            reason,
        }
    }
}

impl From<VoteTold> for VoteResponse<Config> {
    fn from(told: VoteTold) -> Self {
        Self::new(Vote::from(told.vote), told.last.map(LogId::from), told.granted)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferRecord {
    pub(crate) from: VoteRecord,
    pub(crate) to: IdBytes,
    pub(crate) last: Option<LogIdRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TransferTold {
    Accepted,
    VoteChanged(VoteRecord),
    NotFlushed(Option<LogIdRecord>),
}

/// A piece of a snapshot's file. The first one of a snapshot is empty: it asks how much is there already.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) vote: VoteRecord,
    pub(crate) file: FileId,
    pub(crate) offset: u64,
    #[serde(with = "serde_bytes_as_is")]
    pub(crate) bytes: Vec<u8>,
}

/// Which file: two of the same size and checksum are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileId {
    pub(crate) last: Option<LogIdRecord>,
    pub(crate) size: u64,
    pub(crate) crc: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChunkTold {
    /// So much of it is there; go on from here.
    Have(u64),
    /// All of it was there, whole, and Raft has it; with the vote of the one who tells.
    Installed(VoteRecord),
    /// A later leader is known.
    HigherVote(VoteRecord),
    /// It was all there and its checksum is not its own; it was thrown away.
    Damaged,
}

/// `Vec<u8>` as one run of bytes instead of a sequence of numbers.
mod serde_bytes_as_is {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A server ID as it travels.
pub(crate) fn id_bytes(id: ServerId) -> IdBytes {
    id.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::types::{Membership, Peer};
    use crate::rpc::payload;
    use crate::store::command::KvCommand;

    fn at(term: u64, index: u64) -> LogId {
        LogId::new_term_index(term, index)
    }

    #[track_caller]
    fn check_golden(question: Question, golden: &str) {
        let asked = Asked { to: [9; 16], question };
        let bytes = payload::encode(FORMAT, &asked);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let head = format!("01{}", "09".repeat(16));
        assert_eq!(hex.strip_prefix(&head), Some(golden));
        let again: Asked = payload::decode(FORMAT, &bytes).expect("decoded");
        assert_eq!(format!("{again:?}"), format!("{asked:?}"));
    }

    #[test]
    fn questions_have_these_bytes() {
        let id = "00000000000000000000000000000003";
        let vote = Vote::new(5, ServerId(3));
        let request = VoteRequest::<Config>::new(vote, Some(at(4, 7)));
        check_golden(Question::Vote((&request).into()), &format!("0105{id}0001040700"));
        check_golden(Question::PreVote((&request).into()), &format!("0205{id}0001040700"));
        let set = KvCommand::Set { key: "k".to_owned(), value: b"v".to_vec(), flags: 0 };
        let command = Payload::Normal(Proposal { at: WallTime::from_micros(2), command: Command::Kv(set) });
        let append = AppendEntriesRequest::<Config> {
            vote: Vote::new_committed(5, ServerId(3)),
            prev_log_id: Some(at(4, 7)),
            leader_commit: None,
            entries: vec![
                Entry { log_id: at(5, 8), payload: Payload::Blank },
                Entry { log_id: at(5, 9), payload: command },
            ],
        };
        let golden = format!("0005{id}0101040700020508000509{}", GOLDEN_COMMAND);
        check_golden(Question::Append(append.into()), &golden);
        let file = FileId { last: Some(at(4, 7).into()), size: 300, crc: 1 };
        let chunk = Chunk { vote: (&vote).into(), file, offset: 2, bytes: b"xy".to_vec() };
        check_golden(Question::Snapshot(chunk), &format!("0405{id}00010407ac020102027879"));
        check_golden(Question::Operate(Operation::Transfer(Some(5))), "05010105");
        check_golden(Question::Welcome((&vote).into()), &format!("0605{id}00"));
        let transfer = TransferRecord { from: (&vote).into(), to: [1; 16], last: None };
        check_golden(Question::Transfer(transfer), &format!("0305{id}00{}00", "01".repeat(16)));
    }

    const GOLDEN_COMMAND: &str = "01040200016b017600";

    #[test]
    fn entries_come_back_as_they_were() {
        let peer = Peer { name: "one".to_owned(), address: "10.0.0.1:8300".to_owned() };
        let membership = Membership::from(BTreeMap::from([(ServerId(3), peer)]));
        let entry = Entry { log_id: at(1, 2), payload: Payload::Membership(membership) };
        let request = AppendEntriesRequest::<Config> {
            vote: Vote::new_committed(5, ServerId(3)),
            prev_log_id: None,
            leader_commit: Some(at(1, 1)),
            entries: vec![entry.clone()],
        };
        let again = AppendRecord::from(request).into_request().expect("whole");
        assert_eq!(again.entries, [entry]);
        assert_eq!((again.vote, again.leader_commit), (Vote::new_committed(5, ServerId(3)), Some(at(1, 1))));
    }

    #[test]
    fn answers_without_content_have_these_bytes() {
        assert_eq!(&payload::encode(FORMAT, &Told::Empty)[..], b"\x01\x05");
        assert_eq!(&payload::encode(FORMAT, &Told::Welcomed)[..], b"\x01\x06");
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let higher = AppendEntriesResponse::<Config>::HigherVote(Vote::new(7, ServerId(2)));
        let partial = AppendEntriesResponse::<Config>::PartialSuccess(Some(at(1, 2)));
        for response in [AppendEntriesResponse::Success, AppendEntriesResponse::Conflict, partial, higher] {
            let bytes = payload::encode(FORMAT, &Told::Append(response.clone().into()));
            let Told::Append(told) = payload::decode(FORMAT, &bytes).expect("decoded") else { panic!("another") };
            assert_eq!(AppendEntriesResponse::<Config>::from(told), response);
        }
        let response = VoteResponse::<Config>::new(Vote::new(7, ServerId(2)), Some(at(1, 2)), false);
        let told = VoteTold::new(&response, "no".to_owned());
        assert_eq!(VoteResponse::<Config>::from(told), response);
    }
}
