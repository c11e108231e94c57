//! The console: a live terminal view of a Consul-style cluster.
//!
//! Reading order: [`msg`] is everything that can happen and everything that can be asked for,
//! [`model`] what is known, [`update`] how the one changes the other, [`keymap`] what keys mean,
//! [`view`] how it looks. [`client`] and [`runtime`] touch the world.
//! `model` and `update` know neither the terminal nor HTTP; `view` cannot send, spawn or change.

pub mod cli;
pub mod client;
pub mod clock;
#[cfg(feature = "demo")]
pub mod demo;
pub mod format;
pub mod impact;
pub mod keymap;
pub mod model;
pub mod msg;
pub mod order;
pub mod polled;
pub mod runtime;
pub mod status;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod widget;
