//! What must hold whatever happens in whatever order, on the real registry, ledger, differences and store:
//! when the faults are over, one look at the catalog makes both agree, and nothing is left to push.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::diff::{compare, pushed, pushes};
use super::*;
use crate::config::Service;
use crate::moment::WallTime;
use crate::store::Store;
use crate::store::command::{Command, Deregistration, Outcome, Registration};
use crate::store::query::{Answer, NodeHealth, Query};

/// What may happen.
#[derive(Clone, Debug)]
enum Happening {
    Register {
        id: usize,
        port: u16,
        checks: usize,
        replaced: bool,
    },
    Deregister {
        id: usize,
    },
    RegisterCheck {
        id: usize,
        service: Option<usize>,
    },
    DeregisterCheck {
        id: usize,
    },
    Judge {
        id: usize,
        status: usize,
        output: u8,
    },
    Maintain {
        id: usize,
        on: bool,
    },
    Reload {
        services: Vec<(usize, u16)>,
    },
    /// A push of what differs, of which only so many writes arrive.
    Push {
        arrive: usize,
    },
    /// A whole look at the catalog, and the same.
    Sync {
        arrive: usize,
    },
    /// Somebody takes it out of the catalog.
    CatalogLosesService {
        id: usize,
    },
    CatalogLosesCheck {
        id: usize,
    },
    CatalogLosesNode,
    /// Somebody puts it into the catalog on this node.
    CatalogGains {
        id: usize,
        port: u16,
    },
    /// The agent is killed and started again.
    Restart,
}

const IDS: [&str; 4] = ["a", "A", "b", "consul-like"];
const CHECK_IDS: [&str; 4] = ["c", "C", "service:a", "service:b:1"];

fn happening() -> impl Strategy<Value = Happening> {
    let id = || 0..IDS.len();
    prop_oneof![
        4 => (id(), 0..3_u16, 0..3_usize, any::<bool>())
            .prop_map(|(id, port, checks, replaced)| Happening::Register { id, port, checks, replaced }),
        2 => id().prop_map(|id| Happening::Deregister { id }),
        2 => (id(), proptest::option::of(id())).prop_map(|(id, service)| Happening::RegisterCheck { id, service }),
        1 => id().prop_map(|id| Happening::DeregisterCheck { id }),
        4 => (id(), 0..3_usize, 0..3_u8).prop_map(|(id, status, output)| Happening::Judge { id, status, output }),
        1 => (id(), any::<bool>()).prop_map(|(id, on)| Happening::Maintain { id, on }),
        1 => proptest::collection::vec((id(), 0..3_u16), 0..3).prop_map(|services| Happening::Reload { services }),
        3 => (0..6_usize).prop_map(|arrive| Happening::Push { arrive }),
        2 => (0..6_usize).prop_map(|arrive| Happening::Sync { arrive }),
        1 => id().prop_map(|id| Happening::CatalogLosesService { id }),
        1 => id().prop_map(|id| Happening::CatalogLosesCheck { id }),
        1 => Just(Happening::CatalogLosesNode),
        2 => (id(), 0..3_u16).prop_map(|(id, port)| Happening::CatalogGains { id, port }),
        1 => Just(Happening::Restart),
    ]
}

struct World {
    dir: tempfile::TempDir,
    local: Local,
    store: Store,
    index: u64,
    files: Vec<Service>,
}

fn node() -> NodeFields {
    NodeFields { name: "one".to_owned(), address: "10.0.0.1".to_owned(), ..NodeFields::default() }
}

fn service(id: usize, port: u16, checks: usize) -> Service {
    let fields = ServiceFields {
        id: IDS[id].to_owned(),
        name: "web".to_owned(),
        port,
        weights: (1, 1),
        enable_tag_override: id == 2,
        ..ServiceFields::default()
    };
    let check = Check { ttl: Duration::from_secs(600), ..Check::default() };
    let checks = crate::checks::spec::of_service(&fields, vec![check; checks]);
    Service { fields, checks }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let local = Self::agent(&dir);
        Self { dir, local, store: Store::default(), index: 0, files: Vec::new() }
    }

    fn agent(dir: &tempfile::TempDir) -> Local {
        let files = Some(Files::new(dir.path()));
        Local::new(Settings { node: node(), update_interval: Duration::from_secs(300), files, ..Settings::default() })
    }

    fn there(&self) -> Option<NodeHealth> {
        match self.store.query(&Query::NodeHealth { node: Some("one".to_owned()) }) {
            (_, Answer::NodeHealth(nodes)) => nodes.first().cloned(),
            other => panic!("not nodes: {other:?}"),
        }
    }

    fn write(&mut self, command: Command) -> bool {
        self.index += 1;
        self.store.apply(self.index, WallTime::default(), command).0 == Outcome::Done
    }

    fn push(&mut self, arrive: usize) {
        let pushes = pushes(&self.local.ledger());
        for push in pushes.into_iter().take(arrive) {
            if self.write(push.command.clone()) {
                pushed(&mut self.local.ledger(), &push);
            }
        }
    }

    fn sync(&mut self, arrive: usize) {
        let there = self.there();
        compare(&mut self.local.ledger(), there.as_ref());
        self.push(arrive);
    }

    fn happens(&mut self, what: Happening) {
        let text = |id: usize| IDS[id].to_owned();
        match what {
            Happening::Register { id, port, checks, replaced } => {
                self.local.register_service(service(id, port, checks), replaced).expect("registered");
            }
            Happening::Deregister { id } => drop(self.local.deregister_service(IDS[id])),
            Happening::RegisterCheck { id, service } => {
                let service_id = service.map(text).unwrap_or_default();
                let (name, ttl) = ("own".to_owned(), Duration::from_secs(600));
                let check = Check { id: CHECK_IDS[id].to_owned(), name, service_id, ttl, ..Check::default() };
                // Refused where there is no such service.
                let _ = self.local.register_check(check);
            }
            Happening::DeregisterCheck { id } => drop(self.local.deregister_check(CHECK_IDS[id])),
            Happening::Judge { id, status, output } => {
                let status = [CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical][status];
                self.local.judge(CHECK_IDS[id], status, output.to_string());
            }
            Happening::Maintain { id, on } => {
                let _ = self.local.maintain(Some(IDS[id]), on.then_some("why"));
            }
            Happening::Reload { services } => {
                let mut by_id = BTreeMap::new();
                by_id.extend(services.into_iter().map(|(id, port)| (id, service(id, port, 1))));
                self.files = by_id.into_values().collect();
                self.local.reload(&self.files, &[]).expect("reloaded");
            }
            Happening::Push { arrive } => self.push(arrive),
            Happening::Sync { arrive } => self.sync(arrive),
            Happening::CatalogLosesService { id } => {
                let (node, service_id) = ("one".to_owned(), text(id));
                self.write(Command::Deregister(Deregistration::Service { node, service_id }));
            }
            Happening::CatalogLosesCheck { id } => {
                let (node, check_id) = ("one".to_owned(), CHECK_IDS[id].to_owned());
                self.write(Command::Deregister(Deregistration::Check { node, check_id }));
            }
            Happening::CatalogLosesNode => {
                self.write(Command::Deregister(Deregistration::Node { node: "one".to_owned() }));
            }
            Happening::CatalogGains { id, port } => {
                let service = Some(ServiceFields { tags: vec!["theirs".to_owned()], ..service(id, port, 0).fields });
                self.write(Registration { node: node(), service, ..Registration::default() }.into());
            }
            Happening::Restart => {
                self.local = Self::agent(&self.dir);
                self.local.open(&self.files, &[]).expect("opened");
            }
        }
    }

    /// Both say the same, but for two ways of writing one ID, which the catalog has once.
    fn check(&self) {
        let there = self.there().expect("the node");
        let ledger = self.local.ledger();
        for service in &there.services {
            let claimed = ledger.services().values().any(|claimed| *claimed == service.fields);
            assert!(claimed, "{:?} is nobody's", service.fields);
        }
        for check in &there.checks {
            let is_same =
                |claimed: &CheckFields| (&claimed.id, claimed.status) == (&check.fields.id, check.fields.status);
            assert!(ledger.checks().values().any(is_same), "{:?} is nobody's", check.fields);
        }
        for id in ledger.services().keys() {
            assert!(there.services.iter().any(|there| there.fields.id.eq_ignore_ascii_case(id)), "no {id}");
        }
        for id in ledger.checks().keys() {
            assert!(there.checks.iter().any(|there| there.fields.id.eq_ignore_ascii_case(id)), "no {id}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agent_and_catalog_agree_within_one_sync_after_the_faults(happenings in proptest::collection::vec(happening(), 1..40)) {
        let mut world = World::new();
        for what in happenings {
            world.happens(what);
        }
        world.sync(usize::MAX);
        world.check();
        // Twins of one ID take turns; without them nothing is left.
        let is_twin = |ids: Vec<String>| {
            let folded: std::collections::BTreeSet<_> = ids.iter().map(|id| id.to_lowercase()).collect();
            folded.len() != ids.len()
        };
        let ledger = world.local.ledger().clone();
        let twins = is_twin(ledger.services().keys().cloned().collect()) || is_twin(ledger.checks().keys().cloned().collect());
        if !twins {
            prop_assert_eq!(pushes(&ledger), []);
            let mut again = ledger;
            compare(&mut again, world.there().as_ref());
            prop_assert_eq!(pushes(&again), []);
        }
    }
}
