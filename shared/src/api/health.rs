//! `/v1/health/…`

use serde::{Deserialize, Serialize};

use super::catalog::{Node, NodeService};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthCheck {
    pub node: String,
    #[serde(rename = "CheckID")]
    pub check_id: String,
    pub name: String,
    pub status: String,
    pub notes: String,
    pub output: String,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    pub service_name: String,
    pub service_tags: Vec<String>,
    #[serde(rename = "Type")]
    pub kind: String,
    /// An object; empty unless the catalog was told how the check works.
    #[serde(default)]
    pub definition: serde_json::Value,
    pub create_index: u64,
    pub modify_index: u64,
}

/// A row of `/v1/health/service/…`: an instance, its node, and the checks of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceEntry {
    pub node: Node,
    pub service: NodeService,
    pub checks: Vec<HealthCheck>,
}
