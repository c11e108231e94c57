//! What was fired and asked in the pool, as the event stream tells it. Part of [`crate::event`], which
//! re-exports it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum UserEvent {
    /// A user event, Consul's or any other of the pool.
    Fired {
        /// Without Consul's prefix where it is Consul's.
        name: String,
        /// Consul's ID; none when it is not Consul's.
        #[serde(rename = "EventID", skip_serializing_if = "Option::is_none", default)]
        event_id: Option<String>,
        /// In base64.
        payload: String,
        #[serde(rename = "LTime")]
        ltime: u64,
        /// Its filters hold for this agent, or it has none.
        meant: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        node_filter: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        service_filter: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        tag_filter: Option<String>,
    },
    /// A query that is meant for this agent and that it does not answer.
    Asked {
        name: String,
        /// In base64.
        payload: String,
        #[serde(rename = "LTime")]
        ltime: u64,
        /// The member that asks.
        from: String,
    },
}
