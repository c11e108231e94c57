//! Questions narrowed to nodes with some metadata.

use super::*;

fn world() -> World {
    let mut world = World::default();
    for (name, zone, service_id, tag) in [("a", "x", "web1", "one"), ("b", "y", "web2", "two")] {
        let mut registration = node(name, "1");
        registration.node.meta = [("zone".to_owned(), zone.to_owned())].into();
        registration.service = Some(service(service_id, "web", &[tag]));
        registration.checks = vec![check("c", service_id, CheckStatus::Passing)];
        world.register(registration);
    }
    world
}

#[test]
fn what_belongs_to_other_nodes_is_left_out() {
    let world = world();
    let web = || "web".to_owned();
    let seen = |zone: &str, of: Query| -> String {
        let meta = [("zone".to_owned(), zone.to_owned())].into();
        match world.answer(&Query::OnNodes { meta, of: Box::new(of) }) {
            Answer::Nodes(nodes) => nodes.iter().map(|node| node.fields.name.clone()).collect(),
            Answer::ServiceNodes(rows) => rows.iter().map(|(node, _)| node.fields.name.clone()).collect(),
            Answer::Health(rows) => rows.iter().map(|row| row.node.fields.name.clone()).collect(),
            Answer::Checks(checks) => checks.iter().map(|check| check.node.clone()).collect(),
            Answer::Services(names) => names.values().flatten().cloned().collect(),
            Answer::Node(found) => found.map(|found| found.node.fields.name.clone()).unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    };
    let health = || Query::ServiceHealth { service: web(), tag: None, passing_only: false };
    for (query, of_x, of_y) in [
        (Query::Nodes, "a", "b"),
        (Query::Services, "one", "two"),
        (Query::ServiceNodes { service: web(), tag: None }, "a", "b"),
        (health(), "a", "b"),
        (Query::ServiceChecks { service: web() }, "a", "b"),
        (Query::StateChecks { state: None }, "a", "b"),
        (Query::NodeChecks { node: "a".to_owned() }, "a", ""),
        (Query::Node { node: "b".to_owned() }, "", "b"),
    ] {
        assert_eq!((seen("x", query.clone()).as_str(), seen("y", query.clone()).as_str()), (of_x, of_y), "{query:?}");
        assert_eq!(seen("z", query), "");
    }
}

#[test]
fn metadata_that_changes_moves_the_index_of_what_it_narrows() {
    let mut world = world();
    let on_y = |of: Query| Query::OnNodes { meta: [("zone".to_owned(), "y".to_owned())].into(), of: Box::new(of) };
    let queries = [
        on_y(Query::Nodes),
        on_y(Query::Services),
        on_y(Query::StateChecks { state: None }),
        on_y(Query::ServiceChecks { service: "web".to_owned() }),
        on_y(Query::ServiceHealth { service: "web".to_owned(), tag: None, passing_only: true }),
    ];
    let before: Vec<u64> = queries.iter().map(|query| world.store.index(query)).collect();
    let mut moved = node("a", "1");
    moved.node.meta = [("zone".to_owned(), "y".to_owned())].into();
    world.register(moved);
    for (query, before) in queries.iter().zip(before) {
        assert!(world.store.index(query) > before, "{query:?}");
    }
}
