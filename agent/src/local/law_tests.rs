//! What must hold whatever happens in whatever order, on the real registry, files, ledger, differences and
//! store: when the faults are over, one look at the catalog makes both agree, and nothing is left to push.
//! `sync` is played step by step, so that everything may happen between its look, its list and each write.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::diff::{Push, compare, lots, pushed, pushes};
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
    /// The syncer looks at the catalog, or at what a leader that is one no more holds.
    Look {
        is_old: bool,
    },
    /// It lists what it is going to write. What is written at once is done in any order.
    List {
        is_backward: bool,
    },
    /// It writes the first so many of the list.
    Write {
        count: usize,
    },
    /// The leader is killed while the first of the list are on their way, which gives the pass up. What it held may
    /// be seen once more.
    LeaderKilled {
        fate: Fate,
    },
    /// What was on its way to a leader that was killed arrives after all.
    LateWrites,
    /// A leader registers the node, with what it keeps there.
    LeaderMarks {
        is_failed: bool,
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
    /// The agent is killed and started again; its write may be on its way.
    Restart {
        fate: Fate,
    },
    /// It is killed while a registration is written to its disk.
    RestartWhileRegistering {
        id: usize,
        port: u16,
        is_written: bool,
    },
}

/// What becomes of a write that nobody answered.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Done,
    Late,
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
        3 => any::<bool>().prop_map(|is_old| Happening::Look { is_old }),
        4 => any::<bool>().prop_map(|is_backward| Happening::List { is_backward }),
        4 => (1..6_usize).prop_map(|count| Happening::Write { count }),
        2 => fate().prop_map(|fate| Happening::LeaderKilled { fate }),
        1 => Just(Happening::LateWrites),
        1 => any::<bool>().prop_map(|is_failed| Happening::LeaderMarks { is_failed }),
        1 => id().prop_map(|id| Happening::CatalogLosesService { id }),
        1 => id().prop_map(|id| Happening::CatalogLosesCheck { id }),
        1 => Just(Happening::CatalogLosesNode),
        2 => (id(), 0..3_u16).prop_map(|(id, port)| Happening::CatalogGains { id, port }),
        1 => fate().prop_map(|fate| Happening::Restart { fate }),
        1 => (id(), 0..3_u16, any::<bool>())
            .prop_map(|(id, port, is_written)| Happening::RestartWhileRegistering { id, port, is_written }),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Lost), Just(Fate::Done), Just(Fate::Late)]
}

struct World {
    dir: tempfile::TempDir,
    local: Local,
    store: Store,
    index: u64,
    files: Vec<Service>,
    /// What the syncer is going to write in this pass.
    listed: VecDeque<Push>,
    /// On their way to a leader that was killed.
    late: Vec<Command>,
    /// What a leader held when it was killed.
    old: Option<Store>,
    /// The leader's check is in the catalog.
    is_marked: bool,
}

fn seen_in(store: &Store) -> Option<NodeHealth> {
    match store.query(&Query::NodeHealth { node: Some("one".to_owned()) }) {
        (_, Answer::NodeHealth(nodes)) => nodes.first().cloned(),
        other => panic!("not nodes: {other:?}"),
    }
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
        Self {
            dir,
            local,
            store: Store::default(),
            index: 0,
            files: Vec::new(),
            listed: VecDeque::new(),
            late: Vec::new(),
            old: None,
            is_marked: false,
        }
    }

    fn agent(dir: &tempfile::TempDir) -> Local {
        let files = Some(Files::new(dir.path()));
        Local::new(Settings { node: node(), update_interval: Duration::from_secs(300), files, ..Settings::default() })
    }

    fn there(&self) -> Option<NodeHealth> {
        seen_in(&self.store)
    }

    fn write(&mut self, command: Command) -> bool {
        self.index += 1;
        self.store.apply(self.index, WallTime::default(), command).0 == Outcome::Done
    }

    fn look(&mut self, is_old: bool) {
        let store = self.old.as_ref().filter(|_| is_old).unwrap_or(&self.store);
        compare(&mut self.local.ledger(), seen_in(store).as_ref());
        // It looks between two passes.
        self.listed.clear();
    }

    fn list(&mut self, is_backward: bool) {
        let pushes = pushes(&self.local.ledger());
        let lots = lots(&pushes, usize::MAX).map(|lot| match is_backward {
            true => lot.iter().rev().cloned().collect::<Vec<_>>(),
            false => lot.to_vec(),
        });
        self.listed = lots.flatten().collect();
    }

    fn write_listed(&mut self, count: usize) {
        for push in self.listed.drain(..count.min(self.listed.len())).collect::<Vec<_>>() {
            if self.write(push.command.clone()) {
                pushed(&mut self.local.ledger(), &push);
            }
        }
    }

    /// Nobody is told what became of the writes that were on their way, and the pass is over.
    fn give_up(&mut self, fate: Fate) {
        let listed: Vec<_> = std::mem::take(&mut self.listed).into();
        let on_their_way = lots(&listed, 3).next().unwrap_or_default();
        for command in on_their_way.iter().map(|push| push.command.clone()) {
            match fate {
                Fate::Done => drop(self.write(command)),
                Fate::Late => self.late.push(command),
                Fate::Lost => {}
            }
        }
    }

    fn arrive_late(&mut self) {
        for command in std::mem::take(&mut self.late) {
            self.write(command);
        }
    }

    fn restart(&mut self) {
        self.local = Self::agent(&self.dir);
        self.local.open(&self.files, &[]).expect("opened");
    }

    /// The faults are over.
    fn settle(&mut self) {
        self.give_up(Fate::Lost);
        self.arrive_late();
        self.look(false);
        self.list(false);
        self.write_listed(usize::MAX);
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
                if let Ok(Some(change)) = self.local.maintenance(Some(IDS[id]), on.then_some("why")) {
                    let _ = self.local.change_now(change);
                }
            }
            Happening::Reload { services } => {
                let mut by_id = BTreeMap::new();
                by_id.extend(services.into_iter().map(|(id, port)| (id, service(id, port, 1))));
                self.files = by_id.into_values().collect();
                self.local.reload(&self.files, &[]).expect("reloaded");
            }
            Happening::Look { is_old } => self.look(is_old),
            Happening::List { is_backward } => self.list(is_backward),
            Happening::Write { count } => self.write_listed(count),
            Happening::LeaderKilled { fate } => {
                self.old = Some(self.store.clone());
                self.give_up(fate);
            }
            Happening::LateWrites => self.arrive_late(),
            Happening::Restart { fate } => {
                self.give_up(fate);
                self.restart();
            }
            Happening::RestartWhileRegistering { id, port, is_written } => {
                self.begin_registration(&service(id, port, 2), is_written);
                self.give_up(Fate::Lost);
                self.restart();
            }
            other => self.catalog_happens(other),
        }
    }

    /// Killed in the middle of its line, or after all of it.
    fn begin_registration(&self, service: &Service, is_written: bool) {
        let (services, checks) = (vec![&service.fields], service.checks.iter().collect());
        let mut line = Vec::new();
        record::write(&record::Written { services, checks, ..record::Written::default() }, &mut line);
        if !is_written {
            line.truncate(line.len() / 2);
        }
        let path = self.dir.path().join("registrations");
        let mut journal = std::fs::read(&path).unwrap_or_default();
        let end = journal.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        drop(journal.splice(end..(end + line.len()).min(journal.len()), line));
        std::fs::write(path, journal).expect("written");
    }

    /// What others do to the catalog.
    fn catalog_happens(&mut self, what: Happening) {
        let text = |id: usize| IDS[id].to_owned();
        match what {
            Happening::LeaderMarks { is_failed } => {
                let status = if is_failed { CheckStatus::Critical } else { CheckStatus::Passing };
                let mark = CheckFields { id: "serfHealth".to_owned(), status, ..CheckFields::default() };
                let checks = vec![mark];
                self.write(Registration { node: node(), checks, ..Registration::default() }.into());
                self.is_marked = true;
            }
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
                self.is_marked = false;
            }
            Happening::CatalogGains { id, port } => {
                let service = Some(ServiceFields { tags: vec!["theirs".to_owned()], ..service(id, port, 0).fields });
                self.write(Registration { node: node(), service, ..Registration::default() }.into());
            }
            other => panic!("{other:?} does not happen to a catalog"),
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
        let is_marks = |check: &CheckFields| check.id == "serfHealth";
        assert_eq!(there.checks.iter().any(|there| is_marks(&there.fields)), self.is_marked, "the leader's is its own");
        for check in there.checks.iter().map(|check| &check.fields).filter(|check| !is_marks(check)) {
            // An output that changed alone is told later.
            let is_same =
                |claimed: &CheckFields| CheckFields { output: check.output.clone(), ..claimed.clone() } == *check;
            assert!(ledger.checks().values().any(is_same), "{check:?} is nobody's");
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
        world.settle();
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
