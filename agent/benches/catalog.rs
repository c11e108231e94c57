//! What a large catalog costs: `cargo bench -p agent --bench catalog`.
//!
//! 5,000 nodes with ten instances each, every instance and node with a check; prints the memory that the
//! state takes beside its budget, and what the health of a service of 100 instances takes of the processor:
//! out of the state, and as JSON. Each round asks for another service, so that no answer is still at hand.
//! Judges nothing, since the machine it runs on may be busy.

#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::time::Duration;

use agent::api::plain_instances;
use agent::moment::WallTime;
use agent::store::Store;
use agent::store::command::{CheckFields, CheckStatus, NodeFields, Registration, ServiceFields};
use agent::store::query::{Answer, Query};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODES: u64 = 5_000;
const INSTANCES: u64 = 10;
/// So that each has 100 instances.
const NAMES: u64 = NODES * INSTANCES / 100;
const ROUNDS: u64 = 2 * NAMES;

fn check(id: String, service_id: String) -> CheckFields {
    CheckFields {
        name: format!("Check {id}"),
        id,
        status: CheckStatus::Passing,
        output: "HTTP GET http://10.0.0.1:8080/health: 200 OK".to_owned(),
        service_id,
        kind: "http".to_owned(),
        ..CheckFields::default()
    }
}

fn node(at: u64) -> NodeFields {
    NodeFields {
        name: format!("node-{at:05}"),
        id: format!("{at:08x}-0000-4000-8000-000000000000"),
        address: format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255),
        datacenter: "dc1".to_owned(),
        meta: [("zone".to_owned(), format!("z{}", at % 3))].into(),
        ..NodeFields::default()
    }
}

fn service(at: u64) -> ServiceFields {
    let name = format!("service-{:03}", at % NAMES);
    ServiceFields {
        id: format!("{name}-{at}"),
        name,
        tags: vec!["v1".to_owned(), "http".to_owned()],
        port: 8080,
        weights: (1, 1),
        meta: [("version".to_owned(), "1.2.3".to_owned())].into(),
        ..ServiceFields::default()
    }
}

fn large() -> Store {
    let mut store = Store::default();
    let mut index = 10;
    for at in 0..NODES {
        for instance in 0..INSTANCES {
            let service = service(at * INSTANCES + instance);
            let mut checks = vec![check(format!("service:{}", service.id), service.id.clone())];
            if instance == 0 {
                checks.push(check("serfHealth".to_owned(), String::new()));
            }
            let service = Some(service);
            let registration = Registration { node: node(at), skip_node_update: false, service, checks };
            index += 1;
            store.apply(index, WallTime::from_micros(1), registration.into());
        }
    }
    store
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages * u64::try_from(rustix::param::page_size()).unwrap_or(0)
}

/// What this process has had of the processor: others on the machine do not count.
fn spent() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// Of the processor, one round.
fn each(mut round: impl FnMut(&Query)) -> Duration {
    let before = spent();
    for at in 0..ROUNDS {
        let service = format!("service-{:03}", at % NAMES);
        round(&Query::ServiceHealth { service, tag: None, passing_only: false });
    }
    (spent() - before) / u32::try_from(ROUNDS).unwrap_or(u32::MAX)
}

fn main() {
    let before = resident();
    let store = large();
    let taken = resident().saturating_sub(before);
    println!("{NODES} nodes, {} instances: {} MiB (budget 200)", NODES * INSTANCES, taken >> 20);
    let found = each(|query| {
        let (_, answer) = store.query(query);
        assert!(matches!(answer, Answer::Health(rows) if rows.len() == 100));
    });
    println!("100 instances of a service out of the state: {} us", found.as_micros());
    let mut last = None;
    let drawn = each(|query| last = plain_instances(store.query(query).1));
    let last = last.unwrap_or_default();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&last).unwrap_or_default();
    assert_eq!(rows.len(), 100, "instances in the answer");
    println!("the same as {} bytes of JSON: {} us (budget 1000)", last.len(), drawn.as_micros());
    let index = each(|query| assert!(store.index(query) > 1));
    println!("its index: {} ns", index.as_nanos());
}
