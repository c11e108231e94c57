//! Swim on a virtual clock and network: thousands of runs, each a seed.
//!
//! `network` decides what arrives and when, `world` owns the members and the clock, `judge` knows
//! what must always hold, `story` tells runs. A failing run prints its seed; the same seed runs
//! the same way again.

mod judge;
mod network;
mod story;
mod world;
