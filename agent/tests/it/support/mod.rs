//! What every test here needs: an agent as a process, questions over HTTP, waits that tell what they saw.

mod agent;
mod eventually;
mod http;
pub(crate) mod lan;
pub(crate) mod pool;
pub(crate) mod real_consul;

pub(crate) use agent::{Agent, Ended, own_address, scratch};
pub(crate) use eventually::{eventually, throughout, within};
pub(crate) use http::Stream;
