//! The catalog of services: all names, the instances of the one on screen, and those of others counted once.
//!
//! Names and the service on screen are questions that the agent holds until something changes; counts are
//! asked one after the other, so that a catalog of thousands is no burden.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::held::Held;
use super::poll::{Pace, ask, hand_on};
use super::wire::Wire;
use crate::msg::{Interest, Source, Trouble};
use crate::polled::{InstanceEntry, Polled};

/// Between two services that are counted.
const BETWEEN: Duration = Duration::from_millis(20);
/// A row that is only passed by is not asked for.
const PASSING: Duration = Duration::from_millis(80);
/// What was not told of a count is asked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// All names with their tags.
pub(super) async fn names(wire: &Wire) -> Trouble {
    let mut held = Held::new(wire, Source::Services);
    loop {
        let tell = |named: BTreeMap<String, Option<Vec<String>>>| {
            Polled::Services(named.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect())
        };
        if let Err(trouble) = held.turn(wire, "/v1/catalog/services", tell).await {
            return trouble;
        }
    }
}

/// The instances of the service on screen, while there is one.
pub(super) async fn instances(wire: &Wire) -> Trouble {
    let mut held = Held::new(wire, Source::Instances);
    let mut wanted = wire.interest();
    let mut service: Option<String> = None;
    loop {
        let now = wanted.borrow_and_update().service.clone();
        if now != service {
            service = now;
            held.reset();
        }
        let turned = |wanted: &Interest| wanted.service != service;
        let Some(name) = &service else {
            if wanted.wait_for(turned).await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let told = async {
            if held.is_new() {
                tokio::time::sleep(PASSING).await;
            }
            let tell = |entries| Polled::Instances { service: name.clone(), entries };
            held.turn(wire, &path(name), tell).await
        };
        tokio::select! {
            told = told => if let Err(trouble) = told {
                return trouble;
            },
            Ok(_) = wanted.wait_for(turned) => {}
        }
    }
}

fn path(service: &str) -> String {
    format!("/v1/health/service/{service}")
}

/// The instances of services whose counts are wanted, one after the other.
pub(super) async fn counts(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Instances, BETWEEN);
    let mut wanted = wire.interest();
    loop {
        let names = wanted.borrow_and_update().counted.clone();
        for name in &names {
            let request = wire.get(&path(name)).query("stale", "");
            let outcome = match ask::<Option<Vec<InstanceEntry>>>(wire, request).await {
                Ok(entries) => {
                    let entries = entries.unwrap_or_default();
                    hand_on(wire, Polled::Instances { service: name.clone(), entries }).await
                }
                Err(miss) => Err(miss),
            };
            if let Err(trouble) = pace.turn(wire, outcome).await {
                return trouble;
            }
        }
        let changed = wanted.changed();
        let ended = match names.is_empty() {
            true => changed.await.is_err(),
            false => timeout(AGAIN, changed).await.is_ok_and(|changed| changed.is_err()),
        };
        if ended {
            return std::future::pending().await;
        }
    }
}
