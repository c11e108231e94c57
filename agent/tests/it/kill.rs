//! Kill -9 at random moments under writes: what was acknowledged is there after the restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

use crate::support::{Agent, eventually, scratch};

const KILLS: usize = 100;
const WRITERS: usize = 4;

/// What each writer was told is written: the last acknowledged value of each of its keys.
type Acknowledged = BTreeMap<String, u64>;

#[test]
fn every_acknowledged_write_survives_a_hundred_kills() {
    let seed = std::env::var("QUORATE_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    println!("seed {seed} (QUORATE_SEED repeats it)");
    let mut dice = rand::rngs::SmallRng::seed_from_u64(seed);
    let dir = scratch();
    let mut agent = Agent::server(dir.path());
    let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
    let mut index = 0;
    for round in 0..KILLS {
        let stop = AtomicBool::new(false);
        let before = acknowledged.lock().expect("whole").len();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (agent, acknowledged, stop) = (&agent, &acknowledged, &stop);
                scope.spawn(move || write(agent, acknowledged, stop, round, writer));
            }
            // The moment must come while there are writes, or the round shows nothing.
            eventually("a write", || acknowledged.lock().expect("whole").len(), |count| *count > before);
            std::thread::sleep(Duration::from_micros(dice.random_range(0..60_000)));
            agent.signal(Signal::KILL);
            stop.store(true, Ordering::Relaxed);
        });
        agent.ended();
        agent.restart();
        index = check(&agent, &acknowledged.lock().expect("whole"), index, round);
    }
    println!("{KILLS} kills, {} keys acknowledged, last index {index}", acknowledged.lock().expect("whole").len());
}

/// Writes until told to stop or the agent is gone; every answer `true` counts, and only that.
fn write(agent: &Agent, acknowledged: &Mutex<Acknowledged>, stop: &AtomicBool, round: usize, writer: usize) {
    for n in 0..u64::MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Some keys are new, some are written over and over.
        let key = if n % 3 == 0 { format!("hot/{writer}") } else { format!("r{round}/{writer}-{n}") };
        let value = (round as u64) << 32 | n;
        let Ok(answer) = agent.try_put(&format!("/v1/kv/{key}"), &value.to_string()) else { return };
        if answer.status == 200 && answer.body.trim() == "true" {
            acknowledged.lock().expect("whole").insert(key, value);
        }
    }
}

/// Every acknowledged key of the round, and at times of all rounds, is there with that value or a later
/// one of the same writer; returns the index.
#[track_caller]
fn check(agent: &Agent, acknowledged: &Acknowledged, index_before: u64, round: usize) -> u64 {
    let whole = round % 25 == 24;
    let prefixes = if whole { vec![String::new()] } else { vec![format!("r{round}/"), "hot/".to_owned()] };
    let mut index = index_before;
    for prefix in prefixes {
        let answer = agent.get(&format!("/v1/kv/{prefix}?recurse&consistent"));
        if whole {
            index = answer.header("x-consul-index").and_then(|i| i.parse().ok()).expect("an index");
            assert!(index >= index_before, "round {round}: the index went back from {index_before} to {index}");
        }
        let pairs = if answer.status == 404 { serde_json::json!([]) } else { answer.json() };
        let stored: BTreeMap<String, u64> = pairs.as_array().expect("pairs").iter().map(pair).collect();
        for (key, value) in acknowledged.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let found = stored.get(key);
            // A write without an answer may have happened after the acknowledged one.
            assert!(
                found.is_some_and(|found| found >= value),
                "round {round}: {key} is {found:?}, acknowledged {value}"
            );
        }
    }
    index
}

fn pair(pair: &serde_json::Value) -> (String, u64) {
    let value = STANDARD.decode(pair["Value"].as_str().expect("a value")).expect("base64");
    let value = String::from_utf8(value).expect("text").parse().expect("a number");
    (pair["Key"].as_str().expect("a key").to_owned(), value)
}
