//! What openraft is told of a peer's answers, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::RPCError;
use openraft::network::{RPCOption, RaftNetworkFactory as _, RaftNetworkV2 as _};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::mpsc;

use super::ballots::Ballots;
use super::file::MemoryDisk;
use super::log::{LogStore, SEGMENT_BYTES_IN_MEMORY};
use super::lost::Lost;
use super::message::{FORMAT, Told};
use super::network::{CHUNK_BYTES, Network};
use super::sending_tests::{LIMITS, LONG, port};
use super::types::{Config, LogId, Peer, ServerId, Vote};
use crate::rpc::{Handler, Pool, Service, payload, serve};
use crate::tasks::Tasks;

const PURGED: u64 = 9;

type Answer = AppendEntriesResponse<Config>;

/// An empty message behind `prev`, from a leader whose log begins behind entry 9.
async fn told(is_for_heartbeats: bool, prev: Option<u64>, answer: Answer) -> Result<Answer, RPCError<Config>> {
    let tasks = Tasks::new();
    let (notices, _told) = mpsc::channel(16);
    let (log, _) = LogStore::open(
        Arc::new(MemoryDisk::default()),
        SEGMENT_BYTES_IN_MEMORY,
        false,
        Box::new(|text| panic!("the log failed: {text}")),
    )
    .expect("a log");
    log.purge_now(LogId::new_term_index(1, PURGED)).await.expect("purged");
    let listener = port().await;
    let peer = Peer { name: "two".to_owned(), address: listener.local_addr().expect("an address").to_string() };
    let handler: Handler = Arc::new(move |_| {
        let told = payload::encode(FORMAT, &Told::Append(answer.clone().into()));
        Box::pin(async move { Ok(told) })
    });
    serve(listener, vec![(Service::Raft, handler)], LIMITS, &tasks);
    let mut network = Network {
        id: ServerId(1),
        pool: Pool::new(None, &tasks),
        ballots: Ballots::new("1".to_owned(), "one".to_owned(), peer.address.clone(), notices),
        lost: Lost::default(),
        log: log.clone(),
        chunk_bytes: CHUNK_BYTES,
    };
    let mut client = match is_for_heartbeats {
        true => network.new_heartbeat_client(ServerId(2), &peer).await,
        false => network.new_client(ServerId(2), &peer).await,
    };
    let request = AppendEntriesRequest {
        vote: Vote::new_committed(1, ServerId(1)),
        prev_log_id: prev.map(|index| LogId::new_term_index(1, index)),
        entries: Vec::new(),
        leader_commit: None,
    };
    let told = client.append_entries(request, RPCOption::new(LONG)).await;
    log.close().await;
    assert!(tasks.end(Duration::from_secs(60)).await, "every task ends");
    told
}

#[track_caller]
fn check(told: Result<Answer, RPCError<Config>>, expected: Result<Answer, &str>) {
    match (told, expected) {
        (Ok(told), Ok(expected)) => assert_eq!(told, expected),
        (Err(RPCError::Network(error)), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
        (told, expected) => panic!("{told:?}, expected {expected:?}"),
    }
}

#[tokio::test]
async fn a_stream_whose_next_entries_are_purged_ends_with_an_error() {
    let purged = "entries up to 9 are purged: a snapshot is needed";
    check(told(false, Some(10), Answer::Success).await, Ok(Answer::Success));
    check(told(false, Some(9), Answer::Success).await, Ok(Answer::Success));
    check(told(false, Some(8), Answer::Success).await, Err(purged));
    check(told(false, None, Answer::Success).await, Err(purged));
    check(told(true, Some(8), Answer::Success).await, Ok(Answer::Success));
    check(told(true, None, Answer::Success).await, Ok(Answer::Success));
}

#[tokio::test]
async fn a_peer_that_installs_a_snapshot_lives_and_takes_no_entries() {
    let installs = Answer::PartialSuccess(None);
    check(told(false, Some(9), installs.clone()).await, Err("it is still installing a snapshot"));
    check(told(true, Some(9), installs.clone()).await, Ok(installs));
}
