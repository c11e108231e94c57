//! What stands in a place: swim as it is, or swim with a flaw, by which the judge is judged.
//!
//! A flaw changes what goes in, what comes out or what is shown, so that swim itself knows nothing of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use agent::moment::Moment;
use agent::swim::codec::{Alive, Message};
use agent::swim::packet::{PACKET_BYTES_MAX, pack, unpack};
use agent::swim::{Input, Notice, Output, Packet, Swim};
use shared::event::{MemberEvent, MemberStatus};

/// A mistake that an implementation could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// What a suspect says for itself is not heard.
    IgnoresRefutations,
    /// Alive messages count whatever their incarnation.
    TakesOlderClaims,
    /// Somebody who left is shown as there again when a late alive message arrives.
    RevivesTheLeft,
    /// Whoever hears a suspicion refutes it, in the name of the suspect.
    RefutesForOthers,
    /// Rumours are told for ever.
    TellsForEver,
    /// Packets are filled beyond what a network carries whole.
    FillsTooFull,
    /// Members that are not known are not learnt of.
    LearnsNobody,
    /// It wants to be woken again and again for nothing.
    WakesForNothing,
}

/// A member as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) incarnation: u32,
    pub(crate) status: MemberStatus,
    pub(crate) address: SocketAddr,
    /// Since when it is there, suspect or gone.
    pub(crate) changed: Moment,
}

pub(crate) struct Machine {
    pub(crate) swim: Swim,
    flaw: Option<Flaw>,
    /// What a flaw shows instead.
    shown: BTreeMap<String, Seen>,
    told: Vec<Packet>,
    now: Moment,
}

impl Machine {
    pub(crate) fn new(swim: Swim, flaw: Option<Flaw>) -> Self {
        Self { swim, flaw, shown: BTreeMap::new(), told: Vec::new(), now: Moment::default() }
    }

    pub(crate) fn handle(&mut self, now: Moment, input: Input<'_>, out: &mut Output) {
        self.now = now;
        match self.flaw {
            None => self.swim.handle(now, input, out),
            Some(flaw) => self.mishandle(flaw, now, input, out),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let next = self.swim.next_deadline();
        if self.flaw == Some(Flaw::WakesForNothing) && next.is_some() { Some(self.now) } else { next }
    }

    pub(crate) fn look(&self, name: &str) -> Option<Seen> {
        if let Some(seen) = self.shown.get(name) {
            return Some(*seen);
        }
        self.swim.member(name).map(|member| Seen {
            incarnation: member.incarnation,
            status: member.shown_status(),
            address: member.address,
            changed: member.changed,
        })
    }

    fn mishandle(&mut self, flaw: Flaw, now: Moment, input: Input<'_>, out: &mut Output) {
        match input {
            Input::Packet { from, bytes } => {
                let mut parts = Vec::new();
                let _ = unpack(bytes, &mut |bare| parts.push(bare.to_vec()));
                parts.retain(|part| Message::read(part).is_ok_and(|message| self.lets_in(flaw, &message, out)));
                if !parts.is_empty() {
                    self.swim.handle(now, Input::Packet { from, bytes: &pack(&parts, true) }, out);
                }
            }
            Input::Answered { dial, .. } if flaw == Flaw::LearnsNobody => {
                let reason = "not listened to".to_owned();
                self.swim.handle(now, Input::Unanswered { dial, reason, refused: false }, out);
            }
            input => self.swim.handle(now, input, out),
        }
        self.spoil(flaw, out);
    }

    /// False: the message is not heard.
    fn lets_in(&mut self, flaw: Flaw, message: &Message<'_>, out: &mut Output) -> bool {
        match (flaw, message) {
            (Flaw::IgnoresRefutations, Message::Alive(alive)) => {
                self.swim.member(alive.node).is_none_or(|member| member.shown_status() != MemberStatus::Suspect)
            }
            (Flaw::LearnsNobody, Message::Alive(alive)) => self.swim.member(alive.node).is_some(),
            (Flaw::TakesOlderClaims, Message::Alive(alive)) => {
                self.show(alive, |seen| alive.incarnation < seen.incarnation);
                true
            }
            (Flaw::RevivesTheLeft, Message::Alive(alive)) => {
                self.show(alive, |seen| seen.status == MemberStatus::Left);
                true
            }
            (Flaw::RefutesForOthers, Message::Suspect(doubt)) => {
                if let Some(member) = self.swim.member(doubt.node) {
                    let alive = Alive {
                        incarnation: member.incarnation + 1,
                        node: doubt.node,
                        address: member.address,
                        meta: &member.meta,
                        versions: member.versions,
                    };
                    let bytes = pack(&[Message::Alive(alive).to_bytes()], true);
                    let others = self.swim.members().map(|other| other.address);
                    out.packets.extend(others.map(|to| Packet { to, bytes: bytes.clone() }));
                }
                true
            }
            _ => true,
        }
    }

    /// Shows what the message claims of a member, when it should not.
    fn show(&mut self, alive: &Alive<'_>, wrongly: impl Fn(&Seen) -> bool) {
        if let Some(seen) = self.look(alive.node).filter(wrongly) {
            let seen = Seen { incarnation: alive.incarnation, status: MemberStatus::Alive, ..seen };
            self.shown.insert(alive.node.to_owned(), seen);
        }
    }

    fn spoil(&mut self, flaw: Flaw, out: &mut Output) {
        for notice in &out.notices {
            if let Notice::Member(MemberEvent::Rejoined(news) | MemberEvent::Failed(news)) = notice {
                self.shown.remove(&news.state.name);
            }
        }
        match flaw {
            Flaw::TellsForEver => {
                self.told.extend(out.packets.iter().cloned());
                self.told.truncate(8);
                out.packets.extend(self.told.iter().cloned());
            }
            Flaw::FillsTooFull => {
                out.packets.iter_mut().for_each(|packet| packet.bytes.resize(PACKET_BYTES_MAX + 1, 0))
            }
            _ => {}
        }
    }
}
