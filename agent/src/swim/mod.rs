//! PURE membership: SWIM with Lifeguard as memberlist speaks it, and serf's layer on it.
//!
//! `gossip` drives it: every packet, stream, order and passing deadline becomes one
//! [`Swim::handle`], after which all of [`Output`] is carried out, in order.
//! It never reads a clock, opens a socket or logs; its dice are seeded by the caller.
//! With no other member it has no deadline at all.

mod account;
pub mod admission;
mod awareness;
mod broadcast;
pub mod codec;
#[cfg(test)]
mod codec_tests;
pub mod coordinate;
#[cfg(test)]
mod coordinate_tests;
mod deadlines;
mod intent;
pub mod internal;
mod lamport;
mod leave;
#[cfg(test)]
mod limit_tests;
pub mod member;
pub mod msgpack;
pub mod packet;
mod probe;
pub mod query;
#[cfg(test)]
mod query_tests;
mod reap;
mod recent;
mod relay;
mod rules;
pub mod stream;
mod suspicion;
mod sync;
mod talk;
#[cfg(test)]
mod tests;
pub mod timing;
pub mod user_event;
#[cfg(test)]
mod user_event_tests;
mod versions;
mod wire;
mod wire_event;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use imbl::{OrdMap, Vector};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::api::coordinate::Coordinate;
use shared::event::{MemberEvent, MemberState, Pool, Source};

use crate::moment::Moment;
use codec::Alive;
use deadlines::{Deadlines, Timer};
use internal::KeyAction;
use member::{Member, Name};
use query::{Answers, AskRefusal, Asked, Asker, Question, ReplyTo};
use timing::Timing;
use user_event::{FireRefusal, UserEvent};

/// Protocol lowest, highest, spoken; serf's protocol lowest, highest, spoken.
/// Consul: 1.8.7 reports 1 5 2 and 2 5 4.
pub const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 4];

#[derive(Clone, Debug)]
pub struct Config {
    pub pool: Pool,
    pub name: String,
    /// Where others reach us.
    pub address: SocketAddr,
    pub tags: BTreeMap<String, String>,
    pub timing: Timing,
    /// What encryption adds to a packet.
    pub seal_bytes: usize,
    /// Tell our coordinate in acks, and take others'.
    pub coordinates: bool,
}

/// Joins one order to its outcome; chosen by who gives the order.
pub type Ticket = u64;
/// One stream that we open. Never used twice.
pub type DialId = u64;
/// One stream that somebody opened to us; chosen by the driver.
pub type StreamId = u64;

/// Whatever can happen. Bytes are plain: the driver has opened seals and inflated streams.
#[derive(Debug)]
pub enum Input<'a> {
    /// Nothing but time passing.
    Wake,
    Packet {
        from: SocketAddr,
        bytes: &'a [u8],
    },
    /// A whole message on a stream that somebody opened to us.
    Accepted {
        stream: StreamId,
        from: SocketAddr,
        bytes: &'a [u8],
    },
    /// The whole answer on a stream we opened.
    Answered {
        dial: DialId,
        bytes: &'a [u8],
    },
    /// The stream could not be opened, or gave no answer; in words for whoever asked.
    Unanswered {
        dial: DialId,
        reason: String,
        /// The host is there and nobody listens.
        refused: bool,
    },
    Order(Order),
}

/// What our own agent wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Exchange states with whoever is there. Ends in [`Notice::JoinEnded`].
    Join { ticket: Ticket, to: SocketAddr },
    /// Ends in [`Notice::Left`], soon when alone, else when it was told and has spread.
    Leave,
    /// Gives a node a coordinate from outside. Not answered.
    SetCoordinate { name: String, coordinate: Coordinate },
    /// Ends in [`Notice::ForceLeaveEnded`].
    ForceLeave { ticket: Ticket, name: String, prune: bool },
    /// A user event for everybody. Ends in [`Notice::FireEnded`] at once.
    Fire { ticket: Ticket, name: String, payload: Vec<u8>, coalesce: bool },
    /// A query for everybody. Ends in [`Notice::AskEnded`] when its time is over, or it is refused.
    Ask { ticket: Ticket, question: Question },
    /// The answer to a query that came as a notice. Not answered.
    Respond { reply: ReplyTo, payload: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// A stream to open, a message to send, an answer to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    pub id: DialId,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
    /// For connecting and answering together.
    pub limit: Duration,
}

/// What a stream that somebody opened gets back before it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub stream: StreamId,
    /// Nothing: close it.
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceLeaveRefusal {
    /// Nothing changed.
    #[error("no member of that name")]
    Unknown,
    /// It is there; nothing changed. Consul takes the order and can leave the member stuck in leaving.
    #[error("the member is alive")]
    Alive,
}

/// What others may want to know, in the order it came to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A member changed; never `Present`.
    Member(MemberEvent),
    JoinEnded {
        ticket: Ticket,
        outcome: Result<(), String>,
    },
    ForceLeaveEnded {
        ticket: Ticket,
        outcome: Result<(), ForceLeaveRefusal>,
    },
    FireEnded {
        ticket: Ticket,
        outcome: Result<(), FireRefusal>,
    },
    AskEnded {
        ticket: Ticket,
        outcome: Result<Answers, AskRefusal>,
    },
    /// Somebody fired it, or we did.
    UserEvent(UserEvent),
    /// A query that is meant for us and that nobody here answers.
    Query(Asked),
    /// A query about the pool's keys; [`Order::Respond`] answers it.
    KeyAsked {
        action: KeyAction,
        key: Vec<u8>,
        reply: ReplyTo,
    },
    /// Another has our name, and most members hold that it is its: we should not be here.
    Outvoted {
        matching: usize,
        responses: usize,
    },
    /// We have left: the driver may stop.
    Left,
    Remark(Remark),
}

/// For the log; nothing is decided by these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// A leave intent turned a failed member into one that left.
    ForcedOut {
        name: Name,
        address: SocketAddr,
    },
    ProbeFailed {
        name: Name,
    },
    /// Its host refuses streams and nobody reaches it: the process is gone.
    ProcessGone {
        name: Name,
    },
    /// Only the stream got through: packets are lost on the way.
    PacketsLost {
        name: Name,
    },
    DeclaredFailed {
        name: Name,
        confirmations: u32,
    },
    SuspectRefuted {
        from: String,
    },
    DeathRefuted {
        from: String,
    },
    AliveRefuted {
        name: Name,
    },
    LeaveRefuted,
    NameConflict {
        name: Name,
        /// Of whom we list; IDs are empty where a member tells none.
        ours: SocketAddr,
        ours_id: String,
        theirs: SocketAddr,
        theirs_id: String,
        is_us: bool,
    },
    /// Who has our name was asked: how many hold that it is we, of how many.
    Voted {
        matching: usize,
        responses: usize,
        lost: bool,
    },
    OldEvent {
        name: Name,
        ltime: u64,
        now: u64,
    },
    OldQuery {
        name: Name,
        ltime: u64,
        now: u64,
    },
    /// A filter that is none: the query is not for us.
    BadFilter {
        query: Name,
    },
    /// A query of serf's own that we do not know.
    UnknownQuery {
        name: Name,
    },
    PushPullStarted {
        with: SocketAddr,
    },
    /// What a peer told over a stream was not taken.
    MergeRefused {
        from: SocketAddr,
        reason: String,
    },
    PushPullFailed {
        with: SocketAddr,
        reason: String,
    },
    Reconnecting {
        name: Name,
        address: SocketAddr,
    },
    WrongPing {
        meant_for: String,
        from: SocketAddr,
    },
    /// Kept out of the pool.
    Rejected {
        name: Name,
        reason: String,
    },
}

/// What is to be done; the driver empties it after every call.
#[derive(Debug, Default)]
pub struct Output {
    pub packets: Vec<Packet>,
    pub dials: Vec<Dial>,
    pub replies: Vec<Reply>,
    pub notices: Vec<Notice>,
    /// What [`Swim::members`] tells is no longer what it was.
    pub members_changed: bool,
}

/// What was thrown away, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets or streams that no member of a pool would send.
    pub malformed: u64,
    /// Rumours given up for want of room.
    pub rumours_dropped: u64,
    /// Members, relays or intents not taken for want of room.
    pub refused: u64,
    /// States of peers that were not taken whole.
    pub merges_refused: u64,
    /// Alive messages of members that we cannot understand.
    pub incompatible: u64,
    /// Coordinates that no honest member would send.
    pub coordinates_rejected: u64,
    /// Members kept out by the rules of admission, however often they came.
    pub rejected: u64,
    /// User events and queries that were news.
    pub events: u64,
    pub queries: u64,
    /// Answers passed on for others.
    pub relayed: u64,
    /// Claims of a name that somebody else has.
    pub conflicts: u64,
}

/// Figures about the pool and our part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Our own health: 0 is well, 7 the worst.
    pub health_score: u8,
    /// Lamport times of members, user events and queries.
    pub member_time: u64,
    pub event_time: u64,
    pub query_time: u64,
    /// Rumours waiting to be told.
    pub intent_queue: usize,
    pub event_queue: usize,
    pub query_queue: usize,
    /// Grows when coordinates changed; at least 1.
    pub coordinate_index: u64,
    /// How often our own coordinate had to begin anew.
    pub coordinate_resets: u64,
    pub counters: Counters,
}

/// One pool as one member sees it.
#[derive(Debug)]
pub struct Swim {
    config: Config,
    me: Name,
    door: admission::Door,
    /// How we come to know what is being handled.
    source: Source,
    /// Everybody serf lists, ourselves included.
    members: OrdMap<Name, Member>,
    /// Everybody SWIM knows, ourselves included, in the order of probing.
    order: Vector<Name>,
    /// How many in `order` are dead or left, and how many in `members` failed.
    gone: usize,
    failed: usize,
    last_gone: Option<Moment>,
    incarnation: u32,
    last_seq: u32,
    dice: SmallRng,
    deadlines: Deadlines,
    broadcasts: broadcast::Broadcasts,
    awareness: awareness::Awareness,
    probe: probe::Probe,
    relays: relay::Relays,
    clock: lamport::Lamport,
    event_clock: lamport::Lamport,
    query_clock: lamport::Lamport,
    intents: intent::Recent,
    events: recent::Recent<user_event::Past>,
    queries: query::Queries,
    conflicts: internal::Conflicts,
    leave: leave::Phase,
    dials: BTreeMap<DialId, sync::Purpose>,
    last_dial: DialId,
    /// The failed member that was tried again last.
    last_redialled: Option<Name>,
    last_gossip: Option<Moment>,
    /// Place in `order` of who was told last.
    next_listener: usize,
    vivaldi: coordinate::Vivaldi,
    counters: Counters,
}

impl Swim {
    /// The pool's first member: tells in `out` that we joined.
    pub fn new(config: Config, now: Moment, seed: u64, out: &mut Output) -> Self {
        let mut swim = Self::bare(config, seed);
        let me = Name::clone(&swim.me);
        let meta = member::to_meta(&swim.config.tags);
        let ourselves =
            Alive { incarnation: 1, node: &me, address: swim.config.address, meta: &meta, versions: VERSIONS };
        swim.admit(now, &ourselves, out);
        swim
    }

    /// A member that `other` lists already and that knows whom `other` knows. What both know is held
    /// once: so a simulation has pools of thousands without a hundred million records.
    pub fn beside(other: &Self, config: Config, now: Moment, seed: u64) -> Self {
        let mut swim = Self {
            members: other.members.clone(),
            order: other.order.clone(),
            gone: other.gone,
            failed: other.failed,
            last_gone: other.last_gone,
            ..Self::bare(config, seed)
        };
        if let Some(us) = swim.members.get(&swim.me) {
            swim.incarnation = us.incarnation;
        }
        swim.next_listener = swim.roll(swim.order.len());
        swim.probe.begin_at(swim.next_listener);
        swim.schedule(now, &mut Output::default());
        swim
    }

    fn bare(config: Config, seed: u64) -> Self {
        Self {
            me: Name::from(config.name.as_str()),
            door: admission::Door::default(),
            source: Source::Own,
            members: OrdMap::new(),
            order: Vector::new(),
            gone: 0,
            failed: 0,
            last_gone: None,
            incarnation: 1,
            last_seq: 0,
            dice: SmallRng::seed_from_u64(seed),
            deadlines: Deadlines::default(),
            broadcasts: broadcast::Broadcasts::default(),
            awareness: awareness::Awareness::new(config.timing.awareness_max),
            probe: probe::Probe::default(),
            relays: relay::Relays::default(),
            clock: lamport::Lamport::new(),
            event_clock: lamport::Lamport::new(),
            query_clock: lamport::Lamport::new(),
            intents: intent::Recent::default(),
            events: user_event::recent(),
            queries: query::Queries::new(),
            conflicts: internal::Conflicts::default(),
            leave: leave::Phase::Staying,
            dials: BTreeMap::new(),
            last_dial: 0,
            last_redialled: None,
            last_gossip: None,
            next_listener: 0,
            vivaldi: coordinate::Vivaldi::default(),
            counters: Counters::default(),
            config,
        }
    }

    /// Lamport times of an earlier life, before anything is heard: what we say is newer than that.
    pub fn recall(&mut self, member: u64, event: u64, query: u64) {
        self.clock.witness(member);
        self.event_clock.witness(event);
        self.query_clock.witness(query);
        // What an earlier life has heard is not told again.
        self.events.min_time = event.saturating_add(1);
        self.queries.heard.min_time = query.saturating_add(1);
    }

    /// Takes one thing that happened and adds to `out` what follows from it.
    /// Deadlines that are due are met first.
    pub fn handle(&mut self, now: Moment, input: Input<'_>, out: &mut Output) {
        self.meet_deadlines(now, out);
        self.source = match input {
            Input::Packet { .. } => Source::Rumour,
            Input::Accepted { .. } | Input::Answered { .. } => Source::Exchange,
            Input::Wake | Input::Unanswered { .. } | Input::Order(_) => Source::Own,
        };
        match input {
            Input::Wake => {}
            Input::Packet { from, bytes } => self.hear(now, from, bytes, out),
            Input::Accepted { stream, from, bytes } => self.accept(now, stream, from, bytes, out),
            Input::Answered { dial, bytes } => self.answered(now, dial, bytes, out),
            Input::Unanswered { dial, reason, refused } => self.unanswered(now, dial, reason, refused, out),
            Input::Order(Order::Join { ticket, to }) => self.start_join(ticket, to, out),
            Input::Order(Order::SetCoordinate { name, coordinate }) => self.set_coordinate(&name, coordinate),
            Input::Order(Order::Leave) => self.start_leave(now, out),
            Input::Order(Order::ForceLeave { ticket, name, prune }) => {
                let outcome = self.force_leave(now, &name, prune, out);
                out.notices.push(Notice::ForceLeaveEnded { ticket, outcome });
            }
            Input::Order(Order::Fire { ticket, name, payload, coalesce }) => {
                let outcome = self.fire(&name, &payload, coalesce, out);
                out.notices.push(Notice::FireEnded { ticket, outcome });
            }
            Input::Order(Order::Ask { ticket, question }) => {
                if let Err(refusal) = self.ask(now, Asker::Order(ticket), &question, out) {
                    out.notices.push(Notice::AskEnded { ticket, outcome: Err(refusal) });
                }
            }
            Input::Order(Order::Respond { reply, payload }) => {
                self.respond(now, &reply, 0, &payload, out);
            }
        }
        self.schedule(now, out);
    }

    /// When [`Input::Wake`] is wanted next; none while nothing is awaited.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.next()
    }

    /// The member of that name, if it is listed.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// Every member listed, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub fn member_states(&self) -> Vec<MemberState> {
        self.members.values().map(|member| member.to_state(self.config.pool)).collect()
    }

    pub fn facts(&self) -> Facts {
        let waiting = |class| self.broadcasts.waiting(class);
        Facts {
            health_score: self.awareness.score(),
            member_time: self.clock.now(),
            event_time: self.event_clock.now(),
            query_time: self.query_clock.now(),
            intent_queue: waiting(broadcast::Class::Intent),
            event_queue: waiting(broadcast::Class::Event),
            query_queue: waiting(broadcast::Class::Query),
            coordinate_index: self.vivaldi.index,
            coordinate_resets: self.vivaldi.resets,
            counters: Counters {
                rumours_dropped: self.broadcasts.dropped,
                coordinates_rejected: self.vivaldi.rejected,
                refused: self.counters.refused + self.intents.refused,
                ..self.counters
            },
        }
    }

    fn meet_deadlines(&mut self, now: Moment, out: &mut Output) {
        self.source = Source::Own;
        while let Some(timer) = self.deadlines.pop(now) {
            match timer {
                Timer::Probe => self.step_probe(now, out),
                Timer::Redial => self.redial(now, out),
                Timer::Gossip => self.gossip(now, out),
                Timer::PushPull => self.start_compare(now, out),
                Timer::Suspicion(name) => self.confirm_failed(now, &name, out),
                Timer::Leaving(name) => self.leaving_expired(&name, out),
                Timer::Relay(seq) => self.relay_expired(seq, out),
                Timer::Reap => self.reap(now, out),
                Timer::Reconnect => self.reconnect(out),
                Timer::Leave => self.step_leave(now, out),
                Timer::Query(ltime) => self.query_ended(now, ltime, out),
            }
            self.schedule(now, out);
        }
    }
}
