//! Who overrides whom: what an alive, suspect or dead message does to what we know.
//!
//! A claim counts when it is newer (a higher incarnation), or as new and worse. Claims against
//! ourselves are refuted with an incarnation that beats them, unless we are leaving.
//! Only this file changes a member's SWIM state.

use shared::event::{Cause, MemberEvent, MemberStatus};

use super::account::{self, Before};
use super::broadcast::Class;
use super::codec::{Alive, Doubt, Message, State};
use super::deadlines::Timer;
use super::intent::LEAVING_MAX;
use super::member::{Member, Name};
use super::suspicion::{self, Suspicion};
use super::versions;
use super::{Notice, Output, Remark, Swim};
use crate::moment::Moment;

/// Members listed, at most.
const MEMBERS_MAX: usize = 1 << 17;

/// What an alive message about a member we list amounts to.
enum Claim {
    Stale,
    Conflict,
    News,
}

impl Swim {
    /// Members that are there, ourselves included.
    pub(super) fn live(&self) -> usize {
        self.order.len() - self.gone
    }

    pub(super) fn on_alive(&mut self, now: Moment, alive: &Alive<'_>, out: &mut Output) {
        if !self.may_enter(now, alive, out) {
            return;
        }
        if alive.node == &*self.me {
            self.on_alive_about_us(now, alive, out);
            return;
        }
        if !versions::is_speakable(alive.versions) {
            self.counters.incompatible += 1;
            return;
        }
        let Some(member) = self.members.get(alive.node) else {
            if self.members.len() >= MEMBERS_MAX {
                self.counters.refused += 1;
                return;
            }
            self.rumour(alive.node, &Message::Alive(*alive));
            self.admit(now, alive, out);
            return;
        };
        let name = Name::clone(&member.name);
        match self.weigh_alive(now, member, alive) {
            Claim::Stale => {}
            Claim::Conflict => {
                self.on_conflict(now, &name, alive, out);
            }
            Claim::News => {
                self.rumour(alive.node, &Message::Alive(*alive));
                self.renew(now, &name, alive, out);
            }
        }
    }

    fn weigh_alive(&self, now: Moment, member: &Member, alive: &Alive<'_>) -> Claim {
        if member.forgotten {
            return Claim::News;
        }
        if alive.address != member.address {
            let long_dead = member.state == State::Dead && now.since(member.changed) >= self.config.timing.dead_reclaim;
            return match member.state {
                State::Left => Claim::News,
                State::Dead if long_dead => Claim::News,
                _ => Claim::Conflict,
            };
        }
        if alive.incarnation > member.incarnation { Claim::News } else { Claim::Stale }
    }

    fn on_alive_about_us(&mut self, now: Moment, alive: &Alive<'_>, out: &mut Output) {
        let Some(us) = self.members.get(&self.me) else { return };
        if self.leave.is_leaving() || alive.incarnation < us.incarnation {
            return;
        }
        let name = Name::clone(&self.me);
        if alive.address != us.address {
            self.on_conflict(now, &name, alive, out);
            return;
        }
        let same = alive.meta == &*us.meta && alive.versions == us.versions;
        if same && alive.incarnation == us.incarnation {
            return;
        }
        out.notices.push(Notice::Remark(Remark::AliveRefuted { name }));
        self.refute(alive.incarnation, None, out);
    }

    /// Lists somebody for the first time.
    pub(super) fn admit(&mut self, now: Moment, alive: &Alive<'_>, out: &mut Output) {
        let mut member = Member::new(alive, now);
        self.intents.apply(&mut member);
        let name = Name::clone(&member.name);
        if member.status == MemberStatus::Leaving {
            self.deadlines.arm(Timer::Leaving(Name::clone(&name)), now + LEAVING_MAX);
        }
        self.members.insert(Name::clone(&name), member);
        self.enter_order(Name::clone(&name));
        out.members_changed = true;
        self.tell(&name, self.account(Some(&name)), MemberEvent::Joined, out);
    }

    /// Somewhere in the order of probing, so that two agents do not probe in step.
    fn enter_order(&mut self, name: Name) {
        self.order.push_back(name);
        let last = self.order.len() - 1;
        let place = self.roll(self.order.len());
        self.order.swap(place, last);
    }

    /// Takes what a listed member says of itself.
    fn renew(&mut self, now: Moment, name: &Name, alive: &Alive<'_>, out: &mut Output) {
        let mut account = self.account(Some(name));
        self.deadlines.disarm(&Timer::Suspicion(Name::clone(name)));
        let Some(member) = self.members.get_mut(name) else { return };
        let (was_forgotten, was_gone) = (member.forgotten, member.is_gone());
        let was_failed = member.status == MemberStatus::Failed;
        let differs = member.address != alive.address || *member.meta != *alive.meta;
        let was_suspect = member.state == State::Suspect;
        let before = Before::of(member);
        if let Some(suspicion) = &member.suspicion {
            account::doubted(now, suspicion, &mut account);
        }
        member.address = alive.address;
        if differs {
            member.meta = alive.meta.into();
        }
        let speaks_otherwise = std::mem::replace(&mut member.versions, alive.versions) != alive.versions;
        member.incarnation = alive.incarnation;
        member.suspicion = None;
        member.forgotten = false;
        if member.state != State::Alive {
            member.state = State::Alive;
            member.changed = now;
        }
        if was_gone {
            member.status = MemberStatus::Alive;
        }
        before.compare(member, &mut account);
        if was_forgotten {
            self.enter_order(Name::clone(name));
        } else if was_gone {
            self.gone -= 1;
        }
        if was_failed {
            self.failed -= 1;
        }
        out.members_changed |= was_gone || was_suspect || differs || speaks_otherwise;
        if was_gone {
            self.tell(name, account, MemberEvent::Rejoined, out);
            return;
        }
        if was_suspect {
            self.tell(name, account.clone(), MemberEvent::Refuted, out);
        }
        if differs {
            self.tell(name, account, MemberEvent::Updated, out);
        }
    }

    pub(super) fn on_suspect(&mut self, now: Moment, doubt: &Doubt<'_>, out: &mut Output) {
        let live = self.live();
        let mut account = self.account(Some(doubt.from));
        self.end_older_doubt(now, doubt, out);
        let timing = &self.config.timing;
        let Some(member) = self.members.get_mut(doubt.node) else { return };
        if member.forgotten || doubt.incarnation < member.incarnation {
            return;
        }
        if let Some(suspicion) = &mut member.suspicion {
            if suspicion.confirm(doubt.from) {
                let at = suspicion.deadline();
                account::doubted(now, suspicion, &mut account);
                account.fails_in_ms = Some(account::millis(at.since(now)));
                self.deadlines.arm(Timer::Suspicion(Name::clone(&member.name)), at.max(now));
                self.rumour(doubt.node, &Message::Suspect(*doubt));
                self.tell(doubt.node, account, MemberEvent::Confirmed, out);
            }
            return;
        }
        if member.state != State::Alive {
            return;
        }
        if member.name == self.me {
            if self.leave.is_leaving() {
                return;
            }
            out.notices.push(Notice::Remark(Remark::SuspectRefuted { from: doubt.from.to_owned() }));
            self.refute(doubt.incarnation, Some(doubt.from), out);
            return;
        }
        // Who is suspected and who suspects cannot confirm; fewer others than wanted: none is awaited.
        let wanted = timing.suspicion_multiplier.saturating_sub(2);
        let expected = if live.saturating_sub(2) < wanted as usize { 0 } else { wanted };
        let min = suspicion::shortest(timing.suspicion_multiplier, live, timing.probe_interval);
        let max = min * timing.suspicion_multiplier_max;
        let suspicion = Suspicion::new(now, Name::from(doubt.from), min, max, expected);
        self.deadlines.arm(Timer::Suspicion(Name::clone(&member.name)), suspicion.deadline());
        account::doubted(now, &suspicion, &mut account);
        account.fails_in_ms = Some(account::millis(suspicion.deadline().since(now)));
        let before = Before::of(member);
        member.suspicion = Some(Box::new(suspicion));
        member.incarnation = doubt.incarnation;
        member.state = State::Suspect;
        member.changed = now;
        before.compare(member, &mut account);
        out.members_changed = true;
        self.rumour(doubt.node, &Message::Suspect(*doubt));
        self.tell(doubt.node, account, MemberEvent::Suspected, out);
    }

    /// Who is doubted with a newer incarnation than we doubt has refuted our doubt: whoever says so heard
    /// it, and we did not yet. Neither our time nor our doubters count against what it claims since.
    fn end_older_doubt(&mut self, now: Moment, newer: &Doubt<'_>, out: &mut Output) {
        let mut account = self.account(Some(newer.node));
        let Some(member) = self.members.get_mut(newer.node) else { return };
        if newer.incarnation <= member.incarnation {
            return;
        }
        let before = Before::of(member);
        let Some(suspicion) = member.suspicion.take() else { return };
        account::doubted(now, &suspicion, &mut account);
        member.incarnation = newer.incarnation;
        member.state = State::Alive;
        member.changed = now;
        before.compare(member, &mut account);
        self.deadlines.disarm(&Timer::Suspicion(Name::clone(&member.name)));
        self.tell(newer.node, account, MemberEvent::Refuted, out);
    }

    /// Nobody refuted in time.
    pub(super) fn confirm_failed(&mut self, now: Moment, name: &Name, out: &mut Output) {
        let Some(member) = self.members.get(name) else { return };
        let (State::Suspect, Some(suspicion)) = (member.state, &member.suspicion) else { return };
        let confirmations = suspicion.confirmations();
        let incarnation = member.incarnation;
        out.notices.push(Notice::Remark(Remark::DeclaredFailed { name: Name::clone(name), confirmations }));
        let me = Name::clone(&self.me);
        self.bury(now, &Doubt { incarnation, node: name, from: &me }, Cause::Silent, out);
    }

    pub(super) fn on_dead(&mut self, now: Moment, doubt: &Doubt<'_>, out: &mut Output) {
        let cause = if doubt.node == doubt.from { Cause::Goodbye } else { Cause::Told };
        self.bury(now, doubt, cause, out);
    }

    pub(super) fn bury(&mut self, now: Moment, doubt: &Doubt<'_>, cause: Cause, out: &mut Output) {
        let mut account = self.account(Some(doubt.from));
        account.cause = Some(cause);
        let Some(member) = self.members.get_mut(doubt.node) else { return };
        if member.forgotten || doubt.incarnation < member.incarnation || member.is_gone() {
            return;
        }
        if member.name == self.me && !self.leave.is_leaving() {
            out.notices.push(Notice::Remark(Remark::DeathRefuted { from: doubt.from.to_owned() }));
            self.refute(doubt.incarnation, Some(doubt.from), out);
            return;
        }
        let left = doubt.node == doubt.from;
        let name = Name::clone(&member.name);
        let before = Before::of(member);
        if let Some(suspicion) = member.suspicion.take() {
            account::doubted(now, &suspicion, &mut account);
        }
        member.incarnation = doubt.incarnation;
        member.state = if left { State::Left } else { State::Dead };
        member.changed = now;
        // A member that says so itself has left, even when its intent was lost on the way.
        let meant = left || member.status == MemberStatus::Leaving;
        member.status = if meant { MemberStatus::Left } else { MemberStatus::Failed };
        before.compare(member, &mut account);
        if meant {
            Self::forget_coordinate(&mut self.vivaldi, member);
        }
        self.gone += 1;
        self.last_gone = Some(now);
        self.deadlines.disarm(&Timer::Suspicion(Name::clone(&name)));
        self.deadlines.disarm(&Timer::Leaving(name));
        out.members_changed = true;
        if meant {
            self.tell(doubt.node, account, MemberEvent::Left, out);
        } else {
            self.failed += 1;
            self.tell(doubt.node, account, MemberEvent::Failed, out);
        }
        self.rumour(doubt.node, &Message::Dead(*doubt));
        self.expect_reaping(now + self.config.timing.gossip_to_the_dead);
    }

    /// Says again that we are alive, in a way that beats the accusation.
    fn refute(&mut self, accused: u32, accuser: Option<&str>, out: &mut Output) {
        self.incarnation = self.incarnation.max(accused).saturating_add(1);
        self.awareness.change(1);
        let me = Name::clone(&self.me);
        let Some(us) = self.members.get_mut(&me) else { return };
        us.incarnation = self.incarnation;
        let bytes = Message::Alive(us.to_alive()).to_bytes();
        self.broadcasts.push(Class::Membership, Some(Name::clone(&me)), bytes);
        out.members_changed = true;
        self.tell(&me, self.account(accuser), MemberEvent::Refuted, out);
    }

    fn rumour(&mut self, about: &str, message: &Message<'_>) {
        self.broadcasts.push(Class::Membership, Some(Name::from(about)), message.to_bytes());
    }
}
