//! Changes that come together: what is answered is on disk, and disk and memory say the same.

use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::backend::testing::soon;
use crate::config::Service;

fn agent(dir: &tempfile::TempDir) -> Local {
    Local::new(Settings { files: Some(Files::new(dir.path())), ..Settings::default() })
}

/// As after a kill: nothing but the disk is left.
fn restarted(dir: &tempfile::TempDir) -> Local {
    let local = agent(dir);
    local.open(&[], &[]).expect("opened");
    local
}

fn service(id: &str, port: u16, checks: usize) -> Service {
    let fields = ServiceFields { id: id.to_owned(), name: "web".to_owned(), port, ..ServiceFields::default() };
    let check = Check { ttl: Duration::from_secs(600), notes: port.to_string(), ..Check::default() };
    let checks = crate::checks::spec::of_service(&fields, vec![check; checks]);
    Service { fields, checks }
}

fn register(id: &str, port: u16, checks: usize) -> Change {
    Change::Service { service: service(id, port, checks), replaced: false }
}

/// Services with ports, checks with notes.
fn registered(local: &Local) -> Vec<String> {
    let services = local.services().into_iter().map(|service| format!("{} {}", service.id, service.port));
    let checks = local.checks().into_iter().map(|(check, of)| {
        let of = of.map(|service| service.id).unwrap_or_default();
        format!("{} of {of:?}: {}", check.id, check.notes)
    });
    services.chain(checks).collect()
}

#[tokio::test]
async fn many_at_once_are_all_on_disk_when_they_are_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let local = restarted(&dir);
    let changes = (0..200).map(|n| local.change(register(&format!("s{n}"), n, 2)));
    assert!(soon(join_all(changes)).await.iter().all(|outcome| matches!(outcome, Ok(true))));
    let there = registered(&local);
    assert_eq!(there.len(), 600);
    assert_eq!(registered(&restarted(&dir)), there);
    // And what goes out is gone.
    let changes = (0..199).map(|n| local.change(Change::NoService(format!("s{n}"))));
    assert!(soon(join_all(changes)).await.iter().all(|outcome| matches!(outcome, Ok(true))));
    assert_eq!(registered(&restarted(&dir)), registered(&local));
    assert_eq!(registered(&local).len(), 3);
    assert!(matches!(soon(local.change(Change::NoService("s0".to_owned()))).await, Ok(false)));
}

#[tokio::test]
async fn of_many_with_one_id_one_is_there_on_disk_and_in_memory_alike() {
    let dir = tempfile::tempdir().expect("a directory");
    let local = restarted(&dir);
    let changes = (1..100_u16).map(|n| {
        let change = match n % 4 {
            0 => Change::NoService("s".to_owned()),
            1 => Change::Service { service: service("s", n, 1), replaced: true },
            _ => register("s", n, usize::from(n % 3)),
        };
        local.change(change)
    });
    assert!(soon(join_all(changes)).await.iter().all(Result::is_ok));
    assert_eq!(registered(&restarted(&dir)), registered(&local));
    assert_eq!(local.service("s").map(|service| service.port), Some(99), "in the order they came");
}

#[test]
fn a_disk_that_fails_refuses_what_comes_and_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let local = restarted(&dir);
    local.change_now(register("a", 1, 1)).expect("registered");
    local.change_now(register("b", 1, 1)).expect("registered");
    let there = registered(&local);
    // It takes no new file, and the one there is nobody trusts.
    std::fs::create_dir(dir.path().join("registrations.new")).expect("in the way");
    local.registry().owe(&Err("a disk that failed"));
    let check = Check { id: "c".to_owned(), service_id: "new".to_owned(), ..Check::default() };
    let refused = local.perform(vec![register("a", 2, 2), register("new", 2, 1), Change::Check(Box::new(check))]);
    for refused in &refused {
        let Err(refused @ Refused::Unwritten(..)) = refused else { panic!("{refused:?}") };
        assert!(refused.to_string().starts_with("failed to persist \""), "{refused}");
    }
    assert_eq!(registered(&local), there);
    assert_eq!(registered(&restarted(&dir)), there);
    // What goes out goes, comes back when it is killed now, and not once the disk is well and took something.
    assert!(local.change_now(Change::NoService("b".to_owned())).expect("never refused"));
    assert_eq!(registered(&restarted(&dir)), there);
    std::fs::remove_dir(dir.path().join("registrations.new")).expect("out of the way");
    local.change_now(register("new", 3, 1)).expect("registered");
    assert!(local.service("b").is_none());
    assert_eq!(registered(&restarted(&dir)), registered(&local));
}

#[test]
fn a_service_whose_line_would_be_too_long_is_refused_and_the_others_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let local = restarted(&dir);
    let mut long = service("long", 1, 1);
    long.checks[0].notes = "x".repeat(record::LINE_BYTES_MAX);
    let outcomes = local.perform(vec![register("a", 1, 1), Change::Service { service: long, replaced: false }]);
    assert!(outcomes[0].is_ok());
    let Err(refused) = &outcomes[1] else { panic!("taken") };
    assert!(refused.to_string().contains("are more than"), "{refused}");
    assert_eq!(registered(&restarted(&dir)), registered(&local));
}

#[test]
fn what_an_earlier_version_kept_is_carried_over_once() {
    let dir = tempfile::tempdir().expect("a directory");
    restarted(&dir).change_now(register("a", 1, 0)).expect("registered");
    let old = service("a", 2, 1);
    for kind in ["services", "checks"] {
        std::fs::create_dir(dir.path().join(kind)).expect("created");
    }
    let text = |kept: serde_json::Value| serde_json::json!({"format": 1, "kept": kept}).to_string();
    let fields = text(serde_json::to_value(&old.fields).expect("JSON"));
    let check = text(serde_json::to_value(&old.checks[0]).expect("JSON"));
    std::fs::write(dir.path().join("services/1.json"), fields).expect("written");
    std::fs::write(dir.path().join("checks/1.json"), check).expect("written");
    let carried = ["a 2", "service:a of \"a\": 2"];
    assert_eq!(registered(&restarted(&dir)), carried);
    assert!(!dir.path().join("services/1.json").exists() && !dir.path().join("checks/1.json").exists());
    assert_eq!(registered(&restarted(&dir)), carried);
}

#[test]
fn scripts_that_may_not_run_now_are_kept_for_a_start_at_which_they_may() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = |scripts_of_requests: bool| {
        let files = Some(Files::new(dir.path()));
        let local = Local::new(Settings { files, scripts_of_requests, ..Settings::default() });
        local.open(&[], &[]).expect("opened");
        local
    };
    let script = Check { id: "c".to_owned(), args: vec!["true".to_owned()], ..Check::default() };
    start(true).change_now(Change::Check(Box::new(script))).expect("registered");
    let local = start(false);
    assert!(local.checks().is_empty());
    local.registry().owe(&Err("all is written anew"));
    local.change_now(register("a", 1, 0)).expect("registered");
    assert_eq!(start(true).checks().len(), 1);
}

/// IDs that meet: of services, of their checks, of others.
fn change() -> impl Strategy<Value = (u8, usize, u16, usize)> {
    (0..7_u8, 0..3_usize, 0..4_u16, 0..3_usize)
}

fn changed((kind, id, port, checks): (u8, usize, u16, usize)) -> Change {
    let id = ["a", "A", "b"][id];
    let check_id = ["c", "service:a", "service:b:1", "none"][usize::from(port)].to_owned();
    let of = Check { id: check_id.clone(), notes: "own".to_owned(), ..Check::default() };
    match kind {
        0 | 1 => register(id, port, checks),
        2 => Change::Service { service: service(id, port, checks), replaced: true },
        3 => Change::Check(Box::new(Check { service_id: id.to_owned(), ..of })),
        4 => Change::Check(Box::new(of)),
        5 => Change::NoService(id.to_owned()),
        _ => Change::NoCheck(check_id),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_written_together_come_to_the_same_as_one_after_the_other(
        changes in proptest::collection::vec(change(), 1..24),
        cut in 0..24_usize,
    ) {
        let (together, alone) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (one, other) = (restarted(&together), restarted(&alone));
        let mut outcomes = Vec::new();
        let (before, after) = changes.split_at(cut.min(changes.len()));
        for part in [before, after] {
            outcomes.extend(one.perform(part.iter().map(|change| changed(*change)).collect()));
        }
        for (change, outcome) in changes.iter().zip(outcomes) {
            let alone = other.change_now(changed(*change));
            prop_assert_eq!(outcome.map_err(|refused| refused.to_string()), alone.map_err(|refused| refused.to_string()));
        }
        prop_assert_eq!(registered(&one), registered(&other));
        prop_assert_eq!(registered(&restarted(&together)), registered(&one));
        prop_assert_eq!(registered(&restarted(&alone)), registered(&one));
    }
}
