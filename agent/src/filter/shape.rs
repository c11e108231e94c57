//! What rows have, and what may be asked of it: the selectors that each of Consul's answers allows.

use super::Operator;

/// The type of a value in a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Number,
    Flag,
    /// A list of texts.
    Texts,
    /// By any name.
    Map(&'static Self),
    /// Of things with fields; a selector goes through to each.
    List(&'static Self),
    Fields(&'static [(&'static str, Self)]),
}

use Shape::{Fields, Flag, List, Map, Number, Text, Texts};

const MODE: Shape = Fields(&[("Mode", Text)]);
const ADDRESS: Shape = Fields(&[("Address", Text), ("Port", Number)]);
const WEIGHTS: Shape = Fields(&[("Passing", Number), ("Warning", Number)]);
const CONNECT: Shape = Fields(&[("Native", Flag)]);
const UPSTREAM: Shape = Fields(&[
    ("DestinationType", Text),
    ("DestinationNamespace", Text),
    ("DestinationName", Text),
    ("Datacenter", Text),
    ("LocalBindAddress", Text),
    ("LocalBindPort", Number),
    ("MeshGateway", MODE),
]);
const EXPOSED: Shape = Fields(&[
    ("ListenerPort", Number),
    ("Path", Text),
    ("LocalPathPort", Number),
    ("Protocol", Text),
    ("ParsedFromCheck", Flag),
]);
const PROXY: Shape = Fields(&[
    ("DestinationServiceName", Text),
    ("DestinationServiceID", Text),
    ("LocalServiceAddress", Text),
    ("LocalServicePort", Number),
    ("Upstreams", List(&UPSTREAM)),
    ("MeshGateway", MODE),
    ("Expose", Fields(&[("Checks", Flag), ("Paths", List(&EXPOSED))])),
]);

/// A node.
pub static NODE: Shape = Fields(NODE_FIELDS);
const NODE_FIELDS: &[(&str, Shape)] = &[
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Map(&Text)),
    ("Meta", Map(&Text)),
];

/// A service as its node has it.
pub static SERVICE: Shape = Fields(SERVICE_FIELDS);
const SERVICE_FIELDS: &[(&str, Shape)] = &[
    ("Kind", Text),
    ("ID", Text),
    ("Service", Text),
    ("Tags", Texts),
    ("Address", Text),
    ("TaggedAddresses", Map(&ADDRESS)),
    ("Meta", Map(&Text)),
    ("Port", Number),
    ("Weights", WEIGHTS),
    ("EnableTagOverride", Flag),
    ("Proxy", PROXY),
    ("Connect", CONNECT),
];

/// An instance with its node, in one row.
pub static SERVICE_NODE: Shape = Fields(&[
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Map(&Text)),
    ("NodeMeta", Map(&Text)),
    ("ServiceKind", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("ServiceAddress", Text),
    ("ServiceTaggedAddresses", Map(&ADDRESS)),
    ("ServiceWeights", WEIGHTS),
    ("ServiceMeta", Map(&Text)),
    ("ServicePort", Number),
    ("ServiceEnableTagOverride", Flag),
    ("ServiceProxy", PROXY),
    ("ServiceConnect", CONNECT),
]);

/// A check.
pub static CHECK: Shape = Fields(CHECK_FIELDS);
const CHECK_FIELDS: &[(&str, Shape)] = &[
    ("Node", Text),
    ("CheckID", Text),
    ("Name", Text),
    ("Status", Text),
    ("Notes", Text),
    ("Output", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("Type", Text),
];

/// An instance, its node and the checks of both.
pub static INSTANCE: Shape =
    Fields(&[("Node", Fields(NODE_FIELDS)), ("Service", Fields(SERVICE_FIELDS)), ("Checks", List(&CHECK))]);

impl Shape {
    /// What a selector leads to.
    pub(super) fn find(&self, selector: &[String]) -> Option<&Self> {
        let Some((first, rest)) = selector.split_first() else { return Some(self) };
        match self {
            Fields(fields) => fields.iter().find(|(name, _)| name == first)?.1.find(rest),
            Map(shape) => shape.find(rest),
            List(shape) => shape.find(selector),
            Text | Number | Flag | Texts => None,
        }
    }

    pub(super) fn allows(&self, operator: Operator) -> bool {
        use Operator::{Equal, In, IsEmpty, IsNotEmpty, Matches, NotEqual, NotIn, NotMatches};
        match operator {
            Equal | NotEqual => matches!(self, Text | Number | Flag),
            In | NotIn => matches!(self, Text | Texts | Map(_)),
            IsEmpty | IsNotEmpty => matches!(self, Texts | Map(_) | List(_)),
            Matches | NotMatches => matches!(self, Text),
        }
    }
}
