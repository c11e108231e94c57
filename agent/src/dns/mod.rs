//! Names: the DNS interface on port 8600, with Consul's names, records and quirks.
//!
//! `agent.rs` binds [`Sockets`] and calls [`serve`]. A question goes through five small rooms:
//! [`request`] (bytes to question), [`name`] (what the name means), the backend (one or two reads),
//! [`answer`] (records, who comes first, how many fit), [`wire`] (bytes again). All but [`server`]
//! are pure. Nothing here knows Raft, gossip or where a read is answered.

mod answer;
mod name;
mod record;
mod request;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use server::{Context, Counters, Handle, Sockets, serve};
