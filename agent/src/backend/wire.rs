//! PURE: requests between agents and their answers, as they travel. Enums only grow at the end; a
//! changed struct is a new variant. The format number comes before them (`rpc::payload`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::api::operator::OperatorHealth;

use super::{Consistency, Error, Operation, Peer, PeerName, ReadOptions, Reply, Seen};
use crate::store::command::{Command, Outcome};
use crate::store::query::{Answer, Query};

/// Of what [`Ask`] and [`Told`] are written in.
pub(super) const FORMAT: u8 = 1;

/// Levels of [`Error::Remote`] that are told; a request passes two agents at most.
const HOPS_MAX: u8 = 3;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// Sent by a server to the one it takes for the leader.
    pub(super) from_server: bool,
    pub(super) what: Asked,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Asked {
    Read {
        query: Query,
        consistency: AskedConsistency,
        min_index: u64,
        wait_ms: u64,
    },
    Write(Command),
    /// Who leads and who votes, as the one asked sees it or as the leader does.
    Cluster {
        stale: bool,
    },
    /// What only the leader does to the configuration of Raft.
    Operate(Operation),
    /// Take that server out of the configuration of Raft.
    RemovePeer(PeerName),
    /// How the servers are, as the leader sees them.
    Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AskedConsistency {
    Default,
    Consistent,
    Stale,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Told {
    Read { index: u64, answer: Answer, known_leader: bool, last_contact_ms: u64 },
    Written { index: u64, outcome: Outcome },
    Cluster { leader: String, peers: Vec<ToldPeer> },
    Failed { hops: u8, why: Failure },
    Operated(String),
    Health(OperatorHealth),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldPeer {
    id: String,
    name: String,
    address: String,
    voter: bool,
    leads: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    NoLeader,
    NoServers,
    NotLeader,
    OutcomeUnknown(String),
    Refused(String),
    TooManyWaiting(u64),
    Unreachable(String),
}

impl From<Consistency> for AskedConsistency {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::Default => Self::Default,
            Consistency::Consistent => Self::Consistent,
            Consistency::Stale => Self::Stale,
        }
    }
}

impl From<AskedConsistency> for Consistency {
    fn from(consistency: AskedConsistency) -> Self {
        match consistency {
            AskedConsistency::Default => Self::Default,
            AskedConsistency::Consistent => Self::Consistent,
            AskedConsistency::Stale => Self::Stale,
        }
    }
}

impl Asked {
    pub(super) fn read(query: Query, options: ReadOptions) -> Self {
        Self::Read {
            query,
            consistency: options.consistency.into(),
            min_index: options.min_index,
            wait_ms: u64::try_from(options.wait.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

pub(super) fn options(consistency: AskedConsistency, min_index: u64, wait_ms: u64) -> ReadOptions {
    ReadOptions { consistency: consistency.into(), min_index, wait: Duration::from_millis(wait_ms) }
}

impl From<Reply> for Told {
    fn from(reply: Reply) -> Self {
        let Reply { index, answer, known_leader, last_contact_ms } = reply;
        Self::Read { index, answer, known_leader, last_contact_ms }
    }
}

impl From<Seen> for Told {
    fn from(seen: Seen) -> Self {
        let peer = |Peer { id, name, address, voter, leads }| ToldPeer { id, name, address, voter, leads };
        Self::Cluster { leader: seen.leader, peers: seen.peers.into_iter().map(peer).collect() }
    }
}

pub(super) fn seen(leader: String, peers: Vec<ToldPeer>) -> Seen {
    let peer = |ToldPeer { id, name, address, voter, leads }| Peer { id, name, address, voter, leads };
    Seen { leader, peers: peers.into_iter().map(peer).collect() }
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        let mut hops = 0_u8;
        let mut error = error;
        while let Error::Remote(inner) = error {
            hops = hops.saturating_add(1);
            error = *inner;
        }
        let why = match error {
            Error::NoLeader => Failure::NoLeader,
            Error::NoServers => Failure::NoServers,
            Error::NotLeader => Failure::NotLeader,
            Error::OutcomeUnknown(text) => Failure::OutcomeUnknown(text),
            Error::Refused(text) => Failure::Refused(text),
            Error::TooManyWaiting(limit) => Failure::TooManyWaiting(u64::try_from(limit).unwrap_or(u64::MAX)),
            // The loop left none of the last.
            Error::Unreachable(_) | Error::Remote(_) => Failure::Unreachable(error.to_string()),
        };
        Self::Failed { hops: hops.min(HOPS_MAX), why }
    }
}

/// What the other end said, as its words are shown here.
pub(super) fn error(hops: u8, why: Failure) -> Error {
    let error = match why {
        Failure::NoLeader => Error::NoLeader,
        Failure::NoServers => Error::NoServers,
        Failure::NotLeader => Error::NotLeader,
        Failure::OutcomeUnknown(text) => Error::OutcomeUnknown(text),
        Failure::Refused(text) => Error::Refused(text),
        Failure::TooManyWaiting(limit) => Error::TooManyWaiting(usize::try_from(limit).unwrap_or(usize::MAX)),
        Failure::Unreachable(text) => Error::Unreachable(text),
    };
    (0..=hops.min(HOPS_MAX)).fold(error, |error, _| Error::Remote(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::api::operator::ServerHealth;

    use super::*;
    use crate::rpc::payload::{decode, encode};
    use crate::store::command::{AutopilotFields, CheckFields, CheckStatus, KvCommand, NodeFields, ServiceFields};
    use crate::store::query::{
        AutopilotEntry, Check, InstanceHealth, KvEntry, Node, NodeHealth, NodeServices, Service,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[track_caller]
    fn check_ask(what: Asked, golden: &str) {
        let ask = Ask { from_server: true, what };
        let bytes = encode(FORMAT, &ask);
        assert_eq!(hex(&bytes), golden, "{ask:?}");
        assert_eq!(decode::<Ask>(FORMAT, &bytes), Ok(ask));
    }

    #[track_caller]
    fn check_told(told: &Told, golden: &str) {
        let bytes = encode(FORMAT, told);
        assert_eq!(hex(&bytes), golden, "{told:?}");
        assert_eq!(decode::<Told>(FORMAT, &bytes).as_ref(), Ok(told));
    }

    fn read(query: Query) -> Asked {
        Asked::Read { query, consistency: AskedConsistency::Stale, min_index: 300, wait_ms: 5 }
    }

    #[test]
    fn requests_of_the_first_format_decode() {
        let text = |s: &str| s.to_owned();
        let full = Command::Kv(KvCommand::Set { key: text("k"), value: vec![1], flags: 2 });
        check_ask(read(Query::Nodes), "0101000002ac0205");
        check_ask(read(Query::Node { node: text("n") }), "01010001016e02ac0205");
        check_ask(read(Query::Services), "0101000202ac0205");
        check_ask(read(Query::ServiceNodes { service: text("s"), tag: Some(text("t")) }), "01010003017301017402ac0205");
        check_ask(read(Query::NodeChecks { node: text("n") }), "01010004016e02ac0205");
        check_ask(read(Query::ServiceChecks { service: text("s") }), "01010005017302ac0205");
        check_ask(read(Query::StateChecks { state: Some(CheckStatus::Critical) }), "01010006010202ac0205");
        check_ask(
            read(Query::ServiceHealth { service: text("s"), tag: None, passing_only: true }),
            "010100070173000102ac0205",
        );
        check_ask(read(Query::NodeHealth { node: None }), "010100080002ac0205");
        check_ask(read(Query::KvGet { key: text("k") }), "01010009016b02ac0205");
        check_ask(read(Query::KvList { prefix: text("k") }), "0101000a016b02ac0205");
        check_ask(read(Query::KvKeys { prefix: text("k"), separator: text("/") }), "0101000b016b012f02ac0205");
        let meta = [(text("a"), text("b"))].into();
        check_ask(read(Query::OnNodes { meta, of: Box::new(Query::Nodes) }), "0101000d01016101620002ac0205");
        check_ask(Asked::Write(full), "0101010200016b010102");
        check_ask(Asked::Cluster { stale: true }, "01010201");
        check_ask(Asked::Operate(Operation::Remove(300)), "01010300ac02");
        check_ask(Asked::Operate(Operation::Transfer(None)), "0101030100");
        check_ask(read(Query::Autopilot), "0101000c02ac0205");
        check_ask(Asked::RemovePeer(PeerName::Id(text("i"))), "010104000169");
        check_ask(Asked::RemovePeer(PeerName::Address(text("a"))), "010104010161");
        check_ask(Asked::Health, "010105");
        check_ask(read(Query::AtAddress { address: [10, 0, 0, 1].into() }), "0101000e000a00000102ac0205");
    }

    #[test]
    fn answers_of_the_first_format_decode() {
        let text = |s: &str| s.to_owned();
        let node = Arc::new(Node {
            fields: NodeFields { name: text("n"), address: text("1"), ..NodeFields::default() },
            create_index: 1,
            modify_index: 2,
        });
        let service = Arc::new(Service {
            node: text("n"),
            fields: ServiceFields { id: text("i"), name: text("s"), port: 80, weights: (1, 1), ..Default::default() },
            create_index: 3,
            modify_index: 4,
        });
        let check = Arc::new(Check {
            node: text("n"),
            fields: CheckFields { id: text("c"), status: CheckStatus::Passing, ..CheckFields::default() },
            service_name: text("s"),
            service_tags: vec![text("t")],
            create_index: 5,
            modify_index: 6,
        });
        let pair = Arc::new(KvEntry {
            key: text("k"),
            value: bytes::Bytes::from_static(b"v"),
            flags: 1,
            lock_index: 2,
            create_index: 3,
            modify_index: 4,
        });
        let read = |answer| Told::Read { index: 7, answer, known_leader: true, last_contact_ms: 300 };
        let services = vec![service.clone()];
        let checks = vec![check];
        check_told(&read(Answer::Nodes(vec![node.clone()])), "0100070001016e000131000000010201ac02");
        check_told(
            &read(Answer::Node(Some(NodeServices { node: node.clone(), services: services.clone() }))),
            "0100070101016e000131000000010201016e016901730000000050010100030401ac02",
        );
        check_told(&read(Answer::Services([(text("s"), vec![text("t")])].into())), "0100070201017301017401ac02");
        check_told(
            &read(Answer::ServiceNodes(vec![(node.clone(), service.clone())])),
            "0100070301016e0001310000000102016e016901730000000050010100030401ac02",
        );
        check_told(&read(Answer::Checks(checks.clone())), "0100070401016e01630000000000000173010174050601ac02");
        let health = InstanceHealth { node: node.clone(), service, checks: checks.clone() };
        check_told(
            &read(Answer::Health(vec![health])),
            "0100070501016e0001310000000102016e016901730000000050010100030401016e01630000000000000173010174050601ac02",
        );
        check_told(
            &read(Answer::NodeHealth(vec![NodeHealth { node, services, checks }])),
            "0100070601016e000131000000010201016e016901730000000050010100030401016e01630000000000000173010174050601ac02",
        );
        check_told(&read(Answer::KvPair(Some(pair.clone()))), "0100070701016b01760102030401ac02");
        check_told(&read(Answer::KvPairs(vec![pair])), "0100070801016b01760102030401ac02");
        check_told(&read(Answer::KvKeys(vec![text("k")])), "0100070901016b01ac02");
        check_told(&Told::Written { index: 300, outcome: Outcome::Held(true) }, "0101ac020101");
        let peer = ToldPeer { id: text("i"), name: text("n"), address: text("a"), voter: true, leads: false };
        check_told(&Told::Cluster { leader: text("a"), peers: vec![peer] }, "01020161010169016e01610100");
        let failed = |why| Told::Failed { hops: 1, why };
        check_told(&failed(Failure::NoLeader), "01030100");
        check_told(&failed(Failure::NoServers), "01030101");
        check_told(&failed(Failure::NotLeader), "01030102");
        check_told(&failed(Failure::OutcomeUnknown(text("x"))), "010301030178");
        check_told(&failed(Failure::Refused(text("x"))), "010301040178");
        check_told(&failed(Failure::TooManyWaiting(300)), "01030105ac02");
        check_told(&failed(Failure::Unreachable(text("x"))), "010301060178");
    }

    #[test]
    fn later_answers_decode() {
        let text = |s: &str| s.to_owned();
        let fields = AutopilotFields { cleanup_dead_servers: true, max_trailing_logs: 250, ..Default::default() };
        let entry = AutopilotEntry { fields, create_index: 4, modify_index: 5 };
        let answer = Answer::Autopilot(Some(Arc::new(entry)));
        check_told(
            &Told::Read { index: 7, answer, known_leader: true, last_contact_ms: 0 },
            "0100070a01010000fa0100000000000004050100",
        );
        let server = ServerHealth {
            id: text("i"),
            name: text("n"),
            address: text("a"),
            serf_status: text("alive"),
            version: text("1.8.7"),
            leader: true,
            last_contact: text("0s"),
            last_term: 2,
            last_index: 300,
            healthy: true,
            voter: true,
            stable_since: text("x"),
        };
        let health = OperatorHealth { healthy: false, failure_tolerance: 1, servers: vec![server] };
        check_told(&Told::Health(health), "01050001010169016e016105616c69766505312e382e370102307302ac0201010178");
    }

    #[test]
    fn an_error_says_that_it_came_from_elsewhere() {
        let sent = |error: Error| match Told::from(error) {
            Told::Failed { hops, why } => super::error(hops, why),
            other => panic!("not a failure: {other:?}"),
        };
        let once = sent(Error::NoLeader);
        assert_eq!(once.to_string(), "rpc error making call: No cluster leader");
        let twice = sent(once);
        assert_eq!(twice.to_string(), "rpc error making call: rpc error making call: No cluster leader");
        assert!(matches!(twice.origin(), Error::NoLeader));
        for error in [Error::Refused("no".to_owned()), Error::OutcomeUnknown("x".to_owned()), Error::TooManyWaiting(7)]
        {
            assert_eq!(sent(error.clone()).origin().to_string(), error.to_string());
        }
    }
}
