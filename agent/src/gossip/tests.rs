//! A pool's driver on loopback, at its own boundary.

use std::time::Duration;

use shared::event::MemberStatus;

use super::*;

fn options(name: &str) -> Options {
    let ip = IpAddr::from([127, 0, 0, 1]);
    Options {
        pool: Pool::Lan,
        name: name.to_owned(),
        bind: SocketAddr::new(ip, 0),
        advertise: ip,
        advertise_port: 0,
        tags: BTreeMap::from([("role".to_owned(), "node".to_owned())]),
        timing: crate::swim::timing::Timing::lan().hurried(),
        server: true,
        seal: Seal::new(Vec::new(), true, true),
        keyring_file: None,
        heard: mpsc::channel(1).0,
        coordinates: true,
        admission: None,
        memory: None,
    }
}

async fn open(name: &str, tasks: &Tasks) -> (Gossip, mpsc::Receiver<MemberEvent>) {
    let (sender, notices) = mpsc::channel(64);
    (Gossip::open(options(name), tasks, sender).await.expect("free ports"), notices)
}

async fn eventually(what: &str, gossip: &Gossip, wanted: &[(&str, MemberStatus)]) {
    let mut members = gossip.members();
    let is_so = |list: &Arc<Vec<MemberState>>| {
        let found: Vec<_> = list.iter().map(|member| (member.name.as_str(), member.status)).collect();
        found == wanted
    };
    let waited = timeout(Duration::from_secs(15), members.wait_for(is_so)).await.is_ok();
    assert!(waited, "{what}: last seen {:?}", gossip.members().borrow());
}

#[tokio::test]
async fn a_pool_of_one_joins_itself_over_a_real_stream() {
    let tasks = Tasks::new();
    let (gossip, mut notices) = open("one", &tasks).await;
    assert!(matches!(notices.recv().await, Some(MemberEvent::Joined(news)) if news.state.name == "one"));
    let joined = gossip.join(vec!["127.0.0.1".to_owned()]).await;
    assert_eq!(joined, Joined { contacted: 1, ..Joined::default() });
    gossip.leave().await;
    assert!(matches!(notices.recv().await, Some(MemberEvent::Leaving(_))));
    assert!(matches!(notices.recv().await, Some(MemberEvent::Left(_))));
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_silent_address_is_told_in_gos_words() {
    let tasks = Tasks::new();
    let (gossip, _notices) = open("one", &tasks).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let joined = gossip.join(vec![format!("127.0.0.1:{port}")]).await;
    let expected = format!(
        "1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp 127.0.0.1:{port}: connect: connection refused\n\n"
    );
    assert_eq!(joined.error_text(), Some(expected));
    let unknown = gossip.force_leave("nobody".to_owned(), false).await;
    assert_eq!(unknown.map_err(|error| error.to_string()), Err("agent: No node found with name 'nobody'".to_owned()));
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn two_agents_meet_and_one_leaves() {
    let (tasks, second_tasks) = (Tasks::new(), Tasks::new());
    let (first, _first_notices) = open("one", &tasks).await;
    let (second, _second_notices) = open("two", &second_tasks).await;
    let joined = second.join(vec![first.local_address().to_string()]).await;
    assert_eq!(joined.contacted, 1);
    let both = [("one", MemberStatus::Alive), ("two", MemberStatus::Alive)];
    eventually("both see both", &first, &both).await;
    eventually("both see both", &second, &both).await;
    second.leave().await;
    eventually("the leave is seen", &first, &[("one", MemberStatus::Alive), ("two", MemberStatus::Left)]).await;
    assert!(second_tasks.end(Duration::from_secs(5)).await);
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn one_that_vanishes_is_failed_and_can_be_forced_out() {
    let (tasks, second_tasks) = (Tasks::new(), Tasks::new());
    let (first, _first_notices) = open("one", &tasks).await;
    let (second, _second_notices) = open("two", &second_tasks).await;
    second.join(vec![first.local_address().to_string()]).await;
    eventually("they meet", &first, &[("one", MemberStatus::Alive), ("two", MemberStatus::Alive)]).await;
    assert!(second_tasks.end(Duration::from_secs(5)).await);
    drop(second);
    eventually("the failure is seen", &first, &[("one", MemberStatus::Alive), ("two", MemberStatus::Failed)]).await;
    first.force_leave("two".to_owned(), false).await.expect("a known name");
    eventually("it is left", &first, &[("one", MemberStatus::Alive), ("two", MemberStatus::Left)]).await;
    first.force_leave("two".to_owned(), true).await.expect("a known name");
    eventually("it is pruned", &first, &[("one", MemberStatus::Alive)]).await;
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn an_earlier_life_is_remembered_with_its_times() {
    let (tasks, dir) = (Tasks::new(), tempfile::tempdir().expect("a directory"));
    let path = dir.path().join("serf/local.snapshot");
    std::fs::create_dir(dir.path().join("serf")).expect("a directory");
    std::fs::write(&path, "alive: two 127.0.0.1:1\nclock: 41\nevent-clock: 7\nquery-clock: 3\n").expect("written");
    let memory = Some(keeper::Options { path: path.clone(), rejoin_after_leave: false });
    let (sender, _notices) = mpsc::channel(64);
    let gossip = Gossip::open(Options { memory, ..options("one") }, &tasks, sender).await.expect("free ports");
    let facts = gossip.facts();
    assert_eq!((facts.member_time, facts.event_time, facts.query_time), (42, 8, 4));
    assert!(gossip.has_previous() && !gossip.has_others());
    assert!(matches!(gossip.rejoin().await, Ok(false)), "nobody is there");
    assert!(tasks.end(Duration::from_secs(5)).await);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.contains("alive: two 127.0.0.1:1\n"), "who was not reached is kept: {text}");
    assert!(text.contains("alive: one 127.0.0.1:") && text.contains("clock: 41\n"), "{text}");
}
