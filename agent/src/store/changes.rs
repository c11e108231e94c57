//! What an apply touched, in the words of those who wait for it.
//!
//! Every query has one [`Topic`]; an apply names each topic whose answer it may have changed.

use std::collections::BTreeSet;

use super::command::CheckStatus;
use super::query::Query;

/// What a query is about. Names are folded to lower case, as catalog look-ups are; keys are not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Nodes,
    /// A node with its services.
    Node(String),
    Services,
    ServiceNodes(String),
    NodeChecks(String),
    ServiceChecks(String),
    /// The checks in a state; none for any.
    Checks(Option<CheckStatus>),
    ServiceHealth(String),
    /// All that is on a node.
    NodeHealth(String),
    /// All that is on all nodes.
    Catalog,
    KvKey(String),
    /// The keys under a prefix. Applies name keys; whoever waits matches prefixes.
    KvPrefix(String),
    Autopilot,
}

/// What one apply, or a batch of them, touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Never holds a [`Topic::KvPrefix`].
    pub topics: BTreeSet<Topic>,
    /// The whole state was replaced: everyone looks again.
    pub everything: bool,
}

impl Changes {
    /// For a state that was replaced as a whole.
    pub fn everything() -> Self {
        Self { topics: BTreeSet::new(), everything: true }
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && !self.everything
    }

    /// Adds what another apply touched.
    pub fn merge(&mut self, mut other: Self) {
        self.topics.append(&mut other.topics);
        self.everything |= other.everything;
    }

    pub(super) fn touch(&mut self, topic: Topic) {
        self.topics.insert(topic);
    }
}

/// The form of a name that look-ups use.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl From<&Query> for Topic {
    fn from(query: &Query) -> Self {
        match query {
            Query::Nodes => Self::Nodes,
            Query::Node { node } => Self::Node(fold(node)),
            Query::Services => Self::Services,
            Query::ServiceNodes { service, .. } => Self::ServiceNodes(fold(service)),
            Query::NodeChecks { node } => Self::NodeChecks(fold(node)),
            Query::ServiceChecks { service } => Self::ServiceChecks(fold(service)),
            Query::StateChecks { state } => Self::Checks(*state),
            Query::ServiceHealth { service, .. } => Self::ServiceHealth(fold(service)),
            Query::NodeHealth { node: Some(node) } => Self::NodeHealth(fold(node)),
            Query::NodeHealth { node: None } | Query::AtAddress { .. } => Self::Catalog,
            Query::Autopilot => Self::Autopilot,
            Query::KvGet { key } => Self::KvKey(key.clone()),
            Query::KvList { prefix } | Query::KvKeys { prefix, .. } => Self::KvPrefix(prefix.clone()),
            // What is told of a node changes with its metadata, whatever the question is about.
            Query::OnNodes { of, .. } => match &**of {
                Query::Services | Query::ServiceChecks { .. } | Query::StateChecks { .. } => Self::Catalog,
                other => other.into(),
            },
        }
    }
}
