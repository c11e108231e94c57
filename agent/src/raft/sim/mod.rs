//! Whole servers of Raft by the thousand runs: openraft, log, snapshots, state machine and network on a
//! virtual clock, on disks and a network that fail. `assets/docs/ARCHITECTURE.md` tells how a seed is
//! replayed.
//!
//! `disk` and `network` fail, `world` owns machines and clock, `client` reads and writes, `operator`
//! changes the configuration, `judge` and `history` know what must always hold, `schedule` is what is
//! done to a world. `chaos` runs schedules, `story` those that once found something. `seams` and
//! `runtime` are where the code under test meets all this.

mod chaos;
mod client;
pub(crate) mod disk;
mod history;
mod judge;
mod network;
mod operator;
pub(crate) mod runtime;
mod schedule;
pub(crate) mod seams;
mod story;
mod world;
