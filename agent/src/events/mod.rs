//! Notices become the event stream: rooms send what they saw, [`pump`] collects it, [`translate`]
//! says what of it belongs to the picture, [`bus`] numbers, keeps and hands it out; [`relay`] adds
//! what other agents see.
//! Nothing here decides anything about members or leaders.

pub mod bus;
pub mod pump;
pub mod relay;
pub mod translate;

pub use bus::{Bus, Filter, Item, Opening, Reader};
pub use pump::Sources;
pub use relay::Relay;
