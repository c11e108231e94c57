//! What Consul 1.8.7 was seen to answer to the same steps; where ours is more exact it says so.

use super::super::command::{AutopilotCommand, AutopilotFields, Deregistration, Outcome};
use super::*;

/// Index and, for a list or keys, how much there is.
#[track_caller]
fn see(world: &World, query: &Query, index: u64, len: usize) {
    let (seen, answer) = world.store.query(query);
    let seen_len = match &answer {
        Answer::KvPair(pair) => usize::from(pair.is_some()),
        Answer::KvPairs(pairs) => pairs.len(),
        Answer::KvKeys(keys) => keys.len(),
        Answer::Nodes(nodes) => nodes.len(),
        Answer::Node(node) => usize::from(node.is_some()),
        Answer::Services(names) => names.len(),
        Answer::ServiceNodes(nodes) => nodes.len(),
        Answer::Checks(checks) => checks.len(),
        Answer::Health(health) => health.len(),
        Answer::NodeHealth(nodes) => nodes.len(),
        Answer::Autopilot(entry) => usize::from(entry.is_some()),
    };
    assert_eq!((seen, seen_len), (index, len), "{query:?}: {answer:?}");
}

#[test]
fn a_table_never_written_answers_1() {
    let world = World::default();
    for query in [kv_get("a"), kv_list(""), kv_keys("a", "/"), Query::Nodes, Query::Services] {
        see(&world, &query, 1, 0);
    }
    see(&world, &Query::StateChecks { state: None }, 1, 0);
    see(&world, &Query::ServiceHealth { service: "x".into(), tag: None, passing_only: false }, 1, 0);
}

#[test]
fn a_key_has_its_own_index_and_a_miss_the_tables() {
    let mut world = World::at(13);
    world.apply(set("a/x", "1"));
    see(&world, &kv_get("a/x"), 13, 1);
    see(&world, &kv_get("a"), 13, 0);
    see(&world, &kv_list("a"), 13, 1);
    see(&world, &kv_list("b"), 13, 0);
    world.apply(set("a/y", "1"));
    see(&world, &kv_get("a/x"), 13, 1);
    see(&world, &kv_get("zz"), 14, 0);
    see(&world, &kv_list("a/x"), 13, 1);
    see(&world, &kv_list("b"), 14, 0);
    // The same again, at 15, changes nothing; the flags at 16 do.
    world.apply(set("a/y", "1"));
    see(&world, &kv_get("a/y"), 14, 1);
    see(&world, &kv_get("zz"), 14, 0);
    world.apply(Command::Kv(KvCommand::Set { key: "a/y".into(), value: b"1".into(), flags: 3 }));
    let Answer::KvPair(Some(entry)) = world.answer(&kv_get("a/y")) else { panic!("the key is there") };
    assert_eq!((entry.create_index, entry.modify_index, entry.flags), (14, 16, 3));
}

#[test]
fn a_deleted_key_counts_for_its_prefixes() {
    let mut world = World::at(13);
    world.apply(set("a/x", "1"));
    world.apply(set("a/y", "1"));
    world.index = 26;
    world.apply(delete("a/y"));
    see(&world, &kv_list("a"), 27, 1);
    see(&world, &kv_get("a/y"), 27, 0);
    see(&world, &kv_get("a/x"), 13, 1);
    see(&world, &kv_list("a/x"), 13, 1);
    see(&world, &kv_list("a/y"), 27, 0);
    see(&world, &kv_keys("a/", "/"), 27, 1);
    let (outcome, changes) = world.apply(delete("not there"));
    assert_eq!(outcome, Outcome::Done);
    assert!(changes.is_empty());
    see(&world, &kv_get("zz"), 27, 0);
}

#[test]
fn a_deleted_tree_counts_for_what_was_in_it() {
    let mut world = World::at(16);
    for key in ["a/x", "c/d/e", "c/f", "c"] {
        world.apply(set(key, "1"));
    }
    world.index = 28;
    world.apply(delete_tree("c"));
    for prefix in ["c", "c/d", "c/d/e", "c/d/e/f", "cc"] {
        see(&world, &kv_list(prefix), 29, 0);
    }
    see(&world, &kv_list(""), 29, 1);
    see(&world, &kv_list("a"), 16, 1);
    assert!(world.apply(delete_tree("not there")).1.is_empty());
    see(&world, &kv_get("zz"), 29, 0);
    world.apply(delete_tree(""));
    see(&world, &kv_list(""), 31, 0);
    world.apply(set("a/x", "1"));
    see(&world, &kv_list("a"), 32, 1);
    // Consul: 27, the last deletion below; what was never there has the table's.
    see(&world, &kv_list("a/y"), 32, 0);
}

#[track_caller]
fn check_keys(prefix: &str, separator: &str, index: u64, expected: &[&str]) {
    let mut world = World::at(13);
    for key in ["a/x", "a/y", "a/y/", "c/d/e", "c/f", "c"] {
        world.apply(set(key, "1"));
    }
    let (seen, Answer::KvKeys(keys)) = world.store.query(&kv_keys(prefix, separator)) else { panic!("not keys") };
    assert_eq!((seen, keys.iter().map(String::as_str).collect::<Vec<_>>()), (index, expected.to_vec()));
}

#[test]
fn keys_are_cut_after_the_separator_that_follows_the_prefix() {
    check_keys("", "/", 18, &["a/", "c", "c/"]);
    check_keys("c", "/", 18, &["c", "c/"]);
    check_keys("c/", "/", 17, &["c/d/", "c/f"]);
    check_keys("c/d", "/", 16, &["c/d/"]);
    check_keys("", "d/", 18, &["a/x", "a/y", "a/y/", "c", "c/d/", "c/f"]);
    check_keys("c", "", 18, &["c", "c/d/e", "c/f"]);
    check_keys("a/y", "/", 15, &["a/y", "a/y/"]);
    check_keys("nope", "/", 18, &[]);
}

#[test]
fn check_and_set_and_delete_hold_as_consuls_do() {
    let cas = |key: &str, index| Command::Kv(KvCommand::Cas { key: key.into(), value: b"1".into(), flags: 0, index });
    let delete_cas = |key: &str, index| Command::Kv(KvCommand::DeleteCas { key: key.into(), index });
    let mut world = World::at(20);
    for (command, held) in [
        (cas("k", 0), true),
        (cas("k", 0), false),
        (cas("k", 1), false),
        (cas("none", 5), false),
        (delete_cas("k", 0), false),
        (delete_cas("k", 1), false),
        (delete_cas("none", 5), true),
        (delete_cas("none", 0), true),
    ] {
        assert_eq!(world.apply(command.clone()).0, Outcome::Held(held), "{command:?}");
        see(&world, &kv_get("k"), 20, 1);
        see(&world, &kv_get("zz"), 20, 0);
    }
    assert_eq!(world.apply(delete_cas("k", 20)).0, Outcome::Held(true));
    see(&world, &kv_get("k"), 28, 0);
}

#[test]
fn tombstones_go_by_age_and_no_index_goes_back() {
    let mut world = World::at(2);
    world.apply(set("a/x", "1"));
    world.apply(set("a/y", "1"));
    world.apply(delete("a/y"));
    see(&world, &kv_list("a"), 4, 1);
    let minutes = |n: i64| WallTime::from_micros(n * 60_000_000);
    world.store.apply(5, minutes(14), set("b", "1"));
    assert_eq!(world.store.kv.tombstones().count(), 1);
    // An entry stamped earlier than its forerunner counts as no earlier.
    world.store.apply(6, minutes(20), set("b", "2"));
    world.store.apply(7, minutes(3), set("b", "3"));
    assert_eq!(world.store.kv.tombstones().count(), 0);
    see(&world, &kv_list("a"), 4, 1);
    see(&world, &kv_list("b"), 7, 1);
}

#[test]
fn deletions_without_end_do_not_fill_the_memory() {
    let mut world = World::at(2);
    let keys = 140_000;
    for key in 0..keys {
        world.apply(set(&format!("t/{key}"), ""));
    }
    world.apply(delete_tree("t/"));
    assert!(world.store.kv.tombstones().count() < keys);
    see(&world, &kv_list("t/"), world.index, 0);
    world.apply(set("other", ""));
    see(&world, &kv_list("t/1399"), world.index - 1, 0);
}

fn web_queries() -> [Query; 5] {
    let web = || "web".to_owned();
    [
        Query::ServiceNodes { service: web(), tag: None },
        Query::ServiceHealth { service: web(), tag: None, passing_only: false },
        Query::ServiceHealth { service: web(), tag: None, passing_only: true },
        Query::ServiceChecks { service: web() },
        Query::Services,
    ]
}

#[track_caller]
fn see_web(world: &World, expected: [(u64, usize); 5]) {
    for (query, (index, len)) in web_queries().iter().zip(expected) {
        see(world, query, index, len);
    }
}

#[test]
fn a_service_has_its_own_indexes() {
    let mut world = World::at(10);
    let only = |r: Registration| Command::from(r);
    world.apply(only(Registration { service: Some(service("consul", "consul", &[])), ..node("n1", "1") }));
    // Consul: what was never there is as old as the catalog.
    see_web(&world, [(10, 0), (10, 0), (10, 0), (1, 0), (10, 1)]);
    let web = Registration { service: Some(service("web", "web", &["a", "b"])), ..node("n2", "2") };
    world.apply(only(web.clone()));
    see_web(&world, [(11, 1), (11, 1), (11, 1), (1, 0), (11, 2)]);
    // Consul: no change either.
    assert!(world.apply(only(web)).1.is_empty());
    // A check of the instance, 13; Consul counts it for the catalog's answer too.
    let critical = Registration { checks: vec![check("c1", "web", CheckStatus::Critical)], ..node("n2", "2") };
    world.apply(only(critical.clone()));
    see_web(&world, [(11, 1), (13, 1), (13, 0), (13, 1), (11, 2)]);
    assert!(world.apply(only(critical)).1.is_empty());
    // A check of the node, 15.
    world.apply(only(Registration { checks: vec![check("n", "", CheckStatus::Passing)], ..node("n2", "2") }));
    see_web(&world, [(11, 1), (15, 1), (15, 0), (13, 1), (11, 2)]);
    // The node moves, 16.
    world.apply(only(node("n2", "3")));
    see_web(&world, [(16, 1), (16, 1), (16, 0), (13, 1), (11, 2)]);
    // Another node, 17, is no business of it.
    world.apply(only(node("n3", "3")));
    see_web(&world, [(16, 1), (16, 1), (16, 0), (13, 1), (11, 2)]);
    see(&world, &Query::ServiceNodes { service: "consul".into(), tag: None }, 10, 1);
    see(&world, &Query::Nodes, 17, 3);
    // The last instance goes, 18, with its check.
    let gone = Deregistration::Service { node: "N2".into(), service_id: "WEB".into() };
    world.apply(Command::Deregister(gone));
    see_web(&world, [(18, 0), (18, 0), (18, 0), (18, 0), (18, 1)]);
    see(&world, &Query::NodeChecks { node: "n2".into() }, 18, 1);
    world.apply(Command::Deregister(Deregistration::Node { node: "n2".into() }));
    see(&world, &Query::NodeChecks { node: "n2".into() }, 19, 0);
    see(&world, &Query::StateChecks { state: Some(CheckStatus::Passing) }, 19, 0);
    see(&world, &Query::StateChecks { state: Some(CheckStatus::Critical) }, 18, 0);
    see(&world, &Query::StateChecks { state: Some(CheckStatus::Warning) }, 1, 0);
}

#[test]
fn tags_are_matched_in_any_case_and_listed_once() {
    let mut world = World::default();
    for (id, tags) in [("w1", &["z", "b"][..]), ("w2", &["b", "Y"])] {
        world.register(Registration { service: Some(service(id, "Web", tags)), ..node("n", "1") });
    }
    let tagged = |tag: &str| Query::ServiceNodes { service: "wEB".into(), tag: Some(tag.into()) };
    see(&world, &tagged("y"), 2, 1);
    see(&world, &tagged("B"), 2, 2);
    see(&world, &tagged("q"), 2, 0);
    let Answer::Services(names) = world.answer(&Query::Services) else { panic!("not services") };
    assert_eq!(names["Web"], ["z", "b", "Y"]);
}

const ID_1: &str = "40e4a748-2192-161a-0510-9bf59fe950b5";
const ID_2: &str = "50e4a748-2192-161a-0510-9bf59fe950b5";

fn with_id(name: &str, id: &str) -> Registration {
    let mut registration = node(name, "1");
    registration.node.id = id.to_owned();
    registration
}

#[track_caller]
fn see_nodes(world: &World, expected: &[(&str, &str, u64, u64)]) {
    let Answer::Nodes(nodes) = world.answer(&Query::Nodes) else { panic!("not nodes") };
    let nodes: Vec<_> =
        nodes.iter().map(|n| (&*n.fields.name, &*n.fields.id, n.create_index, n.modify_index)).collect();
    assert_eq!(nodes, expected);
}

#[test]
fn an_id_is_the_node_whatever_its_name() {
    let mut world = World::at(44);
    world.register(with_id("n8", ID_1));
    world.register(with_id("n7", &ID_1.to_uppercase()));
    see_nodes(&world, &[("n7", &ID_1.to_uppercase(), 44, 45)]);
    world.register(with_id("n8", ID_2));
    world.register(with_id("n7", ID_2));
    see_nodes(&world, &[("n7", ID_2, 46, 47)]);
    world.register(with_id("fresh", ID_1));
    see_nodes(&world, &[("fresh", ID_1, 48, 48), ("n7", ID_2, 46, 47)]);
}

#[test]
fn a_name_that_gossip_vouches_for_is_not_taken_over() {
    let mut world = World::at(13);
    let vouched = |registration, status| Registration { checks: vec![check("serfHealth", "", status)], ..registration };
    world.register(vouched(with_id("n1", ID_1), CheckStatus::Passing));
    let refused = world.register(with_id("N1", ID_2));
    let text = format!(
        "failed inserting node: Error while renaming Node ID: {ID_2:?}: Node name N1 is reserved by node {ID_1} with name n1 (1)"
    );
    assert_eq!(refused, Outcome::Refused(text));
    see_nodes(&world, &[("n1", ID_1, 13, 13)]);
    // Consul: a registration without an ID takes the ID away.
    assert_eq!(world.register(with_id("N1", "")), Outcome::Done);
    see_nodes(&world, &[("N1", "", 13, 15)]);
    assert_eq!(world.register(with_id("n1", ID_2)), Outcome::Done);
    world.register(vouched(with_id("n1", ID_2), CheckStatus::Critical));
    assert_eq!(world.register(with_id("n1", ID_1)), Outcome::Done);
    see_nodes(&world, &[("n1", ID_1, 13, 18)]);
}

#[test]
fn a_rename_to_a_vouched_name_is_refused() {
    let mut world = World::default();
    world.register(with_id("y", ID_1));
    world.register(Registration { checks: vec![check("serfHealth", "", CheckStatus::Warning)], ..node("y2", "1") });
    let text = format!(
        "failed inserting node: Error while renaming Node ID: {ID_1:?} (1): Node name y2 is reserved by node  with name y2 (1)"
    );
    assert_eq!(world.register(with_id("y2", ID_1)), Outcome::Refused(text));
}

#[test]
fn a_refused_registration_changes_nothing() {
    let mut world = World::default();
    world.register(node("n2", "1"));
    let before = world.store.clone();
    let registration = Registration {
        service: Some(service("w", "web", &[])),
        checks: vec![check("a", "w", CheckStatus::Passing), check("q", "gone", CheckStatus::Warning)],
        ..node("n2", "2")
    };
    let (outcome, changes) = world.store.apply(9, WallTime::from_micros(0), registration.into());
    let text = "failed inserting check: Missing service registration on node \"n2\"";
    assert_eq!(outcome, Outcome::Refused(text.to_owned()));
    assert!(changes.is_empty());
    assert_eq!(world.store, before);
}

#[test]
fn skipping_the_node_update_keeps_the_node_and_still_makes_one() {
    let mut world = World::at(33);
    world.register(node("n2", "1"));
    world.register(Registration { skip_node_update: true, ..node("n2", "9") });
    world.register(Registration { skip_node_update: true, ..node("n9", "1") });
    see_nodes(&world, &[("n2", "", 33, 33), ("n9", "", 35, 35)]);
}

#[test]
fn a_service_that_changes_its_name_leaves_the_old_one() {
    let mut world = World::default();
    world.register(Registration { service: Some(service("id", "old", &[])), ..node("n", "1") });
    world.register(Registration { service: Some(service("id", "new", &[])), ..node("n", "1") });
    see(&world, &Query::ServiceNodes { service: "old".into(), tag: None }, 2, 0);
    see(&world, &Query::ServiceNodes { service: "new".into(), tag: None }, 2, 1);
    see(&world, &Query::Services, 2, 1);
}

#[test]
fn autopilots_rules_keep_their_first_index_and_count_each_write() {
    let fields = |quorum| AutopilotFields { min_quorum: quorum, ..AutopilotFields::default() };
    let mut world = World::at(4);
    see(&world, &Query::Autopilot, 1, 0);
    let cas = |quorum, index| AutopilotCommand::Cas { fields: fields(quorum), index }.into();
    assert_eq!(world.apply(cas(1, 9)).0, Outcome::Held(false));
    assert_eq!(world.apply(cas(1, 0)).0, Outcome::Held(true), "5: nothing was there");
    assert_eq!(world.apply(cas(2, 0)).0, Outcome::Held(false));
    assert_eq!(world.apply(cas(2, 5)).0, Outcome::Held(true));
    for index in [8, 9] {
        assert_eq!(world.apply(AutopilotCommand::Set { fields: fields(2) }.into()).0, Outcome::Done);
        see(&world, &Query::Autopilot, index, 1);
    }
    let Answer::Autopilot(Some(entry)) = world.answer(&Query::Autopilot) else { panic!("rules") };
    assert_eq!((entry.create_index, entry.modify_index, entry.fields.min_quorum), (5, 9, 2));
}
