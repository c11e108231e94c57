//! The agent, in reading order: [`agent`] builds and runs it from a [`config`]; [`swim`] and [`gossip`]
//! know who is here; [`raft`] keeps servers agreed on the [`store`]; [`backend`] is the one way to read
//! and write it; [`local`] and [`leader`] keep the catalog true, [`checks`] says how services are; [`api`] and [`dns`] answer; [`events`]
//! tells the console. [`cli`] and [`commands`] are the verbs.
//! The floors, and who may import whom, are in `assets/docs/ARCHITECTURE.md`.

pub mod agent;
pub mod api;
pub mod backend;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod cut;
pub mod datadir;
pub mod discovery;
pub mod dns;
pub mod events;
pub mod filter;
pub mod flags;
pub mod gossip;
pub mod leader;
pub mod local;
pub mod logs;
pub mod moment;
pub mod raft;
pub mod rpc;
pub mod seats;
pub mod store;
pub mod swim;
pub mod tasks;
pub mod telemetry;
pub mod user_events;
