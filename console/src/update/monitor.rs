//! Lines of `/v1/agent/monitor` into facts: pure, for HashiCorp's agents, whose log is the only
//! place where votes and suspicions show.
//!
//! The forms are those of Consul 1.8 to 1.2x: `TIME [LEVEL]  logger: message: key=value …`.

use shared::event::Level;
use shared::time::WallTime;

/// A line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Option<WallTime>,
    pub level: Level,
    /// `agent.server.raft`
    pub logger: &'a str,
    /// With its fields, as printed.
    pub message: &'a str,
}

/// What a line shows beyond its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    HeartbeatLost {
        last_leader: &'a str,
    },
    /// The agent's server asks for votes.
    Stands {
        term: u64,
    },
    VotesNeeded(u32),
    VoteGranted {
        from: &'a str,
        term: u64,
        tally: u32,
    },
    /// An election went by without a majority; the next one follows.
    TimedOut,
    Won {
        tally: u32,
    },
    /// The agent's server follows; empty when it does not know whom.
    Follows {
        leader: &'a str,
    },
    /// It led and does not any more.
    SteppedDown,
    NewLeader {
        node: &'a str,
    },
    Suspect {
        node: &'a str,
    },
    /// The agent in use was suspected and said it lives.
    Refuted {
        by: &'a str,
    },
    MarkedFailed {
        node: &'a str,
        confirmations: &'a str,
    },
    Joined {
        node: &'a str,
        address: &'a str,
    },
    Left {
        node: &'a str,
    },
    Failed {
        node: &'a str,
    },
}

/// Takes a line apart; none when it has another form.
pub fn parse(line: &str) -> Option<Line<'_>> {
    let line = line.trim_end_matches(['\r', '\n']).trim_start();
    let (time, rest) = line.split_once(" [")?;
    let (level, rest) = rest.split_once(']')?;
    let level = level.parse().ok()?;
    let at = time.parse::<jiff::Timestamp>().ok().map(|at| WallTime::from_micros(at.as_microsecond()));
    let rest = rest.trim_start();
    // A logger has no blanks; a line without one is all message.
    let (logger, message) = match rest.split_once(": ") {
        Some((logger, message)) if !logger.contains(' ') => (logger, message),
        _ => ("", rest),
    };
    Some(Line { at, level, logger, message: message.trim() })
}

/// The value of `key=` in a message, without its quotes.
pub fn field<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    let mut from = 0;
    loop {
        let at = from + message[from..].find(key)?;
        let after = &message[at + key.len()..];
        let starts_word = at == 0 || message[..at].ends_with(' ');
        if starts_word && let Some(value) = after.strip_prefix('=') {
            return Some(match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or(quoted),
                None => value.split(' ').next().unwrap_or(value),
            });
        }
        from = at + key.len();
    }
}

/// What a line shows, if anything.
pub fn fact<'a>(line: &Line<'a>) -> Option<Fact<'a>> {
    let message = line.message;
    if line.logger.ends_with(".raft") {
        raft(message)
    } else if line.logger.contains("memberlist") {
        memberlist(message)
    } else if line.logger.contains(".serf.lan") {
        serf(message)
    } else {
        let node = message.strip_prefix("New leader elected: ").and_then(|_| field(message, "payload"))?;
        Some(Fact::NewLeader { node })
    }
}

fn raft(message: &str) -> Option<Fact<'_>> {
    let number = |key: &str| field(message, key).and_then(|text| text.parse().ok());
    let starts = |head: &str| message.starts_with(head);
    if starts("heartbeat timeout reached") {
        Some(Fact::HeartbeatLost { last_leader: field(message, "last-leader").unwrap_or("") })
    } else if starts("entering candidate state") {
        Some(Fact::Stands { term: field(message, "term")?.parse().ok()? })
    } else if starts("votes: ") || starts("calculated votes needed") {
        Some(Fact::VotesNeeded(number("needed")?))
    } else if starts("vote granted") {
        let term = field(message, "term")?.parse().ok()?;
        Some(Fact::VoteGranted { from: field(message, "from")?, term, tally: number("tally")? })
    } else if starts("Election timeout reached") {
        Some(Fact::TimedOut)
    } else if starts("election won") {
        Some(Fact::Won { tally: number("tally")? })
    } else if starts("entering follower state") {
        let leader = field(message, "leader").or_else(|| field(message, "leader-address")).unwrap_or("");
        Some(Fact::Follows { leader })
    } else if starts("failed to contact quorum of nodes, stepping down") || starts("peer has newer term, stopping") {
        Some(Fact::SteppedDown)
    } else {
        None
    }
}

fn memberlist(message: &str) -> Option<Fact<'_>> {
    let message = message.strip_prefix("memberlist: ").unwrap_or(message);
    if let Some(rest) = message.strip_prefix("Suspect ") {
        return Some(Fact::Suspect { node: rest.split(' ').next()? });
    }
    if let Some(rest) = message.strip_prefix("Refuting a suspect message (from: ") {
        return Some(Fact::Refuted { by: rest.trim_end_matches(')') });
    }
    let (node, rest) = message.strip_prefix("Marking ")?.split_once(" as failed, ")?;
    let confirmations = rest.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
    Some(Fact::MarkedFailed { node, confirmations })
}

fn serf(message: &str) -> Option<Fact<'_>> {
    let message = message.strip_prefix("serf: ").unwrap_or(message);
    let (kind, rest) = message.split_once(": ")?;
    let (node, address) = rest.split_once(' ').unwrap_or((rest, ""));
    match kind {
        "EventMemberJoin" => Some(Fact::Joined { node, address }),
        "EventMemberLeave" => Some(Fact::Left { node }),
        "EventMemberFailed" => Some(Fact::Failed { node }),
        _ => None,
    }
}

/// The paths this console asks again and again.
const OWN_PATHS: [&str; 9] = [
    "/v1/agent/self",
    "/v1/agent/members",
    "/v1/agent/monitor",
    "/v1/agent/metrics",
    "/v1/coordinate/nodes",
    "/v1/status/",
    "/v1/operator/raft/configuration",
    "/v1/operator/autopilot/health",
    "/v1/health/state/any",
];

/// A monitor at debug level repeats our own requests: those are no news.
pub fn is_own_request(line: &Line<'_>) -> bool {
    line.logger.ends_with(".http")
        && (line.message.starts_with("Request finished") || line.message.starts_with("Request error"))
        && field(line.message, "url").is_some_and(|url| OWN_PATHS.iter().any(|path| url.starts_with(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rest: &str, expected: Option<Fact<'_>>) {
        let text = format!("2026-11-21T02:11:07.079Z [INFO]  {rest}");
        let line = parse(&text).expect("a line");
        assert_eq!(fact(&line), expected, "{rest}");
    }

    #[test]
    fn lines_of_an_election_are_facts() {
        check(
            "agent.server.raft: heartbeat timeout reached, starting election: last-leader=172.20.20.11:8300",
            Some(Fact::HeartbeatLost { last_leader: "172.20.20.11:8300" }),
        );
        check(
            "agent.server.raft: heartbeat timeout reached, starting election: last-leader=",
            Some(Fact::HeartbeatLost { last_leader: "" }),
        );
        check(
            r#"agent.server.raft: entering candidate state: node="Node at 172.20.20.10:8300 [Candidate]" term=41"#,
            Some(Fact::Stands { term: 41 }),
        );
        check("agent.server.raft: votes: needed=2", Some(Fact::VotesNeeded(2)));
        check(
            "agent.server.raft: vote granted: from=c1e05d70 term=41 tally=2",
            Some(Fact::VoteGranted { from: "c1e05d70", term: 41, tally: 2 }),
        );
        check("agent.server.raft: election won: tally=2", Some(Fact::Won { tally: 2 }));
        check("agent.server.raft: Election timeout reached, restarting election", Some(Fact::TimedOut));
        check(
            r#"agent.server.raft: entering follower state: follower="Node at 127.0.0.1:8300 [Follower]" leader="#,
            Some(Fact::Follows { leader: "" }),
        );
        check("agent.server: New leader elected: payload=srv-1", Some(Fact::NewLeader { node: "srv-1" }));
    }

    #[test]
    fn lines_of_gossip_are_facts() {
        check(
            "agent.server.memberlist.lan: memberlist: Suspect db-1 has failed, no acks received",
            Some(Fact::Suspect { node: "db-1" }),
        );
        check(
            "agent.server.memberlist.lan: memberlist: Refuting a suspect message (from: srv-2)",
            Some(Fact::Refuted { by: "srv-2" }),
        );
        check(
            "agent.client.memberlist.lan: memberlist: Marking db-1 as failed, suspect timeout reached (2 peer confirmations)",
            Some(Fact::MarkedFailed { node: "db-1", confirmations: "2 peer confirmations" }),
        );
        check(
            "agent.server.serf.lan: serf: EventMemberJoin: db-1 10.0.0.3",
            Some(Fact::Joined { node: "db-1", address: "10.0.0.3" }),
        );
        check("agent.server.serf.lan: serf: EventMemberFailed: db-1 10.0.0.3", Some(Fact::Failed { node: "db-1" }));
    }

    #[test]
    fn other_lines_are_no_facts() {
        check("agent: Synced node info", None);
        check("agent.server.raft: vote granted: from=x term=notanumber tally=1", None);
        check("agent.server.raft: pipelining replication: peer=x", None);
        for text in ["", "==> Consul agent running!", "no time here", "2026-11-21 [NOLEVEL] x: y"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_has_its_time_whatever_its_zone() {
        let z = parse("2026-11-21T02:11:07.079Z [DEBUG] agent: Node info in sync").expect("a line");
        let plus = parse("    2026-11-21T03:11:07.079+0100 [DEBUG] agent: Node info in sync").expect("a line");
        assert!(z.at.is_some());
        assert_eq!(z, plus);
        assert_eq!((z.level, z.logger, z.message), (Level::Debug, "agent", "Node info in sync"));
    }

    #[test]
    fn our_own_requests_are_known() {
        let line = |path: &str| {
            format!(
                "2026-11-21T02:11:07.079Z [DEBUG] agent.http: Request finished: method=GET url={path} from=127.0.0.1:4 latency=1ms"
            )
        };
        assert!(is_own_request(&parse(&line("/v1/agent/self")).expect("a line")));
        assert!(is_own_request(&parse(&line("/v1/agent/monitor?loglevel=debug")).expect("a line")));
        assert!(!is_own_request(&parse(&line("/v1/kv/secret")).expect("a line")));
    }

    #[test]
    fn a_key_is_found_as_a_whole_word() {
        assert_eq!(field("follower=\"a b\" leader=x", "leader"), Some("x"));
        assert_eq!(field("last-leader=y", "leader"), None);
        assert_eq!(field("nothing", "leader"), None);
    }
}
