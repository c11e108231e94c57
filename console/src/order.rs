//! What changes a cluster: the orders, as requests and as the words a shell takes, and what may come of
//! them. Plain data; `update` makes orders, `client` carries them out, nobody else sends one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::msg::{Identity, Trouble};

/// One change, as Consul's API offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    Join {
        address: String,
        wan: bool,
    },
    /// Of the agent that it is sent to, which then stops.
    Leave {
        lose_quorum: bool,
    },
    ForceLeave {
        node: String,
        prune: bool,
    },
    /// Of the leadership, to the voter with this Raft ID or to the one that is furthest.
    Transfer {
        to: Option<String>,
    },
    /// Of the server with this Raft ID, out of Raft's configuration.
    RemovePeer {
        id: String,
    },
    /// Of a service instance by its ID, else of the node, at the agent that it is sent to.
    Maintain {
        service: Option<String>,
        enable: bool,
        reason: String,
    },
}

/// How an order is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Put,
    Post,
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        })
    }
}

impl Order {
    pub fn method(&self) -> Method {
        match self {
            Self::Join { .. } | Self::Leave { .. } | Self::ForceLeave { .. } | Self::Maintain { .. } => Method::Put,
            Self::Transfer { .. } => Method::Post,
            Self::RemovePeer { .. } => Method::Delete,
        }
    }

    /// The path, unescaped, and its parameters.
    pub fn request(&self) -> (String, Vec<(&'static str, String)>) {
        match self {
            Self::Join { address, wan } => {
                let wan = wan.then(|| ("wan", "1".to_owned()));
                (format!("/v1/agent/join/{address}"), wan.into_iter().collect())
            }
            Self::Leave { lose_quorum } => {
                let insists = lose_quorum.then(|| ("lose-quorum", "yes".to_owned()));
                ("/v1/agent/leave".to_owned(), insists.into_iter().collect())
            }
            Self::ForceLeave { node, prune } => {
                let prune = prune.then(|| ("prune", String::new()));
                (format!("/v1/agent/force-leave/{node}"), prune.into_iter().collect())
            }
            Self::Transfer { to } => {
                let to = to.clone().map(|id| ("id", id));
                ("/v1/operator/raft/transfer-leader".to_owned(), to.into_iter().collect())
            }
            Self::RemovePeer { id } => ("/v1/operator/raft/peer".to_owned(), vec![("id", id.clone())]),
            Self::Maintain { service, enable, reason } => {
                let path = match service {
                    Some(id) => format!("/v1/agent/service/maintenance/{id}"),
                    None => "/v1/agent/maintenance".to_owned(),
                };
                let reason = Some(("reason", reason.clone())).filter(|(_, reason)| *enable && !reason.is_empty());
                (path, std::iter::once(("enable", enable.to_string())).chain(reason).collect())
            }
        }
    }

    /// As a log tells it: `PUT /v1/agent/force-leave/srv-3?prune`.
    pub fn line(&self) -> String {
        let (path, parameters) = self.request();
        let pairs = parameters.iter().map(|(name, value)| match value.as_str() {
            "" => (*name).to_owned(),
            value => format!("{name}={value}"),
        });
        let tail: Vec<String> = pairs.collect();
        let method = self.method();
        if tail.is_empty() { format!("{method} {path}") } else { format!("{method} {path}?{}", tail.join("&")) }
    }

    /// What a shell takes for the same: `program` is `agent` or `consul`, `place` the agent's HTTP address.
    pub fn shell(&self, program: &str, place: &str) -> String {
        let place = format!("-http-addr={place}");
        match self {
            Self::Join { address, wan } => {
                let wan = if *wan { "-wan " } else { "" };
                format!("{program} join {place} {wan}{address}")
            }
            Self::Leave { lose_quorum: true } if program == "agent" => format!("{program} leave {place} -lose-quorum"),
            Self::Leave { .. } => format!("{program} leave {place}"),
            Self::ForceLeave { node, prune } => {
                let prune = if *prune { "-prune " } else { "" };
                format!("{program} force-leave {place} {prune}{node}")
            }
            Self::Transfer { to } => {
                let to = to.as_ref().map_or(String::new(), |id| format!(" -id={id}"));
                format!("{program} operator raft transfer-leader {place}{to}")
            }
            Self::RemovePeer { id } => format!("{program} operator raft remove-peer {place} -id={id}"),
            Self::Maintain { service, enable, reason } => {
                let what = if *enable { "-enable" } else { "-disable" };
                let service = service.as_ref().map_or(String::new(), |id| format!(" -service={}", quoted(id)));
                let reason = match *enable && !reason.is_empty() {
                    true => format!(" -reason={}", quoted(reason)),
                    false => String::new(),
                };
                format!("{program} maint {what} {place}{service}{reason}")
            }
        }
    }
}

/// A text as a shell takes it for one word.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Answered {
        status: u16,
        /// The body, its first lines.
        text: String,
        /// `X-Quorate-Warning`: it was taken and something speaks against it.
        #[serde(default)]
        warning: Option<String>,
    },
    /// No answer, so it may have happened.
    Silent(Trouble),
}

/// Where a dialog points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// Does somebody listen there for gossip?
    Gossip { address: String },
    /// Whose agent answers HTTP there?
    Agent { address: String },
}

/// What was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// A connection was taken, by the address it was made to.
    Accepts {
        address: String,
        took_us: u64,
    },
    Agent(Identity),
    Away(Trouble),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(order: &Order, line: &str, shell: &str) {
        assert_eq!((order.line().as_str(), order.shell("agent", "h:1").as_str()), (line, shell));
    }

    #[test]
    fn an_order_is_a_request_and_a_line_for_a_shell() {
        let (address, node) = ("10.0.0.2".to_owned(), "srv-3".to_owned());
        check(
            &Order::Join { address: address.clone(), wan: false },
            "PUT /v1/agent/join/10.0.0.2",
            "agent join -http-addr=h:1 10.0.0.2",
        );
        check(
            &Order::Join { address, wan: true },
            "PUT /v1/agent/join/10.0.0.2?wan=1",
            "agent join -http-addr=h:1 -wan 10.0.0.2",
        );
        check(&Order::Leave { lose_quorum: false }, "PUT /v1/agent/leave", "agent leave -http-addr=h:1");
        check(
            &Order::Leave { lose_quorum: true },
            "PUT /v1/agent/leave?lose-quorum=yes",
            "agent leave -http-addr=h:1 -lose-quorum",
        );
        check(
            &Order::ForceLeave { node, prune: true },
            "PUT /v1/agent/force-leave/srv-3?prune",
            "agent force-leave -http-addr=h:1 -prune srv-3",
        );
        check(
            &Order::Transfer { to: None },
            "POST /v1/operator/raft/transfer-leader",
            "agent operator raft transfer-leader -http-addr=h:1",
        );
        check(
            &Order::Transfer { to: Some("9a37".into()) },
            "POST /v1/operator/raft/transfer-leader?id=9a37",
            "agent operator raft transfer-leader -http-addr=h:1 -id=9a37",
        );
        check(
            &Order::RemovePeer { id: "9a37".into() },
            "DELETE /v1/operator/raft/peer?id=9a37",
            "agent operator raft remove-peer -http-addr=h:1 -id=9a37",
        );
        check(
            &Order::Maintain { service: Some("web 1".into()), enable: true, reason: "it's new".into() },
            "PUT /v1/agent/service/maintenance/web 1?enable=true&reason=it's new",
            "agent maint -enable -http-addr=h:1 -service='web 1' -reason='it'\\''s new'",
        );
        check(
            &Order::Maintain { service: None, enable: false, reason: "unused".into() },
            "PUT /v1/agent/maintenance?enable=false",
            "agent maint -disable -http-addr=h:1",
        );
    }
}
