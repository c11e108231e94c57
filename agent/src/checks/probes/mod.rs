//! One look at one service, and what it said. No loops here: `runner` asks again.

pub(super) mod alias;
pub(super) mod clients;
pub(super) mod connect;
pub(super) mod grpc;
pub(super) mod http;
pub(super) mod script;
mod tail;
#[cfg(test)]
mod tests;
