//! What every test here needs: an agent as a process, questions over HTTP, waits that tell what they saw.

use std::io::Write;

mod agent;
mod eventually;
mod http;
pub(crate) mod lan;
pub(crate) mod pool;
pub(crate) mod real_consul;
pub(crate) mod real_serf;

pub(crate) use agent::{Agent, Ended, own_address, scratch};
pub(crate) use eventually::{eventually, throughout, within};
pub(crate) use http::Stream;

/// Says so past the harness, which keeps what a test prints to itself as long as it passes.
pub(crate) fn did_not_run(test: &str, why: &str) {
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stdout(), "did not run: {test}: {why}");
}
