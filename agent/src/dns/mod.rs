//! Names: the DNS interface on port 8600, with Consul's names, records and quirks.
//!
//! `agent.rs` binds [`Sockets`] and calls [`serve`]. A question goes through five small rooms:
//! [`request`] (bytes to question), [`name`] (what the name means), the backend (one or two reads),
//! [`answer`] (records, who comes first, how many fit), [`wire`] (bytes again). Names that are not ours
//! go to [`recursor`], which asks what [`upstream`] says. All but [`server`], [`recursor`] and
//! [`counters`] are pure. Nothing here knows Raft, gossip or where a read is answered.

mod answer;
mod counters;
mod domain;
mod known;
mod name;
mod record;
#[cfg(test)]
mod recursion_tests;
mod recursor;
mod request;
mod server;
mod tcp;
#[cfg(test)]
mod tests;
mod upstream;
mod wire;

pub use counters::Counters;
pub use recursor::recursors;
pub use server::{Context, Handle, Sockets, serve};
