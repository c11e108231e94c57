//! What holds for every log.

use proptest::prelude::*;

use super::super::Topic;
use super::super::command::{AutopilotCommand, AutopilotFields, Deregistration};
use super::*;

const NAMES: [&str; 4] = ["a", "A", "b", "c"];
const SERVICES: [&str; 3] = ["web", "Web", "db"];
const IDS: [&str; 3] = ["s1", "S1", "s2"];
const NODE_IDS: [&str; 3] = ["", "40e4a748-2192-161a-0510-9bf59fe950b5", "50e4a748-2192-161a-0510-9bf59fe950b5"];
/// The first two are the same.
const ADDRESSES: [&str; 4] = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "name"];
const AT: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];
const CHECKS: [&str; 3] = ["serfHealth", "c1", "c2"];
const KEYS: [&str; 8] = ["", "a", "a/", "a/b", "a/b/c", "b", "é", "éa"];

fn one_of(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(from).prop_map(str::to_owned)
}

fn status() -> impl Strategy<Value = CheckStatus> {
    prop::sample::select(vec![CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical])
}

fn kv_command() -> impl Strategy<Value = Command> {
    let key = || one_of(&KEYS);
    let value = || prop::collection::vec(0u8..2, 0..2);
    prop_oneof![
        4 => (key(), value(), 0u64..2).prop_map(|(key, value, flags)| KvCommand::Set { key, value, flags }),
        1 => (key(), value(), 0u64..9)
            .prop_map(|(key, value, index)| KvCommand::Cas { key, value, flags: 0, index }),
        2 => key().prop_map(|key| KvCommand::Delete { key }),
        1 => (key(), 0u64..9).prop_map(|(key, index)| KvCommand::DeleteCas { key, index }),
        1 => key().prop_map(|prefix| KvCommand::DeleteTree { prefix }),
    ]
    .prop_map(Command::Kv)
}

fn registration() -> impl Strategy<Value = Registration> {
    let fields = (one_of(&NAMES), one_of(&NODE_IDS), one_of(&ADDRESSES));
    let instance =
        (one_of(&IDS), one_of(&SERVICES), prop::sample::subsequence(vec!["x", "y"], 0..=2), one_of(&ADDRESSES));
    let of_check = (one_of(&CHECKS), one_of(&["", "", "s1", "s2"]), status());
    (fields, any::<bool>(), prop::option::of(instance), prop::collection::vec(of_check, 0..3)).prop_map(
        |((name, id, address), skip, s, checks)| {
            let mut registration = node(&name, &address);
            registration.node.id = id;
            Registration {
                skip_node_update: skip,
                service: s.map(|(id, name, tags, address)| ServiceFields { address, ..service(&id, &name, &tags) }),
                checks: checks.into_iter().map(|(id, of, status)| check(&id, &of, status)).collect(),
                ..registration
            }
        },
    )
}

fn deregistration() -> impl Strategy<Value = Deregistration> {
    let name = || one_of(&NAMES);
    prop_oneof![
        name().prop_map(|node| Deregistration::Node { node }),
        (name(), one_of(&IDS)).prop_map(|(node, service_id)| Deregistration::Service { node, service_id }),
        (name(), one_of(&CHECKS)).prop_map(|(node, check_id)| Deregistration::Check { node, check_id }),
    ]
}

fn autopilot_command() -> impl Strategy<Value = Command> {
    let fields = |quorum| AutopilotFields { min_quorum: quorum, ..AutopilotFields::default() };
    prop_oneof![
        (0u64..3).prop_map(move |quorum| AutopilotCommand::Set { fields: fields(quorum) }),
        (0u64..3, 0u64..9).prop_map(move |(quorum, index)| AutopilotCommand::Cas { fields: fields(quorum), index }),
    ]
    .prop_map(Command::from)
}

fn log() -> impl Strategy<Value = Vec<Command>> {
    let command = prop_oneof![
        3 => kv_command(),
        4 => registration().prop_map(Command::from),
        2 => deregistration().prop_map(Command::Deregister),
        1 => autopilot_command(),
    ];
    prop::collection::vec(command, 0..40)
}

/// Every query over the small world above.
fn queries() -> Vec<Query> {
    let mut queries = vec![Query::Nodes, Query::Services, Query::NodeHealth { node: None }, Query::Autopilot];
    queries.extend(
        [None, Some(CheckStatus::Passing), Some(CheckStatus::Warning), Some(CheckStatus::Critical)]
            .map(|state| Query::StateChecks { state }),
    );
    for name in NAMES.map(str::to_owned) {
        queries.push(Query::Node { node: name.clone() });
        queries.push(Query::NodeChecks { node: name.clone() });
        queries.push(Query::NodeHealth { node: Some(name) });
    }
    for service in SERVICES.map(str::to_owned) {
        queries.push(Query::ServiceChecks { service: service.clone() });
        for tag in [None, Some("x".to_owned())] {
            queries.push(Query::ServiceNodes { service: service.clone(), tag: tag.clone() });
            for passing_only in [false, true] {
                queries.push(Query::ServiceHealth { service: service.clone(), tag: tag.clone(), passing_only });
            }
        }
    }
    queries.extend(AT.map(|address| Query::AtAddress { address: address.into() }));
    // Of any metadata, so that every node counts.
    let narrowed = [Query::Nodes, Query::Services, Query::StateChecks { state: None }]
        .map(|of| Query::OnNodes { meta: [].into(), of: Box::new(of) });
    queries.extend(narrowed);
    for key in KEYS {
        queries.extend([kv_get(key), kv_list(key), kv_keys(key, "/")]);
    }
    queries
}

/// Whether one who waits for the query's topic is woken.
fn wakes(changes: &Changes, query: &Query) -> bool {
    match Topic::from(query) {
        Topic::KvPrefix(prefix) => {
            changes.topics.iter().any(|topic| matches!(topic, Topic::KvKey(key) if key.starts_with(&prefix)))
        }
        topic => changes.topics.contains(&topic),
    }
}

fn is_empty(answer: &Answer) -> bool {
    match answer {
        Answer::Node(node) => node.is_none(),
        Answer::KvPair(pair) => pair.is_none(),
        Answer::KvPairs(pairs) => pairs.is_empty(),
        Answer::KvKeys(keys) => keys.is_empty(),
        Answer::Checks(checks) => checks.is_empty(),
        Answer::NodeHealth(nodes) => nodes.is_empty(),
        Answer::ServiceNodes(nodes) => nodes.is_empty(),
        Answer::Health(health) => health.is_empty(),
        Answer::Autopilot(entry) => entry.is_none(),
        Answer::Nodes(_) | Answer::Services(_) => false,
    }
}

fn dumped(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.dump(&mut bytes).expect("memory takes all");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_that_changes_wakes_those_who_wait_for_it(log in log()) {
        let mut world = World::at(2);
        let queries = queries();
        for command in log {
            let before: Vec<_> = queries.iter().map(|query| world.store.query(query)).collect();
            let (_, changes) = world.apply(command.clone());
            for (query, (old_index, old)) in queries.iter().zip(before) {
                let (index, answer) = world.store.query(query);
                prop_assert_eq!(world.store.index(query), index);
                prop_assert!(index >= old_index, "{query:?} went back from {old_index} to {index} by {command:?}");
                if answer != old {
                    prop_assert_eq!(index, world.index, "{:?} changed by {:?}", query, command);
                    prop_assert!(wakes(&changes, query), "{query:?} not woken by {command:?}: {changes:?}");
                }
                if wakes(&changes, query) {
                    prop_assert_eq!(index, world.index, "{:?} woken by {:?} for nothing", query, command);
                } else if !is_empty(&answer) {
                    prop_assert_eq!(index, old_index, "{:?} moved by {:?}", query, command);
                }
                if changes.is_empty() {
                    prop_assert_eq!(index, old_index, "{:?} moved by {:?}", query, command);
                }
            }
        }
    }

    #[test]
    fn the_same_write_again_changes_nothing(log in log()) {
        let mut world = World::at(2);
        for command in log {
            let (outcome, _) = world.apply(command.clone());
            // Autopilot's writes count although they say the same again.
            if matches!(command, Command::Kv(KvCommand::Cas { .. }) | Command::Autopilot(_)) {
                continue;
            }
            if let Command::Register(registration) = &command
                && registration.checks.len() > 1
            {
                // Two checks of one ID replace each other each time.
                continue;
            }
            let (again, changes) = world.apply(command.clone());
            prop_assert!(changes.is_empty(), "{command:?} changed {changes:?}");
            if !matches!(outcome, Outcome::Held(_)) {
                prop_assert_eq!(outcome, again);
            }
        }
    }

    #[test]
    fn a_restored_store_is_the_same_and_goes_on_the_same(log in log(), more in log()) {
        let mut world = World::at(2);
        for command in log {
            world.apply(command);
        }
        let bytes = dumped(&world.store);
        let restored = Store::load(&*bytes).expect("what was dumped");
        prop_assert_eq!(&restored, &world.store);
        let mut other = World { store: restored, index: world.index };
        for command in more {
            prop_assert_eq!(world.apply(command.clone()), other.apply(command));
        }
        prop_assert_eq!(dumped(&world.store), dumped(&other.store));
        for query in queries() {
            prop_assert_eq!(world.store.query(&query), other.store.query(&query));
        }
    }

    #[test]
    fn who_is_at_an_address_is_the_first_of_all_who_are(log in log()) {
        let mut world = World::at(2);
        for command in log {
            world.apply(command);
            let Answer::NodeHealth(all) = world.answer(&Query::NodeHealth { node: None }) else { panic!("no nodes") };
            for address in AT.map(std::net::IpAddr::from) {
                let node = all.iter().find(|row| row.node.ip() == Some(address)).map(|row| (&row.node, None));
                let services = all.iter().flat_map(|row| row.services.iter().map(|service| (&row.node, Some(service))));
                let mut services = services.filter(|(_, service)| service.and_then(|s| s.ip()) == Some(address));
                let expected = node.or_else(|| services.next());
                let Answer::Node(found) = world.answer(&Query::AtAddress { address }) else { panic!("no node") };
                prop_assert_eq!(found.as_ref().map(|found| (&found.node, found.services.first())), expected);
            }
        }
    }

    #[test]
    fn replicas_of_one_log_are_equal_and_a_view_stays_as_it_was(log in log(), at in 0usize..40) {
        let (mut one, mut two) = (World::at(2), World::at(2));
        let mut view = None;
        for (position, command) in log.into_iter().enumerate() {
            if position == at {
                view = Some((one.store.clone(), dumped(&one.store)));
            }
            prop_assert_eq!(one.apply(command.clone()), two.apply(command));
        }
        prop_assert_eq!(&one.store, &two.store);
        prop_assert_eq!(dumped(&one.store), dumped(&two.store));
        if let Some((view, bytes)) = view {
            prop_assert_eq!(dumped(&view), bytes);
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(log in log(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut world = World::at(2);
        for command in log {
            world.apply(command);
        }
        let mut bytes = dumped(&world.store);
        let at = at.index(bytes.len());
        prop_assert!(Store::load(&bytes[..at]).is_err());
        bytes[at] ^= flip;
        // A flipped bit of a value cannot be told from the value: integrity is the file's business.
        let _ = Store::load(&*bytes);
    }
}
