//! Runs what says how services are: scripts, each at its interval, and reports what they said.
//!
//! The root starts it with the checks of the configuration and is told each verdict. Nothing here knows
//! the catalog, nor what a verdict is for.

mod script;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracing::debug;

use crate::config::Check;
use crate::store::command::CheckStatus;
use crate::tasks::Tasks;

/// Told after each run: the check's ID, what it is now, what it printed.
pub type Report = Arc<dyn Fn(&str, CheckStatus, String) + Send + Sync>;

/// Starts a task for each check. Of what a script prints, the last `output_max` bytes are kept.
pub fn start(checks: Vec<Check>, output_max: usize, report: &Report, tasks: &Tasks) {
    for check in checks {
        let (report, token) = (Arc::clone(report), tasks.token());
        tasks.spawn("check", async move {
            token.run_until_cancelled(run(check, output_max, report)).await;
        });
    }
}

async fn run(check: Check, output_max: usize, report: Report) {
    let mut dice = SmallRng::from_os_rng();
    // As Consul does, so that checks that start together do not stay together.
    let mut rest = check.interval.mul_f64(dice.random());
    loop {
        tokio::time::sleep(rest).await;
        let (status, output) = script::run(&check, output_max).await;
        debug!(target: "agent", check = %check.id, status = status.as_str(), "Check status updated");
        report(&check.id, status, output);
        rest = check.interval.max(Duration::from_millis(1));
    }
}
