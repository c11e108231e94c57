//! The queries that a pool asks of itself: is somebody there, who has this name, and keys.
//!
//! Keys are no business of the state machine: it hands such a query to the driver, which answers by an
//! order. Called by `query`; layouts of these few payloads are here too.

use std::net::SocketAddr;
use std::time::Duration;

use shared::event::{MemberEvent, MemberNews, MemberStatus, NameHolder};

use super::codec::{Alive, ip_bytes};
use super::member::{Member, Name, to_tags};
use super::msgpack::{Flaw, Reader, Writer};
use super::query::{Answers, Asker, Question, ReplyTo};
use super::wire_event::read_claimed_address;
use super::{Notice, Output, Remark, Swim};
use crate::moment::Moment;

/// How the names of such queries begin.
pub(super) const PREFIX: &str = "_serf_";

/// The first byte of each payload.
mod kind {
    pub(super) const CONFLICT_RESPONSE: u8 = 6;
    pub(super) const KEY_REQUEST: u8 = 7;
    pub(super) const KEY_RESPONSE: u8 = 8;
}

/// The same claim is told of, and voted about, no more often.
const CONFLICT_QUIET: Duration = Duration::from_secs(60);
/// Conflicts remembered, at most.
const CONFLICTS_MAX: usize = 64;

/// What is to be done with a pool's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    Install,
    Use,
    Remove,
    List,
}

impl KeyAction {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "install-key" => Some(Self::Install),
            "use-key" => Some(Self::Use),
            "remove-key" => Some(Self::Remove),
            "list-keys" => Some(Self::List),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Install => "install-key",
            Self::Use => "use-key",
            Self::Remove => "remove-key",
            Self::List => "list-keys",
        }
    }
}

/// One member's answer about its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReply {
    pub done: bool,
    /// Why not, or what else there is to say.
    pub message: String,
    /// In base64.
    pub keys: Vec<String>,
    /// Which of them seals; empty from members that do not tell.
    pub primary: String,
}

impl KeyReply {
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (&kind::KEY_RESPONSE, body) = payload.split_first()? else { return None };
        let mut reply = Self::default();
        let outcome = Reader::new(body).fields(|r, key| {
            match key {
                b"Result" => reply.done = r.boolean()?,
                b"Message" => reply.message = r.text()?.to_owned(),
                b"PrimaryKey" => reply.primary = r.text()?.to_owned(),
                b"Keys" => {
                    for _ in 0..r.array()? {
                        reply.keys.push(r.text()?.to_owned());
                    }
                }
                _ => r.skip()?,
            }
            Ok(())
        });
        outcome.ok().map(|()| reply)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![kind::KEY_RESPONSE];
        let mut writer = Writer(&mut out);
        writer.map(4);
        writer.field("Keys", |w| {
            if self.keys.is_empty() {
                return w.nil();
            }
            w.array(self.keys.len());
            self.keys.iter().for_each(|key| w.text(key));
        });
        writer.field("Message", |w| w.text(&self.message));
        writer.field("PrimaryKey", |w| w.text(&self.primary));
        writer.field("Result", |w| w.boolean(self.done));
        out
    }
}

/// The question about keys, for all members; a list gives no key.
pub fn key_question(action: KeyAction, key: &[u8], relay_factor: u8) -> Question {
    let mut payload = vec![kind::KEY_REQUEST];
    let mut writer = Writer(&mut payload);
    writer.map(1);
    writer.field("Key", |w| w.bytes(key));
    let name = format!("{PREFIX}{}", action.name());
    Question { name, payload, relay_factor, until_all: true, ..Question::default() }
}

fn read_key(payload: &[u8]) -> Option<&[u8]> {
    let (_, body) = payload.split_first()?;
    let mut key = &[][..];
    let outcome =
        Reader::new(body).fields(|r, name| if name == b"Key" { r.bytes().map(|k| key = k) } else { r.skip() });
    outcome.ok().map(|()| key)
}

/// What we hold of a member, as serf writes it; nil when we hold nothing.
pub(super) fn write_holder(member: Option<&Member>) -> Vec<u8> {
    let mut out = vec![kind::CONFLICT_RESPONSE];
    let mut writer = Writer(&mut out);
    let Some(member) = member else {
        writer.nil();
        return out;
    };
    let [protocol_min, protocol_max, protocol, serf_min, serf_max, serf] = member.versions.map(u64::from);
    let status = match member.status {
        MemberStatus::Alive | MemberStatus::Suspect => 1,
        MemberStatus::Leaving => 2,
        MemberStatus::Left => 3,
        MemberStatus::Failed => 4,
    };
    let tags = to_tags(&member.meta);
    writer.map(11);
    writer.field("Addr", |w| w.bytes(&ip_bytes(member.address.ip())));
    writer.field("DelegateCur", |w| w.uint(serf));
    writer.field("DelegateMax", |w| w.uint(serf_max));
    writer.field("DelegateMin", |w| w.uint(serf_min));
    writer.field("Name", |w| w.text(&member.name));
    writer.field("Port", |w| w.uint(u64::from(member.address.port())));
    writer.field("ProtocolCur", |w| w.uint(protocol));
    writer.field("ProtocolMax", |w| w.uint(protocol_max));
    writer.field("ProtocolMin", |w| w.uint(protocol_min));
    writer.field("Status", |w| w.uint(status));
    writer.field("Tags", |w| {
        w.map(tags.len());
        for (key, value) in &tags {
            w.field(key, |w| w.text(value));
        }
    });
    out
}

pub(super) fn read_holder(payload: &[u8]) -> Result<Option<SocketAddr>, Flaw> {
    let (&kind::CONFLICT_RESPONSE, body) = payload.split_first().ok_or(Flaw::Malformed)? else {
        return Err(Flaw::Malformed);
    };
    read_claimed_address(&mut Reader::new(body))
}

/// Names that two claim, and when that was last said.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    told: Vec<(Name, SocketAddr, Moment)>,
    voted: Option<Moment>,
    is_voting: bool,
}

impl Conflicts {
    fn is_news(&mut self, now: Moment, name: &Name, claimant: SocketAddr) -> bool {
        self.told.retain(|(_, _, at)| now.since(*at) < CONFLICT_QUIET);
        if self.told.iter().any(|(known, at, _)| known == name && *at == claimant) {
            return false;
        }
        if self.told.len() >= CONFLICTS_MAX {
            self.told.remove(0);
        }
        self.told.push((Name::clone(name), claimant, now));
        true
    }
}

impl Swim {
    pub(super) fn answer_internal(
        &mut self,
        now: Moment,
        name: &str,
        payload: &[u8],
        reply: ReplyTo,
        out: &mut Output,
    ) {
        match (name, KeyAction::from_name(name)) {
            // The acknowledgement is the answer.
            ("ping", _) => {}
            ("conflict", _) => {
                let Ok(about) = std::str::from_utf8(payload) else {
                    self.counters.malformed += 1;
                    return;
                };
                // Of ourselves we would say that we are right.
                if about != &*self.me {
                    let answer = write_holder(self.members.get(about));
                    self.respond(now, &reply, 0, &answer, out);
                }
            }
            (_, Some(action)) => match read_key(payload) {
                Some(key) => out.notices.push(Notice::KeyAsked { action, key: key.to_vec(), reply }),
                None => self.counters.malformed += 1,
            },
            _ => out.notices.push(Notice::Remark(Remark::UnknownQuery { name: Name::from(name) })),
        }
    }

    /// Somebody else claims the name of a member, perhaps ours. Whoever is listed stays listed.
    pub(super) fn on_conflict(&mut self, now: Moment, name: &Name, claim: &Alive<'_>, out: &mut Output) {
        let Some(holder) = self.members.get(name) else { return };
        if !self.conflicts.is_news(now, name, claim.address) {
            return;
        }
        self.counters.conflicts += 1;
        let claimant = Member::new(claim, now).to_state(self.config.pool);
        let id = |tags: &std::collections::BTreeMap<String, String>| tags.get("id").cloned().unwrap_or_default();
        let held_by = NameHolder { address: holder.address.to_string(), id: id(&to_tags(&holder.meta)) };
        let theirs_id = id(&claimant.tags);
        // Where both have one ID it is one node, which has moved: there is nothing to decide.
        let is_same_node = !held_by.id.is_empty() && held_by.id == theirs_id;
        out.notices.push(Notice::Remark(Remark::NameConflict {
            name: Name::clone(name),
            ours: holder.address,
            ours_id: held_by.id.clone(),
            theirs: claim.address,
            theirs_id,
            is_us: *name == self.me,
        }));
        let mut account = self.account(None);
        account.held_by = Some(held_by);
        out.notices.push(Notice::Member(MemberEvent::Conflict(MemberNews { state: claimant, account })));
        if *name == self.me && !is_same_node {
            self.start_vote(now, out);
        }
    }

    /// Asks the others whom they hold to have our name.
    fn start_vote(&mut self, now: Moment, out: &mut Output) {
        let lately = self.conflicts.voted.is_some_and(|at| now.since(at) < CONFLICT_QUIET);
        if self.conflicts.is_voting || lately || self.leave.is_leaving() {
            return;
        }
        let question =
            Question { name: format!("{PREFIX}conflict"), payload: self.me.as_bytes().to_vec(), ..Question::default() };
        // No room for it: the next claim asks again.
        self.conflicts.is_voting = self.ask(now, Asker::Vote, &question, out).is_ok();
    }

    pub(super) fn vote_ended(&mut self, now: Moment, answers: &Answers, out: &mut Output) {
        self.conflicts.is_voting = false;
        self.conflicts.voted = Some(now);
        let ours = self.config.address;
        let votes: Vec<_> = answers.responses.iter().filter_map(|(_, payload)| read_holder(payload).ok()).collect();
        let matching = votes.iter().filter(|holder| **holder == Some(ours)).count();
        let responses = votes.len();
        let lost = responses > 0 && matching < responses / 2 + 1;
        out.notices.push(Notice::Remark(Remark::Voted { matching, responses, lost }));
        if lost {
            out.notices.push(Notice::Outvoted { matching, responses });
        }
    }
}
