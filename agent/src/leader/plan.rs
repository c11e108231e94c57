//! PURE: what gossip knows and what the catalog says, to the commands that make them agree.
//!
//! `reconcile` carries them out. What is in order yields no command.

use std::collections::{BTreeMap, BTreeSet};

use shared::event::{MemberState, MemberStatus};

use crate::store::SERF_HEALTH;
use crate::store::command::{
    CheckFields, CheckStatus, Command, Deregistration, NodeFields, Registration, ServiceFields,
};
use crate::store::query::NodeHealth;

/// The service and its ID, of every server.
const CONSUL: &str = "consul";

/// Whose catalog it is.
#[derive(Clone, Debug)]
pub struct Scope {
    pub datacenter: String,
    /// The leader's own node: it does not take itself away.
    pub node_name: String,
    /// Members seen since this leader leads, in lower case: of them it knows that they are gone.
    pub seen: BTreeSet<String>,
    /// It has led long enough for gossip to have told it of everybody.
    pub is_settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Alive, and not in the catalog like that.
    Joined,
    Failed,
    Left,
    /// Gossip has forgotten it.
    Reaped,
}

/// One thing to do, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub member: String,
    pub reason: Reason,
    pub command: Command,
}

pub fn plan(scope: &Scope, members: &[MemberState], catalog: &[NodeHealth]) -> Vec<Step> {
    let nodes: BTreeMap<String, &NodeHealth> =
        catalog.iter().map(|health| (health.node.fields.name.to_lowercase(), health)).collect();
    let mut known = BTreeSet::new();
    let mut steps = Vec::new();
    for member in members.iter().filter(|member| is_ours(scope, member)) {
        let name = member.name.to_lowercase();
        let node = nodes.get(&name).copied();
        known.insert(name);
        let planned = match member.status {
            MemberStatus::Alive | MemberStatus::Suspect => {
                alive(scope, member, node).map(|command| (Reason::Joined, command))
            }
            MemberStatus::Failed => node.and_then(failed).map(|command| (Reason::Failed, command)),
            MemberStatus::Left => node.and_then(|node| gone(scope, node)).map(|command| (Reason::Left, command)),
            MemberStatus::Leaving => None,
        };
        steps.extend(planned.map(|(reason, command)| Step { member: member.name.clone(), reason, command }));
    }
    // Only what gossip once vouched for: nodes registered from outside have no such check.
    // A leader that has just started may not have heard of everybody.
    let is_gone = |name: &String| !known.contains(name) && (scope.is_settled || scope.seen.contains(name));
    let reaped = nodes.iter().filter(|(name, node)| is_gone(name) && serf_health(node).is_some());
    steps.extend(reaped.filter_map(|(_, node)| {
        let member = node.node.fields.name.clone();
        gone(scope, node).map(|command| Step { member, reason: Reason::Reaped, command })
    }));
    steps
}

/// An agent of this datacenter; others in the pool (a bare `serf`, say) are no nodes.
fn is_ours(scope: &Scope, member: &MemberState) -> bool {
    matches!(tag(member, "role"), "consul" | "node") && tag(member, "dc") == scope.datacenter
}

fn alive(scope: &Scope, member: &MemberState, node: Option<&NodeHealth>) -> Option<Command> {
    let service = server_service(member);
    let check = check(CheckStatus::Passing);
    let id = tag(member, "id");
    let is_placed = node.is_some_and(|node| {
        let fields = &node.node.fields;
        fields.address == member.address && (id.is_empty() || fields.id == id)
    });
    let is_served = service
        .as_ref()
        .is_none_or(|service| node.is_some_and(|node| node.services.iter().any(|there| there.fields == *service)));
    let is_passing = node.and_then(serf_health).is_some_and(|there| *there == check);
    if is_placed && is_served && is_passing {
        return None;
    }
    // What the agent says of itself (addresses, metadata) stays.
    let mut fields = node.map(|node| node.node.fields.clone()).unwrap_or_else(|| NodeFields {
        name: member.name.clone(),
        datacenter: scope.datacenter.clone(),
        ..NodeFields::default()
    });
    fields.address = member.address.clone();
    if !id.is_empty() {
        fields.id = id.to_owned();
    }
    Some(Registration { node: fields, skip_node_update: is_placed, service, checks: vec![check] }.into())
}

fn failed(node: &NodeHealth) -> Option<Command> {
    let check = check(CheckStatus::Critical);
    if serf_health(node).is_some_and(|there| *there == check) {
        return None;
    }
    Some(Command::from(Registration {
        node: node.node.fields.clone(),
        skip_node_update: true,
        service: None,
        checks: vec![check],
    }))
}

fn gone(scope: &Scope, node: &NodeHealth) -> Option<Command> {
    let name = &node.node.fields.name;
    let is_self = name.to_lowercase() == scope.node_name.to_lowercase();
    (!is_self).then(|| Command::Deregister(Deregistration::Node { node: name.clone() }))
}

fn check(status: CheckStatus) -> CheckFields {
    let output = match status {
        CheckStatus::Passing => "Agent alive and reachable",
        CheckStatus::Warning | CheckStatus::Critical => "Agent not live or unreachable",
    };
    CheckFields {
        id: SERF_HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status,
        output: output.to_owned(),
        ..CheckFields::default()
    }
}

fn serf_health(node: &NodeHealth) -> Option<&CheckFields> {
    node.checks.iter().map(|check| &check.fields).find(|check| check.id == SERF_HEALTH)
}

/// The service that every server has; none of a client.
fn server_service(member: &MemberState) -> Option<ServiceFields> {
    if tag(member, "role") != CONSUL {
        return None;
    }
    let version = tag(member, "build").split(':').next().unwrap_or_default();
    let [min, max, current] = [0, 1, 2].map(|at: usize| member.versions[at].to_string());
    let meta = [
        ("non_voter", if member.tags.contains_key("nonvoter") { "true" } else { "false" }),
        ("raft_version", tag(member, "raft_vsn")),
        ("serf_protocol_current", &current),
        ("serf_protocol_max", &max),
        ("serf_protocol_min", &min),
        ("version", version),
    ];
    Some(ServiceFields {
        id: CONSUL.to_owned(),
        name: CONSUL.to_owned(),
        port: tag(member, "port").parse().unwrap_or(0),
        meta: meta.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        weights: (1, 1),
        ..ServiceFields::default()
    })
}

fn tag<'a>(member: &'a MemberState, name: &str) -> &'a str {
    member.tags.get(name).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use shared::event::Pool;

    use super::*;
    use crate::moment::WallTime;
    use crate::store::Store;
    use crate::store::query::{Answer, Query};

    const ID: &str = "40e4a748-2192-161a-0510-9bf59fe950b5";

    fn member(name: &str, role: &str, status: MemberStatus) -> MemberState {
        let tags = [("role", role), ("dc", "dc1"), ("port", "8300"), ("raft_vsn", "3"), ("build", "1.8.7:quorate-0.1")];
        MemberState {
            pool: Pool::Lan,
            name: name.to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 8301,
            status,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    fn scope(is_settled: bool) -> Scope {
        Scope { datacenter: "dc1".to_owned(), node_name: "self".to_owned(), seen: BTreeSet::new(), is_settled }
    }

    /// A catalog that follows the plan.
    #[derive(Default)]
    struct World {
        store: Store,
        index: u64,
    }

    impl World {
        fn catalog(&self) -> Vec<NodeHealth> {
            match self.store.query(&Query::NodeHealth { node: None }) {
                (_, Answer::NodeHealth(nodes)) => nodes,
                other => panic!("not nodes: {other:?}"),
            }
        }

        /// What is planned; carried out, after which nothing more is planned.
        #[track_caller]
        fn settle(&mut self, members: &[MemberState]) -> Vec<(String, Reason)> {
            let scope = scope(true);
            let steps = plan(&scope, members, &self.catalog());
            let told = steps.iter().map(|step| (step.member.clone(), step.reason)).collect();
            for step in steps {
                self.index += 1;
                let (outcome, changes) = self.store.apply(self.index, WallTime::default(), step.command);
                assert_eq!(outcome, crate::store::command::Outcome::Done);
                assert!(!changes.is_empty(), "a step that changes nothing");
            }
            assert_eq!(plan(&scope, members, &self.catalog()), [], "planned again");
            told
        }
    }

    #[track_caller]
    fn check_story(story: &[(MemberState, Option<Reason>)]) -> World {
        let mut world = World::default();
        for (member, expected) in story {
            let expected: Vec<_> = expected.map(|reason| (member.name.clone(), reason)).into_iter().collect();
            assert_eq!(world.settle(std::slice::from_ref(member)), expected, "{member:?}");
        }
        world
    }

    #[test]
    fn the_catalog_follows_a_members_life() {
        use MemberStatus::{Alive, Failed, Leaving, Left, Suspect};
        let at = |status| member("other", "node", status);
        check_story(&[
            (at(Failed), None),
            (at(Left), None),
            (at(Alive), Some(Reason::Joined)),
            (at(Suspect), None),
            (at(Failed), Some(Reason::Failed)),
            (at(Alive), Some(Reason::Joined)),
            (at(Leaving), None),
            (at(Left), Some(Reason::Left)),
        ]);
    }

    #[test]
    fn a_member_of_another_kind_or_datacenter_is_no_node() {
        check_story(&[(member("other", "", MemberStatus::Alive), None)]);
        let mut far = member("other", "node", MemberStatus::Alive);
        far.tags.insert("dc".to_owned(), "dc2".to_owned());
        check_story(&[(far, None)]);
    }

    #[test]
    fn the_leader_does_not_take_itself_away() {
        let at = |status| member("Self", "consul", status);
        let mut world = check_story(&[(at(MemberStatus::Alive), Some(Reason::Joined)), (at(MemberStatus::Left), None)]);
        assert_eq!(world.settle(&[]), []);
    }

    #[test]
    fn a_node_that_gossip_forgot_is_reaped_and_a_foreign_one_is_not() {
        let mut world = check_story(&[(member("other", "node", MemberStatus::Alive), Some(Reason::Joined))]);
        let foreign = NodeFields { name: "foreign".to_owned(), address: "1.2.3.4".to_owned(), ..Default::default() };
        let foreign = Registration { node: foreign, ..Registration::default() };
        world.store.apply(9, WallTime::default(), foreign.into());
        assert_eq!(world.settle(&[]), [("other".to_owned(), Reason::Reaped)]);
        assert_eq!(world.catalog().len(), 1);
    }

    #[test]
    fn a_new_leader_reaps_only_whom_it_has_seen_itself() {
        let world = check_story(&[(member("Other", "node", MemberStatus::Alive), Some(Reason::Joined))]);
        let mut scope = scope(false);
        assert_eq!(plan(&scope, &[], &world.catalog()), []);
        scope.seen.insert("other".to_owned());
        assert_eq!(plan(&scope, &[], &world.catalog())[0].reason, Reason::Reaped);
    }

    #[test]
    fn a_server_has_the_consul_service_as_the_reference_shows_it() {
        let mut world = check_story(&[(member("s", "consul", MemberStatus::Alive), Some(Reason::Joined))]);
        let catalog = world.catalog();
        let service = &catalog[0].services[0].fields;
        let meta: Vec<_> = service.meta.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            meta,
            [
                "non_voter=false",
                "raft_version=3",
                "serf_protocol_current=2",
                "serf_protocol_max=5",
                "serf_protocol_min=1",
                "version=1.8.7"
            ]
        );
        assert_eq!((service.port, service.weights), (8300, (1, 1)));
        let mut moved = member("s", "consul", MemberStatus::Alive);
        moved.tags.insert("port".to_owned(), "8400".to_owned());
        assert_eq!(world.settle(&[moved]), [("s".to_owned(), Reason::Joined)]);
    }

    #[test]
    fn a_moved_member_keeps_what_it_said_of_itself() {
        let mut world = check_story(&[(member("m", "node", MemberStatus::Alive), Some(Reason::Joined))]);
        let mut said = world.catalog()[0].node.fields.clone();
        said.meta.insert("rack".to_owned(), "7".to_owned());
        let said = Registration { node: said, ..Registration::default() };
        world.store.apply(9, WallTime::default(), said.into());
        let mut moved = member("m", "node", MemberStatus::Alive);
        moved.address = "10.0.0.9".to_owned();
        moved.tags.insert("id".to_owned(), ID.to_owned());
        assert_eq!(world.settle(&[moved]), [("m".to_owned(), Reason::Joined)]);
        let node = world.catalog()[0].node.fields.clone();
        assert_eq!((&*node.address, &*node.id, &*node.meta["rack"]), ("10.0.0.9", ID, "7"));
    }
}
