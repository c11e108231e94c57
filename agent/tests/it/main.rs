//! The agent's one integration binary: real processes on loopback addresses of their own and
//! in networks of their own, DNS over real sockets, and simulated pools.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where and ends")]

mod agreement;
mod asking;
mod bad_input;
mod catalog;
mod cluster;
mod coexist;
mod commands;
mod dns;
mod dns_hostile;
mod dns_recursors;
mod events;
mod hostile;
mod kill;
mod nemesis;
mod pool;
mod pool_lan;
mod pool_mixed;
mod real_cli;
mod recovery;
mod rejoin;
mod server;
mod services;
mod sim;
mod support;
