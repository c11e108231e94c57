//! The waist on a Raft of one server.

use super::testing::{Server, set, soon};
use super::*;
use crate::store::command::{CheckFields, Deregistration, NodeFields, Registration};

fn get(key: &str) -> Query {
    Query::KvGet { key: key.to_owned() }
}

fn list(prefix: &str) -> Query {
    Query::KvList { prefix: prefix.to_owned() }
}

fn value(reply: &Reply) -> Option<&[u8]> {
    match &reply.answer {
        Answer::KvPair(pair) => pair.as_ref().map(|pair| &pair.value[..]),
        other => panic!("not a key: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_written_is_read_at_every_consistency() {
    let server = Server::alone().await;
    let (index, outcome) = server.backend.write(set("a", "1")).await.expect("written");
    assert_eq!(outcome, Outcome::Done);
    for consistency in [Consistency::Default, Consistency::Consistent, Consistency::Stale] {
        let options = ReadOptions { consistency, ..ReadOptions::default() };
        let reply = server.backend.read(get("a"), options).await.expect("read");
        assert_eq!((reply.index, value(&reply)), (index, Some(&b"1"[..])));
        assert_eq!((reply.known_leader, reply.last_contact_ms), (true, 0));
    }
    let status = server.backend.status();
    assert_eq!((status.leader.as_str(), &status.peers[..]), ("127.0.0.1:8300", &["127.0.0.1:8300".to_owned()][..]));
    server.end().await;
}

#[tokio::test]
async fn the_first_read_and_write_wait_for_the_election() {
    let server = Server::alone().await;
    let reply = server.backend.read(get("a"), ReadOptions::default()).await.expect("read");
    assert_eq!((reply.index, value(&reply)), (1, None));
    server.end().await;
}

/// One who waits for `query` from `min_index` on, beside `commands`.
async fn check_blocking(query: Query, commands: &[Command], woken: u64) {
    let server = Server::alone().await;
    let (index, _) = server.backend.write(set("x/y", "1")).await.expect("written");
    let options = ReadOptions { min_index: index, ..ReadOptions::default() };
    let written = async {
        server.waiting(1).await;
        for command in commands {
            server.backend.write(command.clone()).await.expect("written");
        }
        assert_eq!(server.watches.counts().woken_total, woken, "after {commands:?}");
        server.backend.write(set("x/y", "last")).await.expect("written").0
    };
    let (reply, last) = soon(async { tokio::join!(server.backend.read(query, options), written) }).await;
    let reply = reply.expect("read");
    assert!(reply.index > index && reply.index <= last, "{} of {index}..={last}", reply.index);
    server.waiting(0).await;
    server.end().await;
}

#[tokio::test]
async fn a_blocking_read_is_woken_by_what_it_watches_and_nothing_else() {
    let other = [set("x/z", "1"), set("x/y", "1"), set("x", "1")];
    check_blocking(get("x/y"), &other, 0).await;
    check_blocking(list("x/y"), &other, 0).await;
    check_blocking(list("x/"), &other[1..], 0).await;
    check_blocking(list("x/"), &other[..1], 1).await;
    check_blocking(list(""), &other[2..], 1).await;
}

#[tokio::test]
async fn a_blocking_read_of_a_node_ends_when_the_node_goes() {
    let server = Server::alone().await;
    let node = NodeFields { name: "n".to_owned(), ..NodeFields::default() };
    let (index, _) = server.backend.write(Registration { node, ..Default::default() }.into()).await.expect("written");
    let options = ReadOptions { min_index: index, ..ReadOptions::default() };
    let gone = async {
        server.waiting(1).await;
        let gone = Command::Deregister(Deregistration::Node { node: "n".to_owned() });
        server.backend.write(gone).await.expect("written")
    };
    let query = Query::Node { node: "n".to_owned() };
    let (reply, _) = soon(async { tokio::join!(server.backend.read(query, options), gone) }).await;
    let reply = reply.expect("read");
    assert_eq!((reply.index > index, reply.answer), (true, Answer::Node(None)));
    server.end().await;
}

#[tokio::test]
async fn who_was_told_that_a_node_is_not_there_waits_for_it_to_come() {
    let server = Server::alone().await;
    let node = || NodeFields { name: "n".to_owned(), ..NodeFields::default() };
    let there = || Registration { node: node(), ..Default::default() }.into();
    server.backend.write(there()).await.expect("written");
    let gone = Command::Deregister(Deregistration::Node { node: "n".to_owned() });
    server.backend.write(gone).await.expect("written");
    let options = ReadOptions { min_index: 1, ..ReadOptions::default() };
    let comes = async {
        server.waiting(1).await;
        server.backend.write(there()).await.expect("written").0
    };
    let query = Query::Node { node: "n".to_owned() };
    let (reply, index) = soon(async { tokio::join!(server.backend.read(query, options), comes) }).await;
    let reply = reply.expect("read");
    assert!(reply.index == index && matches!(reply.answer, Answer::Node(Some(_))), "{reply:?}");
    server.end().await;
}

#[tokio::test]
async fn an_answer_is_still_good_until_its_index_moves() {
    let server = Server::alone().await;
    let (index, _) = server.backend.write(set("k", "1")).await.expect("written");
    assert_eq!(server.backend.still(&get("k"), index), Some(0));
    assert_eq!(server.backend.still(&get("k"), index - 1), None);
    server.backend.write(set("other", "1")).await.expect("written");
    assert_eq!(server.backend.still(&get("k"), index), Some(0));
    server.backend.write(set("k", "2")).await.expect("written");
    assert_eq!(server.backend.still(&get("k"), index), None);
    server.end().await;
}

#[tokio::test]
async fn a_server_is_removed_by_its_name_and_one_that_is_none_is_refused() {
    let server = Server::alone().await;
    for (peer, text) in [
        (PeerName::Id("x".to_owned()), "id \"x\" was not found in the Raft configuration"),
        (PeerName::Address(String::new()), "address \"\" was not found in the Raft configuration"),
    ] {
        let refused = server.backend.remove_peer(peer).await.expect_err("refused");
        assert_eq!(refused.to_string(), text);
    }
    server.end().await;
}

#[tokio::test]
async fn health_is_told_once_this_leadership_has_looked() {
    let server = Server::alone().await;
    server.backend.write(set("a", "1")).await.expect("it leads");
    let term = server.raft.state().borrow().term;
    let health = |tolerance| OperatorHealth { healthy: true, failure_tolerance: tolerance, servers: Vec::new() };
    server.backend.tell_health(term - 1, health(7));
    let looks = async {
        tokio::task::yield_now().await;
        server.backend.tell_health(term, health(1));
    };
    let (told, ()) = soon(async { tokio::join!(server.backend.health(), looks) }).await;
    assert_eq!(told.expect("told"), health(1));
    server.end().await;
}

#[tokio::test]
async fn a_blocking_read_ends_with_its_wait() {
    let server = Server::alone().await;
    let (index, _) = server.backend.write(set("a", "1")).await.expect("written");
    let wait = Duration::from_millis(20);
    for min_index in [index, index + 100] {
        let options = ReadOptions { min_index, wait, ..ReadOptions::default() };
        let reply = soon(server.backend.read(get("a"), options)).await.expect("read");
        assert_eq!((reply.index, value(&reply)), (index, Some(&b"1"[..])));
    }
    // An index that has passed answers at once, whatever the wait.
    let options = ReadOptions { min_index: index - 1, ..ReadOptions::default() };
    assert_eq!(soon(server.backend.read(get("a"), options)).await.expect("read").index, index);
    assert_eq!(server.watches.counts().waiting, 0);
    server.end().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_waits_no_more() {
    let server = Server::alone().await;
    let (index, _) = server.backend.write(set("a", "1")).await.expect("written");
    let options = ReadOptions { min_index: index, ..ReadOptions::default() };
    tokio::select! {
        reply = server.backend.read(get("a"), options) => panic!("answered {reply:?}"),
        () = server.waiting(1) => {}
    }
    server.waiting(0).await;
    server.end().await;
}

#[tokio::test]
async fn a_server_that_was_never_part_of_a_cluster_answers_nothing() {
    let server = Server::leaderless().await;
    for consistency in [Consistency::Default, Consistency::Consistent, Consistency::Stale] {
        let options = ReadOptions { consistency, ..ReadOptions::default() };
        let error = soon(server.backend.read(get("a"), options)).await.expect_err("no leader");
        assert_eq!(error.to_string(), "No cluster leader");
    }
    let error = soon(server.backend.write(set("a", "1"))).await.expect_err("no leader");
    assert_eq!(error.to_string(), "No cluster leader");
    assert_eq!(server.backend.status().leader, "");
    server.end().await;
}

#[tokio::test]
async fn what_the_state_refuses_is_an_error_in_its_words() {
    let server = Server::alone().await;
    let registration = Registration {
        node: NodeFields { name: "n".to_owned(), ..NodeFields::default() },
        checks: vec![CheckFields { service_id: "gone".to_owned(), ..CheckFields::default() }],
        ..Registration::default()
    };
    match server.backend.write(registration.into()).await {
        Err(Error::Refused(text)) => {
            assert_eq!(text, "failed inserting check: Missing service registration on node \"n\"");
        }
        other => panic!("not refused: {other:?}"),
    }
    server.end().await;
}

#[tokio::test]
async fn a_client_that_knows_no_servers_says_so() {
    let tasks = crate::tasks::Tasks::new();
    let client = Backend::client(Others::nobody(&tasks), Options::default());
    let error = client.read(get("a"), ReadOptions::default()).await.expect_err("no servers");
    assert_eq!(error.to_string(), "No known Consul servers");
    assert!(matches!(client.write(set("a", "1")).await, Err(Error::NoServers)));
    assert!(client.status().raft.is_none());
}
