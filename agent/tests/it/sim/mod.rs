//! Swim on a virtual clock and network: thousands of runs, each a seed. `assets/docs/gossip.md` tells
//! what is checked and how a seed is replayed.
//!
//! `network` decides what arrives and when, `machine` is what runs in a place, `world` owns the places
//! and the clock, `judge` knows what must always hold, `schedule` is what is done to a world.
//! `chaos` runs schedules, `story` tells runs of a plot, `large` those of thousands of members,
//! `lifeguard` measures.

mod chaos;
mod judge;
mod large;
mod lifeguard;
mod machine;
mod network;
mod schedule;
mod story;
mod world;
