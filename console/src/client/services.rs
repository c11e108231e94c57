//! The catalog of services: all names, the instances of the one on screen, and those of others counted once.
//!
//! Names and the service on screen are queries that the agent holds until something changes; counts are
//! asked one after the other, so that a catalog of thousands is no burden.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::http::blocking::Watch;
use shared::http::{Answer, Error, Request};
use tokio::time::timeout;

use super::poll::{Pace, WAIT, ask, hand_on};
use super::wire::{Miss, Wire, pause};
use crate::msg::{Denial, Source, Trouble};
use crate::polled::{InstanceEntry, Polled};

/// Between two services that are counted.
const BETWEEN: Duration = Duration::from_millis(20);
/// A row that is only passed by is not asked for.
const PASSING: Duration = Duration::from_millis(80);
/// What was not told of a count is asked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// An agent that tells no index must not be asked without a pause.
const NO_INDEX: Duration = Duration::from_secs(1);

/// All names with their tags.
pub(super) async fn names(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Services, Duration::ZERO);
    let mut watch = Watch::new(WAIT);
    let mut kicks = wire.kicks();
    loop {
        let outcome = tokio::select! {
            outcome = names_once(wire, &mut watch) => outcome,
            () = pause(Duration::MAX, &mut kicks) => {
                watch.reset();
                continue;
            }
        };
        if outcome.is_err() {
            watch.reset();
        }
        if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
}

async fn names_once(wire: &Wire, watch: &mut Watch) -> Result<(), Miss> {
    let answer = held(wire.get("/v1/catalog/services"), watch).await?;
    let index = answer.index();
    let named = answer.json::<Option<BTreeMap<String, Option<Vec<String>>>>>().await?.unwrap_or_default();
    if watch.accept(index) {
        let named = named.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect();
        hand_on(wire, Polled::Services(named)).await?;
    }
    unless_told(watch).await;
    Ok(())
}

/// One question that the agent holds until there is something new.
async fn held(request: Request<'_>, watch: &Watch) -> Result<Answer, Error> {
    let request = request.query("stale", "").within(watch.limit());
    let request = match watch.index() {
        // The first answer comes at once.
        None => request,
        Some(index) => request.query("index", index).query("wait", watch.wait()),
    };
    request.send().await
}

async fn unless_told(watch: &Watch) {
    if watch.index().is_none() {
        tokio::time::sleep(NO_INDEX).await;
    }
}

/// The instances of the service on screen, while there is one.
pub(super) async fn instances(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Instances, Duration::ZERO);
    let mut watch = Watch::new(WAIT);
    let (mut kicks, mut wanted) = (wire.kicks(), wire.interest());
    let mut service: Option<String> = None;
    loop {
        let now = wanted.borrow_and_update().service.clone();
        if now != service {
            service = now;
            watch.reset();
        }
        let turned = |wanted: &crate::msg::Interest| wanted.service != service;
        let Some(name) = &service else {
            if wanted.wait_for(turned).await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let outcome = tokio::select! {
            outcome = instances_once(wire, &mut watch, name) => outcome,
            Ok(_) = wanted.wait_for(turned) => continue,
            () = pause(Duration::MAX, &mut kicks) => {
                watch.reset();
                continue;
            }
        };
        if outcome.is_err() {
            watch.reset();
        }
        if matches!(outcome, Err(Miss::Denied(Denial::NotOffered))) {
            // Of no service then, until the next connection.
            return pace.turn(wire, outcome).await.err().unwrap_or(Trouble::Ended);
        }
        tokio::select! {
            told = pace.turn(wire, outcome) => if let Err(trouble) = told {
                return trouble;
            },
            Ok(_) = wanted.wait_for(turned) => {}
        }
    }
}

async fn instances_once(wire: &Wire, watch: &mut Watch, service: &str) -> Result<(), Miss> {
    if watch.index().is_none() {
        tokio::time::sleep(PASSING).await;
    }
    let answer = held(wire.get(&path(service)), watch).await?;
    let index = answer.index();
    let entries = answer.json::<Option<Vec<InstanceEntry>>>().await?.unwrap_or_default();
    if watch.accept(index) {
        hand_on(wire, Polled::Instances { service: service.to_owned(), entries }).await?;
    }
    unless_told(watch).await;
    Ok(())
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
