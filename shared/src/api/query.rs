//! Names of the query parameters and headers that every read of Consul's API shares.

pub const INDEX: &str = "x-consul-index";
pub const KNOWN_LEADER: &str = "x-consul-knownleader";
pub const LAST_CONTACT: &str = "x-consul-lastcontact";
pub const EFFECTIVE_CONSISTENCY: &str = "x-consul-effective-consistency";
/// Ours: what was answered as Consul does, and yet did not do what was asked.
pub const WARNING: &str = "x-quorate-warning";
pub const TOKEN: &str = "x-consul-token";
