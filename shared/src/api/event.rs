//! `/v1/event/…`

use serde::{Deserialize, Serialize};

/// A user event as Consul tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserEvent {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    /// In base64; none when there is none.
    pub payload: Option<String>,
    pub node_filter: String,
    pub service_filter: String,
    pub tag_filter: String,
    pub version: i64,
    #[serde(rename = "LTime")]
    pub ltime: u64,
}
