//! One task for each check: looks again and again, and reports what thresholds let pass. Called by
//! [`Checks`](super::Checks), which ends it.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Seat;
use super::probes::{alias, connect, grpc, http, script};
use super::spec::{Check, Probe};
use super::verdict::{Lease, Row, Verdict};
use crate::clock;
use crate::store::command::CheckStatus;

/// How long an alias of a service elsewhere waits after it got no answer; up to as much again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// An alias that changes again and again is looked at no more often.
const ALIAS_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(check: Check, probe: Probe, lease: Option<watch::Receiver<Lease>>, seat: Seat) {
    match (&probe, lease) {
        (Probe::Ttl { .. }, Some(lease)) => await_reports(lease, &seat).await,
        (Probe::Alias { node, service }, _) if node.is_empty() => follow_here(service, &seat).await,
        (Probe::Alias { node, service }, _) => follow_elsewhere(node, service, &seat).await,
        _ => repeat(&check, &probe, &seat).await,
    }
}

async fn repeat(check: &Check, probe: &Probe, seat: &Seat) {
    let mut row = Row::new(check.success_before_passing, check.failures_before_critical);
    // As Consul does, so that checks that start together do not stay together.
    let mut rest = check.interval().mul_f64(SmallRng::from_os_rng().random());
    loop {
        sleep(rest).await;
        let (status, output) = look(check, probe, seat).await;
        let verdict = row.judge(status);
        tell(&check.id, status, verdict);
        if verdict == Verdict::Told {
            seat.report(status, output);
        }
        rest = check.interval();
    }
}

async fn look(check: &Check, probe: &Probe, seat: &Seat) -> (CheckStatus, String) {
    let (limit, clients) = (check.timeout(), &seat.inner.clients);
    match probe {
        Probe::Script { args } => script::run(&check.id, args, limit, seat.output_max).await,
        Probe::Http(what) => http::run(clients, what, limit, seat.output_max).await,
        Probe::Tcp { address } => connect::tcp(address, limit).await,
        Probe::Udp { address } => connect::udp(address, limit).await,
        Probe::Grpc { target, tls, tls_skip_verify } => grpc::run(clients, target, *tls, *tls_skip_verify, limit).await,
        Probe::Ttl { .. } | Probe::Alias { .. } | Probe::Nothing => std::future::pending().await,
    }
}

/// Consul's lines.
fn tell(id: &str, status: CheckStatus, verdict: Verdict) {
    let name = status.as_str();
    match (verdict, status) {
        (Verdict::Told, CheckStatus::Critical) => warn!(target: "agent", check = %id, "Check is now critical"),
        (Verdict::Told, _) => debug!(target: "agent", check = %id, status = name, "Check status updated"),
        (Verdict::NotYetPassing { count, threshold }, _) => {
            warn!(target: "agent", check = %id, status = name, success_count = count, success_threshold = threshold,
                "Check passed but has not reached success threshold");
        }
        (Verdict::NotYetCritical { count, threshold }, _) => {
            warn!(target: "agent", check = %id, status = name, failure_count = count, failure_threshold = threshold,
                "Check failed but has not reached failure threshold");
        }
    }
}

async fn await_reports(mut lease: watch::Receiver<Lease>, seat: &Seat) {
    loop {
        let due = lease.borrow_and_update().due();
        let renewed = match due {
            Some(due) => tokio::time::timeout(due.since(clock::now()), lease.changed()).await,
            None => Ok(lease.changed().await),
        };
        match renewed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => seat.expire(),
        }
    }
}

async fn follow_here(service: &str, seat: &Seat) {
    let here = &seat.inner.settings.here;
    let mut changes = here.changes.clone();
    let mut last = None;
    loop {
        changes.borrow_and_update();
        let said = alias::judge(&seat.id, "", service, &(here.look)());
        if last.as_ref() != Some(&said) {
            last = Some(said.clone());
            seat.report(said.0, said.1);
        }
        if changes.changed().await.is_err() {
            return;
        }
        sleep(ALIAS_PAUSE).await;
    }
}

async fn follow_elsewhere(node: &str, service: &str, seat: &Seat) {
    let mut dice = SmallRng::from_os_rng();
    let (mut index, mut last) = (0, None);
    loop {
        match alias::remote(&seat.inner.settings.backend, node, index).await {
            Ok((newer, view)) => {
                index = newer;
                let said = alias::judge(&seat.id, node, service, &view);
                if last.as_ref() != Some(&said) {
                    last = Some(said.clone());
                    seat.report(said.0, said.1);
                }
                sleep(ALIAS_PAUSE).await;
            }
            Err(problem) => {
                debug!(target: "agent", check = %seat.id, error = %problem, "alias check got no answer, it asks again");
                index = 0;
                sleep(RETRY_AFTER + RETRY_AFTER.mul_f64(dice.random())).await;
            }
        }
    }
}
