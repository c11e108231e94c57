//! Notices become the event stream: rooms send what they saw, [`pump`] collects it, [`translate`]
//! says what of it belongs to the picture, [`bus`] numbers, keeps and hands it out.
//! Nothing here decides anything about members or leaders.

pub mod bus;
pub mod pump;
pub mod translate;

pub use bus::{Bus, Filter, Item, Opening, Reader};
pub use pump::Sources;
