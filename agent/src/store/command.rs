//! Every write there is. Commands travel in the Raft log: enums only grow at the end, a changed
//! struct is a new variant (golden bytes in the tests hold the old ones).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Boxed: it is several times the others' size, and the log keeps commands by the thousand.
    Register(Box<Registration>),
    Deregister(Deregistration),
    Kv(KvCommand),
    /// Boxed: it is rare, and larger than the others.
    Autopilot(Box<AutopilotCommand>),
}

impl From<Registration> for Command {
    fn from(registration: Registration) -> Self {
        Self::Register(Box::new(registration))
    }
}

/// A node with, optionally, one service and any number of checks, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub node: NodeFields,
    /// Keep the node as it is when it exists.
    pub skip_node_update: bool,
    pub service: Option<ServiceFields>,
    pub checks: Vec<CheckFields>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFields {
    pub name: String,
    /// The node's UUID; empty when unknown.
    pub id: String,
    pub address: String,
    pub datacenter: String,
    pub tagged_addresses: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFields {
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    /// Empty: the node's address.
    pub address: String,
    pub tagged_addresses: BTreeMap<String, (String, u16)>,
    pub meta: BTreeMap<String, String>,
    pub port: u16,
    /// Weights while passing and while warning.
    pub weights: (u32, u32),
    pub enable_tag_override: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CheckStatus {
    Passing,
    Warning,
    #[default]
    Critical,
}

impl CheckStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckFields {
    pub id: String,
    pub name: String,
    pub status: CheckStatus,
    pub notes: String,
    pub output: String,
    /// Empty for a check of the node.
    pub service_id: String,
    /// Holds no NUL.
    pub kind: String,
    /// Consul's JSON of how the check works, for whoever runs it; empty when nobody told.
    pub definition: String,
}

/// [`CheckFields`] as they travel and are kept. The definition came later: it rides behind the kind,
/// parted by a NUL, so that a server that does not know of it reads all the rest.
#[derive(Serialize, Deserialize)]
#[serde(rename = "CheckFields")]
struct CheckForm<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    status: CheckStatus,
    notes: Cow<'a, str>,
    output: Cow<'a, str>,
    service_id: Cow<'a, str>,
    kind: Cow<'a, str>,
}

impl Serialize for CheckFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match &*self.definition {
            "" => Cow::Borrowed(&*self.kind),
            definition => Cow::Owned(format!("{}\0{definition}", self.kind)),
        };
        let (id, name, notes) = (&*self.id, &*self.name, &*self.notes);
        let (output, service_id) = (&*self.output, &*self.service_id);
        let form = CheckForm {
            id: id.into(),
            name: name.into(),
            status: self.status,
            notes: notes.into(),
            output: output.into(),
            service_id: service_id.into(),
            kind,
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CheckFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = CheckForm::deserialize(deserializer)?;
        let kind = form.kind.into_owned();
        let (kind, definition) = match kind.split_once('\0') {
            Some((kind, definition)) => (kind.to_owned(), definition.to_owned()),
            None => (kind, String::new()),
        };
        Ok(Self {
            id: form.id.into_owned(),
            name: form.name.into_owned(),
            status: form.status,
            notes: form.notes.into_owned(),
            output: form.output.into_owned(),
            service_id: form.service_id.into_owned(),
            kind,
            definition,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deregistration {
    /// With all its services and checks.
    Node {
        node: String,
    },
    Service {
        node: String,
        service_id: String,
    },
    Check {
        node: String,
        check_id: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    Set {
        key: String,
        value: Vec<u8>,
        flags: u64,
    },
    /// Set when the key's modify index is `index`; 0 when it must not exist.
    Cas {
        key: String,
        value: Vec<u8>,
        flags: u64,
        index: u64,
    },
    Delete {
        key: String,
    },
    /// Delete when the key's modify index is `index`.
    DeleteCas {
        key: String,
        index: u64,
    },
    DeleteTree {
        prefix: String,
    },
}

/// Which servers vote, and which are cleaned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutopilotCommand {
    Set {
        fields: AutopilotFields,
    },
    /// Set when the modify index is `index`; 0 when there is nothing yet.
    Cas {
        fields: AutopilotFields,
        index: u64,
    },
}

impl From<AutopilotCommand> for Command {
    fn from(command: AutopilotCommand) -> Self {
        Self::Autopilot(Box::new(command))
    }
}

/// Consul's `autopilot` settings; the last three are kept for whoever reads them, and rule nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutopilotFields {
    pub cleanup_dead_servers: bool,
    pub last_contact_threshold: Duration,
    pub max_trailing_logs: u64,
    pub min_quorum: u64,
    pub server_stabilization_time: Duration,
    pub redundancy_zone_tag: String,
    pub disable_upgrade_migration: bool,
    pub upgrade_version_tag: String,
}

/// What a command did, the same on every server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Done,
    /// Whether the condition of a check-and-set held.
    Held(bool),
    /// Refused by the state, nothing changed: Consul's text.
    Refused(String),
}
