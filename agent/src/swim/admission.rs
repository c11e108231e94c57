//! Who may be a member at all: Consul's rules for a merge, and ours that a datacenter has one kind of
//! server. Asked by the state machine before it lists or renews anybody, and by `gossip::look` before
//! this agent names itself. A member that is kept out is told of once a minute, and always counted.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::event::{Account, MemberEvent, MemberNews, Pool};

use super::codec::{Alive, State};
use super::member::{Member, to_tags};
use super::{Notice, Output, Remark, Swim};
use crate::moment::Moment;

/// Who was told of lately, at most.
const TOLD_MAX: usize = 64;
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What this agent is, as far as it decides whom it lives with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub pool: Pool,
    pub name: String,
    pub node_id: String,
    pub datacenter: String,
    pub server: bool,
}

/// Why a member is kept out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("Member '{name}' has conflicting node ID '{id}' with this agent's ID")]
    OurId { name: String, id: String },
    #[error("Member '{name}' has conflicting node ID '{id}' with member '{other}'")]
    SameId { name: String, id: String, other: String },
    #[error("Member '{name}' part of wrong datacenter '{datacenter}'")]
    Datacenter { name: String, datacenter: String },
    #[error("Member '{name}' part of wrong segment '{segment}' (expected '')")]
    Segment { name: String, segment: String },
    #[error("Member '{name}' is not a server")]
    NoServer { name: String },
    /// A HashiCorp server of our datacenter.
    #[error(
        "Member '{name}' is a HashiCorp Consul server of datacenter '{datacenter}', which can have one kind of server: \
         servers of Quorate need a datacenter of their own (-datacenter), or start this one as a client"
    )]
    Foreign { name: String, datacenter: String },
}

impl Admission {
    /// Consul: agent/consul/merge.go, and the rule of one kind of server.
    pub fn judge(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<(), Rejection> {
        let tag = |key: &str| tags.get(key).map_or("", String::as_str);
        let name = name.to_owned();
        let datacenter = tag("dc").to_owned();
        let is_server = is_server(tags);
        if self.server && is_server && !tags.contains_key("impl") && datacenter == self.datacenter {
            return Err(Rejection::Foreign { name, datacenter });
        }
        if self.pool == Pool::Wan {
            return if is_server { Ok(()) } else { Err(Rejection::NoServer { name }) };
        }
        if !self.node_id.is_empty() && tag("id") == self.node_id && name != self.name {
            return Err(Rejection::OurId { name, id: self.node_id.clone() });
        }
        if (tag("role") == "node" || is_server) && datacenter != self.datacenter {
            return Err(Rejection::Datacenter { name, datacenter });
        }
        match tag("segment") {
            "" => Ok(()),
            segment => Err(Rejection::Segment { segment: segment.to_owned(), name }),
        }
    }

    /// A whole pool that somebody who joins brings along: one that may not be there spoils it.
    fn judge_all(&self, members: &[(Alive<'_>, State)]) -> Result<(), Rejection> {
        let mut ids: BTreeMap<String, &str> = BTreeMap::new();
        for (alive, _) in members.iter().filter(|(_, state)| *state != State::Left) {
            let tags = to_tags(alive.meta);
            self.judge(alive.node, &tags)?;
            let Some(id) = tags.get("id").filter(|id| self.pool == Pool::Lan && !id.is_empty()) else { continue };
            if let Some(other) = ids.insert(id.clone(), alive.node) {
                let (name, other) = (alive.node.to_owned(), other.to_owned());
                return Err(Rejection::SameId { name, id: id.clone(), other });
            }
        }
        Ok(())
    }
}

/// Consul: what has no port to speak to is no server.
fn is_server(tags: &BTreeMap<String, String>) -> bool {
    tags.get("role").is_some_and(|role| role == "consul")
        && tags.get("port").is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The rules and who was told of lately; without rules everybody is let in.
#[derive(Debug, Default)]
pub(super) struct Door {
    rules: Option<Admission>,
    told: BTreeMap<String, Moment>,
}

impl Swim {
    /// From here on only those that pass are listed.
    pub fn admit_by(&mut self, rules: Admission) {
        self.door.rules = Some(rules);
    }

    /// Whether an alive message may count. Who is listed with these tags has passed before.
    pub(super) fn may_enter(&mut self, now: Moment, alive: &Alive<'_>, out: &mut Output) -> bool {
        let Some(rules) = &self.door.rules else { return true };
        let known = self.members.get(alive.node).is_some_and(|member| *member.meta == *alive.meta);
        if known || alive.node == &*self.me {
            return true;
        }
        match rules.judge(alive.node, &to_tags(alive.meta)) {
            Ok(()) => true,
            Err(rejection) => {
                self.reject(now, alive, &rejection, out);
                false
            }
        }
    }

    /// Whether what somebody brings who joins, or whom we join, may be merged.
    pub(super) fn may_merge(
        &mut self,
        now: Moment,
        members: &[(Alive<'_>, State)],
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Some(rules) = &self.door.rules else { return Ok(()) };
        let outcome = rules.judge_all(members);
        if let Err(rejection) = &outcome {
            let name = rejection.name();
            if let Some((alive, _)) = members.iter().find(|(alive, _)| alive.node == name) {
                self.reject(now, alive, rejection, out);
            }
        }
        outcome
    }

    fn reject(&mut self, now: Moment, alive: &Alive<'_>, rejection: &Rejection, out: &mut Output) {
        self.counters.rejected += 1;
        let told = &mut self.door.told;
        if told.get(alive.node).is_some_and(|at| now.since(*at) < TOLD_AGAIN_AFTER) {
            return;
        }
        if told.len() >= TOLD_MAX {
            told.retain(|_, at| now.since(*at) < TOLD_AGAIN_AFTER);
        }
        if told.len() >= TOLD_MAX {
            return;
        }
        told.insert(alive.node.to_owned(), now);
        let reason = rejection.to_string();
        out.notices.push(Notice::Remark(Remark::Rejected { name: alive.node.into(), reason: reason.clone() }));
        let state = Member::new(alive, now).to_state(self.config.pool);
        let account = Account { reason: Some(reason), ..self.account(None) };
        out.notices.push(Notice::Member(MemberEvent::Rejected(MemberNews { state, account })));
    }
}

impl Rejection {
    pub fn name(&self) -> &str {
        match self {
            Self::OurId { name, .. }
            | Self::SameId { name, .. }
            | Self::Datacenter { name, .. }
            | Self::Segment { name, .. }
            | Self::NoServer { name }
            | Self::Foreign { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &str) -> BTreeMap<String, String> {
        let pair = |text: &str| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pairs.split_whitespace().filter_map(pair).collect()
    }

    #[track_caller]
    fn check(pool: Pool, server: bool, other: &str, expected: &str) {
        let (name, node_id) = ("me".to_owned(), "id-1".to_owned());
        let rules = Admission { pool, name, node_id, datacenter: "dc1".to_owned(), server };
        let said = rules.judge("x", &tags(other)).err().map(|rejection| rejection.to_string()).unwrap_or_default();
        let fits = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
        assert!(fits, "{other}: {said:?}");
    }

    #[test]
    fn a_datacenter_has_one_kind_of_server() {
        let theirs = "role=consul dc=dc1 port=8300";
        for pool in [Pool::Lan, Pool::Wan] {
            check(pool, true, theirs, "is a HashiCorp Consul server of datacenter 'dc1'");
            check(pool, true, "role=consul dc=dc1 port=8300 impl=quorate-1", "");
            check(pool, false, theirs, "");
        }
        check(Pool::Lan, true, "role=node dc=dc1", "");
        check(Pool::Wan, true, "role=consul dc=dc2 port=8300", "");
    }

    #[test]
    fn consuls_rules_hold() {
        check(Pool::Lan, true, "role=node dc=dc2", "Member 'x' part of wrong datacenter 'dc2'");
        check(Pool::Lan, false, "role=consul dc=dc2 port=8300", "Member 'x' part of wrong datacenter 'dc2'");
        check(Pool::Lan, true, "role=node dc=dc1 id=id-1", "conflicting node ID 'id-1' with this agent's ID");
        check(Pool::Lan, true, "role=node dc=dc1 segment=a", "part of wrong segment 'a' (expected '')");
        check(Pool::Lan, true, "role=web", "");
        check(Pool::Wan, true, "role=node dc=dc2", "Member 'x' is not a server");
    }

    #[test]
    fn a_stranger_is_counted_each_time_told_once_a_minute_and_never_listed() {
        use super::super::packet::pack;
        use super::super::{Config, Input, VERSIONS};
        use crate::swim::codec::Message;
        let config = Config {
            pool: Pool::Lan,
            name: "me".to_owned(),
            address: ([10, 0, 0, 1], 8301).into(),
            tags: BTreeMap::new(),
            timing: super::super::timing::Timing::lan(),
            seal_bytes: 0,
            coordinates: false,
        };
        let mut now = Moment::from_micros(1_000_000);
        let mut swim = Swim::new(config, now, 7, &mut Output::default());
        let (name, node_id, datacenter) = ("me".to_owned(), String::new(), "dc1".to_owned());
        swim.admit_by(Admission { pool: Pool::Lan, name, node_id, datacenter, server: true });
        let meta = super::super::member::to_meta(&tags("role=consul dc=dc1 port=8300"));
        let address = ([10, 0, 0, 2], 8301).into();
        let stranger = Alive { incarnation: 1, node: "x", address, meta: &meta, versions: VERSIONS };
        let bytes = pack(&[Message::Alive(stranger).to_bytes()], false);
        let mut hear = |now| {
            let mut out = Output::default();
            swim.handle(now, Input::Packet { from: address, bytes: &bytes }, &mut out);
            let is_told = |notice: &&Notice| matches!(notice, Notice::Member(MemberEvent::Rejected(_)));
            (out.notices.iter().filter(is_told).count(), swim.facts().counters.rejected, swim.members().count())
        };
        assert_eq!(hear(now), (1, 1, 1));
        assert_eq!(hear(now), (0, 2, 1));
        now = now + TOLD_AGAIN_AFTER;
        assert_eq!(hear(now), (1, 3, 1));
    }
}
