//! What an agent claims of its services and how their checks are, as the event stream tells it. Part of
//! [`crate::event`], which re-exports it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    Passing,
    Warning,
    Critical,
}

/// Who registered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registrar {
    /// A configuration file.
    File,
    /// A request.
    Api,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceState {
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    pub service: String,
    /// Empty: the node's.
    pub address: String,
    pub port: u16,
    pub tags: Vec<String>,
    pub meta: BTreeMap<String, String>,
    pub registrar: Registrar,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckState {
    #[serde(rename = "CheckID")]
    pub check_id: String,
    pub name: String,
    pub status: CheckStatus,
    pub output: String,
    pub notes: String,
    /// `http`, `ttl`, `maintenance`, …
    pub check_type: String,
    /// Empty for a check of the node; so is `service`.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    pub service: String,
    pub registrar: Registrar,
    /// How long it may be critical before its service goes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deregister_after_ms: Option<u64>,
    /// How often it is looked at and how long one look may take, or within which time somebody has to report.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout_ms: Option<u64>,
    #[serde(rename = "TTLMs", skip_serializing_if = "Option::is_none", default)]
    pub ttl_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case")]
pub enum ServiceEvent {
    /// Picture: a service of this agent.
    Present(ServiceState),
    /// New, or changed.
    Registered(ServiceState),
    Deregistered(ServiceState),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum CheckEvent {
    /// Picture: a check of this agent.
    Present(CheckState),
    /// New, or changed.
    Registered(CheckState),
    Deregistered(CheckState),
    StatusChanged {
        #[serde(flatten)]
        state: CheckState,
        from: CheckStatus,
    },
}

impl ServiceEvent {
    pub fn state(&self) -> &ServiceState {
        let (Self::Present(state) | Self::Registered(state) | Self::Deregistered(state)) = self;
        state
    }
}

impl CheckEvent {
    pub fn state(&self) -> &CheckState {
        let (Self::Present(state)
        | Self::Registered(state)
        | Self::Deregistered(state)
        | Self::StatusChanged { state, .. }) = self;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Body;

    #[test]
    fn a_change_of_status_is_one_flat_object() {
        let state = CheckState {
            check_id: "service:web".into(),
            name: "up".into(),
            status: CheckStatus::Critical,
            output: "refused".into(),
            notes: String::new(),
            check_type: "tcp".into(),
            service_id: "web".into(),
            service: "web".into(),
            registrar: Registrar::Api,
            deregister_after_ms: None,
            interval_ms: Some(10_000),
            timeout_ms: None,
            ttl_ms: None,
        };
        let body = Body::Check(CheckEvent::StatusChanged { state, from: CheckStatus::Passing });
        let text = serde_json::to_string(&body).expect("JSON");
        assert_eq!(
            text,
            r#"{"Kind":"check","Type":"status-changed","CheckID":"service:web","Name":"up","Status":"critical","Output":"refused","Notes":"","CheckType":"tcp","ServiceID":"web","Service":"web","Registrar":"api","IntervalMs":10000,"From":"passing"}"#
        );
        assert_eq!(serde_json::from_str::<Body>(&text).expect("a body"), body);
    }
}
