//! Serf's queries: a question to every member, or to some, whose answers come straight back to whoever
//! asks. Told as rumours like events, with a clock of their own. Queries that a pool asks of itself
//! (`_serf_…`) are answered here and in `internal`; what they mean for keys is the driver's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use regex_lite::RegexBuilder;

use super::broadcast::Class;
use super::codec::{Message, State};
use super::deadlines::Timer;
use super::internal;
use super::member::{Member, Name, to_tags};
use super::recent::{Heard, Recent};
use super::wire_event::{
    FILTER_NAMES_MAX, FLAG_ACK, FLAG_NO_BROADCAST, Filter, QueryMessage, RelayMessage, ResponseMessage,
};
use super::{Notice, Output, Remark, Swim, Ticket};
use crate::moment::Moment;

/// A query of ours, and an answer to one, encoded. Serf's defaults, which Consul keeps.
const QUERY_BYTES_MAX: usize = 1024;
pub const RESPONSE_BYTES_MAX: usize = 1024;
/// Queries of ours that wait for answers at once.
const RUNNING_MAX: usize = 64;
/// Query IDs remembered, at most.
const IDS_KEPT_MAX: usize = 1 << 16;
/// How long a query lasts by default, in rounds of gossip for each tenfold of members. Serf's.
const TIMEOUT_ROUNDS: u32 = 16;
/// A query of ours or of others lasts no longer, whatever is asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// What one compiled expression of a filter may take.
const EXPRESSION_BYTES_MAX: usize = 64 << 10;
/// From this serf protocol on a member passes answers on for others.
const RELAY_PROTOCOL: u8 = 5;

/// What our own agent asks the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    pub payload: Vec<u8>,
    /// Only these members; none for all.
    pub nodes: Vec<String>,
    /// Only members whose tag matches the expression.
    pub tags: BTreeMap<String, String>,
    /// Each that takes it is to say so.
    pub ack: bool,
    /// Each answer also goes over so many others.
    pub relay_factor: u8,
    /// None: by the size of the pool.
    pub timeout: Option<Duration>,
    /// It is over as soon as every member has answered.
    pub until_all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskRefusal {
    #[error("query exceeds limit of {QUERY_BYTES_MAX} bytes")]
    TooLong,
    #[error("too many queries are running, at most {RUNNING_MAX} do at once")]
    TooMany,
}

/// What came of a query of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Members there were when it was asked, ourselves included.
    pub nodes: usize,
    /// Who took it, where that was asked for.
    pub acks: Vec<Name>,
    /// In the order they came.
    pub responses: Vec<(Name, Vec<u8>)>,
}

/// Where the answer to a query of somebody's goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    ltime: u64,
    id: u32,
    to: SocketAddr,
    node: Name,
    relay_factor: u8,
    /// Later nobody listens.
    until: Moment,
}

/// A query that is meant for us and is not serf's own: nobody here answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub ltime: u64,
    pub name: String,
    pub payload: Vec<u8>,
    pub from: String,
}

/// For whom answers are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Order(Ticket),
    /// Ourselves, whose name somebody else has too.
    Vote,
}

#[derive(Debug)]
struct Running {
    asker: Asker,
    id: u32,
    until_all: bool,
    answers: Answers,
}

/// By Lamport time, which no two of ours share.
#[derive(Debug)]
pub(super) struct Queries {
    running: BTreeMap<u64, Running>,
    pub(super) heard: Recent<u32>,
}

impl Queries {
    pub(super) fn new() -> Self {
        Self { running: BTreeMap::new(), heard: Recent::new(IDS_KEPT_MAX, |_| 1) }
    }
}

impl Swim {
    fn default_timeout(&self) -> Duration {
        let tenfolds = ((self.live() as f64 + 1.0).log10().ceil() as u32).max(1);
        self.config.timing.gossip_interval * TIMEOUT_ROUNDS * tenfolds
    }

    /// Tells everybody the question; the answers come as a notice when its time is over.
    pub(super) fn ask(
        &mut self,
        now: Moment,
        asker: Asker,
        question: &Question,
        out: &mut Output,
    ) -> Result<(), AskRefusal> {
        if self.queries.running.len() >= RUNNING_MAX {
            return Err(AskRefusal::TooMany);
        }
        let timeout = question.timeout.unwrap_or_else(|| self.default_timeout()).min(TIMEOUT_MAX);
        let filters = filters(question);
        let me = Name::clone(&self.me);
        let query = QueryMessage {
            ltime: self.query_clock.now(),
            // As serf's, which draws a signed number that is not negative.
            id: self.dice.random_range(0..=i32::MAX as u32),
            from: self.config.address,
            node: &me,
            filters: filters.iter().map(Vec::as_slice).collect(),
            flags: if question.ack { FLAG_ACK } else { 0 },
            relay_factor: question.relay_factor,
            timeout_nanos: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            name: &question.name,
            payload: &question.payload,
        };
        let body = query.to_bytes();
        if body.len() > QUERY_BYTES_MAX {
            return Err(AskRefusal::TooLong);
        }
        let answers = Answers { nodes: self.live(), ..Answers::default() };
        let running = Running { asker, id: query.id, until_all: question.until_all, answers };
        self.queries.running.insert(query.ltime, running);
        self.deadlines.arm(Timer::Query(query.ltime), now + timeout);
        self.on_query(now, &query, &body, out);
        Ok(())
    }

    /// One that was heard, or our own; passed on when it is news, whether we understand it or not.
    pub(super) fn on_query(&mut self, now: Moment, query: &QueryMessage<'_>, body: &[u8], out: &mut Output) {
        self.query_clock.witness(query.ltime);
        let time = self.query_clock.now();
        match self.queries.heard.hear(time, query.ltime, query.id) {
            Heard::News => {}
            Heard::Old => {
                let name = Arc::from(query.name);
                out.notices.push(Notice::Remark(Remark::OldQuery { name, ltime: query.ltime, now: time }));
                return;
            }
            Heard::Known => return,
            Heard::Refused => {
                self.counters.refused += 1;
                return;
            }
        }
        self.counters.queries += 1;
        if query.flags & FLAG_NO_BROADCAST == 0 {
            self.pass_on(Class::Query, body);
        }
        if !self.is_meant(query, out) {
            return;
        }
        let timeout = Duration::from_nanos(query.timeout_nanos).min(TIMEOUT_MAX);
        let reply = ReplyTo {
            ltime: query.ltime,
            id: query.id,
            to: query.from,
            node: Name::from(query.node),
            relay_factor: query.relay_factor,
            until: now + timeout,
        };
        if query.flags & FLAG_ACK != 0 {
            self.respond(now, &reply, FLAG_ACK, &[], out);
        }
        match query.name.strip_prefix(internal::PREFIX) {
            Some(name) => self.answer_internal(now, name, query.payload, reply, out),
            None => out.notices.push(Notice::Query(Asked {
                ltime: query.ltime,
                name: query.name.to_owned(),
                payload: query.payload.to_vec(),
                from: query.node.to_owned(),
            })),
        }
    }

    /// Every filter must hold; one that cannot be read does not.
    fn is_meant(&self, query: &QueryMessage<'_>, out: &mut Output) -> bool {
        query.filters.iter().all(|bytes| match Filter::read(bytes) {
            Ok(Filter::Nodes(names)) => names.contains(&&*self.me),
            Ok(Filter::Tag { tag, expression }) => {
                let compiled = RegexBuilder::new(expression).size_limit(EXPRESSION_BYTES_MAX).build();
                let us = self.members.get(&self.me);
                let value = us.and_then(|us| to_tags(&us.meta).remove(tag)).unwrap_or_default();
                compiled.is_ok_and(|compiled| compiled.is_match(&value))
            }
            Err(_) => {
                out.notices.push(Notice::Remark(Remark::BadFilter { query: Arc::from(query.name) }));
                false
            }
        })
    }

    /// Sends an answer, over others too where that was asked for. False when it is too long or too late.
    pub(super) fn respond(
        &mut self,
        now: Moment,
        reply: &ReplyTo,
        flags: u32,
        payload: &[u8],
        out: &mut Output,
    ) -> bool {
        let me = Name::clone(&self.me);
        let response = ResponseMessage { ltime: reply.ltime, id: reply.id, from: &me, flags, payload };
        let body = response.to_bytes();
        if body.len() > RESPONSE_BYTES_MAX || now > reply.until {
            self.counters.refused += 1;
            return false;
        }
        if reply.to == self.config.address {
            self.on_response(now, &response, out);
            return true;
        }
        self.send(reply.to, &[Message::User(&body)], out);
        self.relay_response(reply, &body, out);
        true
    }

    fn relay_response(&mut self, reply: &ReplyTo, body: &[u8], out: &mut Output) {
        let wanted = usize::from(reply.relay_factor);
        if wanted == 0 || self.members.len() < wanted + 1 {
            return;
        }
        let relay = RelayMessage { to: reply.to, node: &reply.node, body }.to_bytes();
        if relay.len() > RESPONSE_BYTES_MAX {
            self.counters.refused += 1;
            return;
        }
        let can_relay = |member: &Member| {
            member.state == State::Alive && member.versions[4] >= RELAY_PROTOCOL && member.address != reply.to
        };
        for name in self.some_peers(wanted, can_relay) {
            let Some(member) = self.members.get(&name) else { continue };
            let to = member.address;
            self.send(to, &[Message::User(&relay)], out);
        }
    }

    /// Passes an answer on. Only to members: nobody may have us send packets to strangers.
    pub(super) fn on_relay(&mut self, relay: &RelayMessage<'_>, out: &mut Output) {
        if !self.members.values().any(|member| member.address == relay.to && !member.is_gone()) {
            self.counters.refused += 1;
            return;
        }
        self.counters.relayed += 1;
        self.send(relay.to, &[Message::User(relay.body)], out);
    }

    /// An answer to a query of ours. Those of nobody's query, of strangers and repeated ones count not.
    pub(super) fn on_response(&mut self, now: Moment, response: &ResponseMessage<'_>, out: &mut Output) {
        let member = self.members.get(response.from).filter(|member| !member.is_gone());
        let Some(name) = member.map(|member| Name::clone(&member.name)) else {
            self.counters.refused += 1;
            return;
        };
        let Some(running) = self.queries.running.get_mut(&response.ltime).filter(|r| r.id == response.id) else {
            return;
        };
        let answers = &mut running.answers;
        if response.flags & FLAG_ACK != 0 {
            if !answers.acks.contains(&name) {
                answers.acks.push(name);
            }
        } else if !answers.responses.iter().any(|(from, _)| *from == name) {
            answers.responses.push((name, response.payload.to_vec()));
        }
        if running.until_all && answers.responses.len() >= answers.nodes {
            self.query_ended(now, response.ltime, out);
        }
    }

    /// Its time is over, or everybody has answered.
    pub(super) fn query_ended(&mut self, now: Moment, ltime: u64, out: &mut Output) {
        self.deadlines.disarm(&Timer::Query(ltime));
        let Some(running) = self.queries.running.remove(&ltime) else { return };
        match running.asker {
            Asker::Order(ticket) => out.notices.push(Notice::AskEnded { ticket, outcome: Ok(running.answers) }),
            Asker::Vote => self.vote_ended(now, &running.answers, out),
        }
    }
}

fn filters(question: &Question) -> Vec<Vec<u8>> {
    let names: Vec<&str> = question.nodes.iter().map(String::as_str).take(FILTER_NAMES_MAX).collect();
    let nodes = (!names.is_empty()).then(|| Filter::Nodes(names).to_bytes());
    let tags = question.tags.iter().map(|(tag, expression)| Filter::Tag { tag, expression }.to_bytes());
    nodes.into_iter().chain(tags).collect()
}
