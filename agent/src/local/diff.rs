//! PURE: the ledger against the catalog's entry of this node, to marks and commands.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Claim, Ledger};
use crate::store::command::{CheckFields, Command, Deregistration, NodeFields, Registration, ServiceFields};
use crate::store::query::NodeHealth;

/// The service and the check that the leader keeps.
const LEADERS_SERVICE: &str = "consul";
const LEADERS_CHECK: &str = "serfHealth";

/// Something to write. Once it is written, `claims` are as they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// What it is about, and with it what goes along.
    pub claims: Vec<Claim>,
    pub is_removal: bool,
    pub command: Command,
}

/// Marks the ledger by what the catalog holds (none: it does not know this node). Outputs that wait to be
/// told go on waiting.
pub fn compare(ledger: &mut Ledger, catalog: Option<&NodeHealth>) {
    // Consul tells its node once at every start, whatever the catalog holds: only a push makes it sure.
    if !catalog.is_some_and(|there| is_same(ledger.node(), &there.node.fields)) {
        ledger.mark_out_of_sync(Claim::Node);
    }
    let there = There::of(catalog);
    let services: Vec<_> = ledger.services().values().cloned().collect();
    for mut service in services {
        let there = there.services.get(&folded(&service.id));
        if let Some(there) = there.filter(|_| service.enable_tag_override) {
            ledger.adopt_tags(&service.id, &there.tags);
            service.tags.clone_from(&there.tags);
        }
        mark(ledger, Claim::Service(service.id.clone()), there.is_some_and(|there| **there == service));
    }
    let checks: Vec<_> = ledger.checks().values().cloned().collect();
    for check in checks {
        let there = there.checks.get(&folded(&check.id));
        let is_waiting = ledger.is_output_waiting(&check.id);
        let is_there = there.is_some_and(|there| is_same_check(&check, there, is_waiting));
        mark(ledger, Claim::Check(check.id), is_there);
    }
    ledger.set_strays(strays(ledger, &there));
}

/// What the catalog holds on this node, by IDs as it looks them up.
#[derive(Default)]
struct There<'a> {
    services: BTreeMap<String, &'a ServiceFields>,
    checks: BTreeMap<String, &'a CheckFields>,
}

impl<'a> There<'a> {
    fn of(catalog: Option<&'a NodeHealth>) -> Self {
        let services = catalog.into_iter().flat_map(|there| &there.services).map(|service| &service.fields);
        let checks = catalog.into_iter().flat_map(|there| &there.checks).map(|check| &check.fields);
        Self {
            services: services.map(|service| (folded(&service.id), service)).collect(),
            checks: checks.map(|check| (folded(&check.id), check)).collect(),
        }
    }
}

fn folded(id: &str) -> String {
    id.to_ascii_lowercase()
}

fn mark(ledger: &mut Ledger, claim: Claim, is_there: bool) {
    match is_there {
        true => ledger.mark_seen(&claim),
        false => ledger.mark_out_of_sync(claim),
    }
}

fn strays(ledger: &Ledger, there: &There<'_>) -> BTreeSet<Claim> {
    let claimed: BTreeSet<_> = ledger.services().keys().map(|id| folded(id)).collect();
    let services = there.services.iter().filter(|(id, there)| there.id != LEADERS_SERVICE && !claimed.contains(*id));
    let claimed: BTreeSet<_> = ledger.checks().keys().map(|id| folded(id)).collect();
    let checks = there.checks.iter().filter(|(id, there)| there.id != LEADERS_CHECK && !claimed.contains(*id));
    let services = services.map(|(_, there)| Claim::Service(there.id.clone()));
    services.chain(checks.map(|(_, there)| Claim::Check(there.id.clone()))).collect()
}

/// What has to be written to make the catalog hold every claim and nothing else, in this order.
pub fn pushes(ledger: &Ledger) -> Vec<Push> {
    let register = |claims, service, checks, skip_node_update| {
        let node = ledger.node().clone();
        Push { claims, is_removal: false, command: Registration { node, skip_node_update, service, checks }.into() }
    };
    let mut pushes = Vec::new();
    if !ledger.is_in_sync(&Claim::Node) {
        pushes.push(register(vec![Claim::Node], None, Vec::new(), false));
    }
    let node = || ledger.node().name.clone();
    for stray in ledger.strays() {
        let what = match stray.clone() {
            Claim::Node => continue,
            Claim::Service(service_id) => Deregistration::Service { node: node(), service_id },
            Claim::Check(check_id) => Deregistration::Check { node: node(), check_id },
        };
        pushes.push(Push { claims: vec![stray.clone()], is_removal: true, command: Command::Deregister(what) });
    }
    let mut of_services: BTreeMap<&str, Vec<&CheckFields>> = BTreeMap::new();
    let mut alone = Vec::new();
    for claim in ledger.open() {
        let Claim::Check(id) = claim else { continue };
        let Some(check) = ledger.checks().get(id) else { continue };
        let service = Claim::Service(check.service_id.clone());
        match ledger.services().contains_key(&check.service_id) && !ledger.is_in_sync(&service) {
            true => of_services.entry(&check.service_id).or_default().push(check),
            false => alone.push(check),
        }
    }
    for claim in ledger.open() {
        let Claim::Service(id) = claim else { continue };
        let Some(service) = ledger.services().get(id) else { continue };
        let checks = of_services.remove(id.as_str()).unwrap_or_default();
        let with = checks.iter().map(|check| Claim::Check(check.id.clone()));
        let claims = std::iter::once(claim.clone()).chain(with).collect();
        pushes.push(register(claims, Some(service.clone()), checks.into_iter().cloned().collect(), true));
    }
    for check in alone {
        // With its service, which the catalog may have lost meanwhile.
        let service = ledger.services().get(&check.service_id).cloned();
        pushes.push(register(vec![Claim::Check(check.id.clone())], service, vec![check.clone()], true));
    }
    pushes
}

/// The pushes in lots, one after the other: what is in one may be written at once, in any order.
pub fn lots(pushes: &[Push], len_max: usize) -> impl Iterator<Item = &[Push]> {
    let kind = |push: &Push| (push.is_removal, push.claims.first().map(std::mem::discriminant));
    pushes.chunk_by(move |one, next| kind(one) == kind(next)).flat_map(move |lot| lot.chunks(len_max.max(1)))
}

/// After `push` was written: its claims are kept, unless they have changed on the way.
pub fn pushed(ledger: &mut Ledger, push: &Push) {
    let Command::Register(written) = &push.command else {
        for claim in &push.claims {
            ledger.removed(claim);
        }
        return;
    };
    for claim in &push.claims {
        let is_same = match claim {
            Claim::Node => written.node == *ledger.node(),
            Claim::Service(id) => written.service.as_ref() == ledger.services().get(id),
            Claim::Check(id) => written.checks.iter().find(|check| check.id == *id) == ledger.checks().get(id),
        };
        if is_same {
            ledger.mark_in_sync(claim);
        }
    }
}

/// Names and IDs are compared as the catalog looks them up.
fn is_same(claimed: &NodeFields, there: &NodeFields) -> bool {
    claimed.name.eq_ignore_ascii_case(&there.name)
        && claimed.id.eq_ignore_ascii_case(&there.id)
        && claimed.address == there.address
        && claimed.datacenter == there.datacenter
        && claimed.tagged_addresses == there.tagged_addresses
        && claimed.meta == there.meta
}

fn is_same_check(claimed: &CheckFields, there: &CheckFields, but_output: bool) -> bool {
    match but_output {
        true => CheckFields { output: there.output.clone(), ..claimed.clone() } == *there,
        false => claimed == there,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::ledger::Definition;
    use super::*;
    use crate::moment::WallTime;
    use crate::store::Store;
    use crate::store::command::{CheckStatus, Outcome};
    use crate::store::query::{Answer, Node, Query};

    fn claimed() -> NodeFields {
        NodeFields {
            name: "one".to_owned(),
            id: "40e4a748".to_owned(),
            address: "10.0.0.1".to_owned(),
            datacenter: "dc1".to_owned(),
            tagged_addresses: [("lan".to_owned(), "10.0.0.1".to_owned())].into(),
            meta: [("consul-network-segment".to_owned(), String::new())].into(),
        }
    }

    fn web(port: u16) -> Definition {
        let text = str::to_owned;
        let service = ServiceFields { id: text("w"), name: text("web"), port, weights: (1, 1), ..Default::default() };
        let check = |id| CheckFields { id: text(id), service_id: text("w"), ..CheckFields::default() };
        Definition { service, checks: vec![check("service:w:1"), check("service:w:2")] }
    }

    #[track_caller]
    fn check(there: Option<NodeFields>, is_pushed: bool) {
        let there = there.map(|fields| NodeHealth {
            node: Arc::new(Node { fields, create_index: 1, modify_index: 1 }),
            services: Vec::new(),
            checks: Vec::new(),
        });
        // The first time it is pushed in any case.
        for (was_pushed, is_pushed) in [(true, is_pushed), (false, true)] {
            let mut ledger = Ledger::new(claimed(), Vec::new());
            mark(&mut ledger, Claim::Node, was_pushed);
            compare(&mut ledger, there.as_ref());
            assert_eq!(ledger.is_in_sync(&Claim::Node), !is_pushed);
            let pushed = pushes(&ledger);
            assert_eq!(pushed.len(), usize::from(is_pushed));
            for push in pushed {
                assert!(matches!(push.command, Command::Register(r) if r.node == claimed() && !r.skip_node_update));
            }
        }
    }

    #[test]
    fn a_node_is_pushed_when_the_catalog_has_it_differently() {
        check(None, true);
        check(Some(claimed()), false);
        check(Some(NodeFields { name: "ONE".to_owned(), ..claimed() }), false);
        check(Some(NodeFields { address: "10.0.0.2".to_owned(), ..claimed() }), true);
        check(Some(NodeFields { meta: Default::default(), ..claimed() }), true);
        check(Some(NodeFields { tagged_addresses: Default::default(), ..claimed() }), true);
        check(Some(NodeFields { id: String::new(), ..claimed() }), true);
    }

    /// A catalog that takes what is pushed.
    #[derive(Default)]
    struct World {
        store: Store,
        index: u64,
    }

    impl World {
        fn there(&self) -> Option<NodeHealth> {
            match self.store.query(&Query::NodeHealth { node: Some("one".to_owned()) }) {
                (_, Answer::NodeHealth(nodes)) => nodes.first().cloned(),
                other => panic!("not nodes: {other:?}"),
            }
        }

        fn write(&mut self, command: Command) {
            self.index += 1;
            assert_eq!(self.store.apply(self.index, WallTime::default(), command).0, Outcome::Done);
        }

        /// What is pushed; after it nothing is, neither by marks nor by another look.
        #[track_caller]
        fn settle(&mut self, ledger: &mut Ledger) -> Vec<String> {
            compare(ledger, self.there().as_ref());
            let mut told = Vec::new();
            for push in pushes(ledger) {
                self.write(push.command.clone());
                pushed(ledger, &push);
                let sign = if push.is_removal { "-" } else { "+" };
                told.extend(push.claims.iter().map(|claim| match claim {
                    Claim::Node => format!("{sign}node"),
                    Claim::Service(id) => format!("{sign}{id}"),
                    Claim::Check(id) => format!("{sign}{id}"),
                }));
            }
            assert_eq!(pushes(ledger), [], "not marked");
            compare(ledger, self.there().as_ref());
            assert_eq!(pushes(ledger), [], "not settled");
            told
        }
    }

    #[test]
    fn the_catalog_comes_to_hold_what_is_claimed_and_nothing_else() {
        let mut world = World::default();
        let mut ledger = Ledger::new(claimed(), vec![web(80)]);
        assert_eq!(world.settle(&mut ledger), ["+node", "+w", "+service:w:1", "+service:w:2"]);
        assert_eq!(world.settle(&mut ledger), [""; 0]);
        // What the leader keeps stays; what nobody claims goes, a service with its checks at once.
        let keeps = |id: &str| ServiceFields { id: id.to_owned(), name: id.to_owned(), ..Default::default() };
        let health = CheckFields { id: LEADERS_CHECK.to_owned(), ..CheckFields::default() };
        let registration = Registration { node: claimed(), skip_node_update: true, ..Registration::default() };
        let consul =
            Registration { service: Some(keeps(LEADERS_SERVICE)), checks: vec![health], ..registration.clone() };
        world.write(consul.into());
        let of_old = CheckFields { id: "service:old".to_owned(), service_id: "old".to_owned(), ..Default::default() };
        let lone = CheckFields { id: "lone".to_owned(), ..CheckFields::default() };
        let old = Registration { service: Some(keeps("old")), checks: vec![of_old, lone], ..registration.clone() };
        world.write(old.into());
        assert_eq!(world.settle(&mut ledger), ["-old", "-lone", "-service:old"]);
        let there = world.there().expect("the node");
        assert_eq!((there.services.len(), there.checks.len()), (2, 3));
        // Others changed it.
        let moved = Registration { service: Some(web(81).service), ..registration };
        world.write(moved.into());
        assert_eq!(world.settle(&mut ledger), ["+w"]);
        world.write(Command::Deregister(Deregistration::Node { node: "one".to_owned() }));
        assert_eq!(world.settle(&mut ledger), ["+node", "+w", "+service:w:1", "+service:w:2"]);
    }

    #[test]
    fn pushes_are_written_in_lots_that_need_no_order() {
        let mut ledger = Ledger::new(
            claimed(),
            ["a", "b", "c"]
                .map(|id| {
                    let service = ServiceFields { id: id.to_owned(), ..ServiceFields::default() };
                    Definition { service, checks: Vec::new() }
                })
                .into(),
        );
        let stray = |id: &str| Claim::Service(id.to_owned());
        ledger.set_strays([stray("x"), stray("y"), Claim::Check("z".to_owned())].into());
        ledger.put_check(
            CheckFields { id: "of a".to_owned(), service_id: "a".to_owned(), ..Default::default() },
            Default::default(),
        );
        ledger.put_check(CheckFields { id: "lone".to_owned(), ..Default::default() }, Default::default());
        let pushes = pushes(&ledger);
        let check = |len_max: usize, expected: &[usize]| {
            let lots: Vec<_> = lots(&pushes, len_max).collect();
            assert_eq!(lots.iter().map(|lot| lot.len()).collect::<Vec<_>>(), expected);
            assert_eq!(lots.concat(), pushes, "all of them, in their order");
        };
        check(64, &[1, 2, 1, 3, 1]);
        check(2, &[1, 2, 1, 2, 1, 1]);
        assert_eq!(pushes[4].claims, [stray("a"), Claim::Check("of a".to_owned())]);
    }

    #[test]
    fn tags_that_others_may_set_are_taken_over() {
        let mut world = World::default();
        let mut definition = web(80);
        definition.service.enable_tag_override = true;
        let mut ledger = Ledger::new(claimed(), vec![definition.clone()]);
        world.settle(&mut ledger);
        definition.service.tags = vec!["theirs".to_owned()];
        let theirs = Registration {
            node: claimed(),
            skip_node_update: true,
            service: Some(definition.service),
            checks: Vec::new(),
        };
        world.write(theirs.into());
        assert_eq!(world.settle(&mut ledger), [""; 0]);
        assert_eq!(ledger.services()["w"].tags, ["theirs"]);
    }

    #[test]
    fn an_output_is_pushed_when_it_is_due_whatever_was_seen_meanwhile() {
        let at = |second: u64| crate::moment::Moment::from_micros(second * 1_000_000);
        let said =
            |output: &str| super::super::ledger::Verdict { status: CheckStatus::Critical, output: output.to_owned() };
        let mut world = World::default();
        let mut ledger = Ledger::new(claimed(), vec![web(80)]);
        world.settle(&mut ledger);
        ledger.judge("service:w:1", said("a"), at(1), Some(at(9)));
        assert_eq!(world.settle(&mut ledger), [""; 0]);
        ledger.mature(at(9));
        assert_eq!(world.settle(&mut ledger), ["+service:w:1"]);
        // What is there is not what this agent says, and nothing will tell it later.
        let theirs = CheckFields { output: "theirs".to_owned(), ..ledger.checks()["service:w:1"].clone() };
        let registration =
            Registration { node: claimed(), skip_node_update: true, checks: vec![theirs], service: None };
        world.write(registration.into());
        assert_eq!(world.settle(&mut ledger), ["+service:w:1"]);
    }

    #[test]
    fn what_changed_on_the_way_is_pushed_again() {
        let mut ledger = Ledger::new(claimed(), vec![web(80)]);
        let first = pushes(&ledger);
        let verdict = super::super::ledger::Verdict { status: CheckStatus::Passing, output: "ok".to_owned() };
        ledger.judge("service:w:2", verdict, crate::moment::Moment::default(), None);
        for push in &first {
            pushed(&mut ledger, push);
        }
        let again = pushes(&ledger);
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].claims, [Claim::Check("service:w:2".to_owned())]);
    }
}
