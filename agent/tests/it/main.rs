//! The agent's one integration binary: real processes on loopback addresses of their own and
//! in networks of their own, DNS over real sockets, and simulated pools.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where and ends")]

mod asking;
mod bad_input;
mod cluster;
mod coexist;
mod commands;
mod dns;
mod events;
mod hostile;
mod kill;
mod nemesis;
mod pool;
mod pool_lan;
mod pool_mixed;
mod recovery;
mod rejoin;
mod server;
mod sim;
mod support;
