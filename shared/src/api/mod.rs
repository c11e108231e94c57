//! The JSON bodies of Consul's HTTP API, byte for byte as 1.8.7 writes them.
//!
//! Unknown fields are ignored coming in. Wire structs hold no logic: a room converts them at its door.

pub mod agent;
pub mod catalog;
pub mod coordinate;
pub mod event;
pub mod health;
pub mod kv;
pub mod operator;
pub mod query;
