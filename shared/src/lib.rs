//! What an agent and a console both speak.
//!
//! Reading order: [`event`] is the live stream, [`api`] the JSON bodies of Consul's HTTP API,
//! [`http`] the client, [`duration`], [`quote`] and [`addr`] the notations that Go programs share.
//! Nothing here knows agents, consoles, Raft or gossip.

pub mod addr;
pub mod api;
pub mod duration;
pub mod event;
pub mod http;
mod member_event;
pub mod quote;
mod service_event;
pub mod time;
mod user_event;
