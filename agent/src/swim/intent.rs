//! Serf's intents: that a member joins or leaves was meant, and in which order, by Lamport time.
//!
//! An intent about somebody we do not list yet is kept for a while and applied when it appears.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::event::{Cause, MemberEvent, MemberStatus};

use super::account::Before;
use super::broadcast::Class;
use super::codec::Message;
use super::deadlines::Timer;
use super::member::{Member, Name};
use super::wire::{self, Intent};
use super::{ForceLeaveRefusal, Notice, Output, Remark, Swim};
use crate::moment::Moment;

/// Intents kept for members to come, at most, and for how long. Serf keeps them five minutes.
const RECENT_MAX: usize = 4096;
const RECENT_KEPT: Duration = Duration::from_secs(300);

/// One that leaves is gone sooner than this, however slowly its good-bye is told.
pub(super) const LEAVING_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Kept {
    leaves: bool,
    ltime: u64,
    at: Moment,
}

/// The latest intent about each member we do not list.
#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: BTreeMap<Name, Kept>,
    /// Not kept for want of room.
    pub(super) refused: u64,
}

impl Recent {
    /// True when it is news.
    fn keep(&mut self, now: Moment, intent: &Intent<'_>) -> bool {
        if let Some(known) = self.kept.get(intent.node)
            && known.ltime >= intent.ltime
        {
            return false;
        }
        if self.kept.len() >= RECENT_MAX {
            self.kept.retain(|_, kept| now.since(kept.at) < RECENT_KEPT);
        }
        if self.kept.len() >= RECENT_MAX {
            self.refused += 1;
            return false;
        }
        self.kept.insert(Name::from(intent.node), Kept { leaves: intent.leaves, ltime: intent.ltime, at: now });
        true
    }

    /// Gives a new member what was said of it before it appeared.
    pub(super) fn apply(&mut self, member: &mut Member) {
        let Some(kept) = self.kept.remove(&member.name) else { return };
        if member.changed.since(kept.at) > RECENT_KEPT {
            return;
        }
        member.status_ltime = kept.ltime;
        if kept.leaves {
            member.status = MemberStatus::Leaving;
        }
    }
}

impl Swim {
    /// Takes an intent that was heard; passes it on when it is news.
    pub(super) fn on_intent(&mut self, now: Moment, intent: &Intent<'_>, out: &mut Output) {
        let news = if intent.leaves { self.on_leave(now, intent, out) } else { self.on_join(now, intent, out) };
        if news {
            self.spread_intent(intent);
        }
    }

    pub(super) fn spread_intent(&mut self, intent: &Intent<'_>) {
        let body = wire::write_intent(intent);
        self.broadcasts.push(Class::Intent, Some(Name::from(intent.node)), Message::User(&body).to_bytes());
    }

    pub(super) fn on_join(&mut self, now: Moment, intent: &Intent<'_>, out: &mut Output) -> bool {
        self.clock.witness(intent.ltime);
        let mut account = self.account(Some(intent.node));
        let Some(member) = self.members.get_mut(intent.node) else {
            return self.intents.keep(now, intent);
        };
        if intent.ltime <= member.status_ltime {
            return false;
        }
        if member.name == self.me && !self.leave.is_leaving() {
            // Somebody knows an intent about us that is not ours: one of an earlier life perhaps, by
            // which they may hold us to be leaving. A newer one of ours settles it.
            self.announce_join();
            return false;
        }
        member.status_ltime = intent.ltime;
        if member.status == MemberStatus::Leaving && !member.is_gone() {
            let before = Before::of(member);
            member.status = MemberStatus::Alive;
            before.compare(member, &mut account);
            out.members_changed = true;
            self.tell(intent.node, account, MemberEvent::Alive, out);
        }
        true
    }

    /// True when the intent should be passed on.
    pub(super) fn on_leave(&mut self, now: Moment, intent: &Intent<'_>, out: &mut Output) -> bool {
        self.clock.witness(intent.ltime);
        let mut account = self.account_of_order();
        let Some(member) = self.members.get_mut(intent.node) else {
            return self.intents.keep(now, intent);
        };
        if intent.ltime <= member.status_ltime {
            return false;
        }
        if member.name == self.me && !self.leave.is_leaving() {
            out.notices.push(Notice::Remark(Remark::LeaveRefuted));
            self.announce_join();
            return false;
        }
        member.status_ltime = intent.ltime;
        let (name, address) = (Name::clone(&member.name), member.address);
        let before = Before::of(member);
        match member.status {
            MemberStatus::Alive | MemberStatus::Suspect => {
                member.status = MemberStatus::Leaving;
                before.compare(member, &mut account);
                self.deadlines.arm(Timer::Leaving(name), now + LEAVING_MAX);
                out.members_changed = true;
                self.tell(intent.node, account, MemberEvent::Leaving, out);
                return true;
            }
            MemberStatus::Failed => {
                member.status = MemberStatus::Left;
                Self::forget_coordinate(&mut self.vivaldi, member);
                before.compare(member, &mut account);
                account.cause = Some(Cause::Forced);
                self.failed -= 1;
                out.members_changed = true;
                out.notices.push(Notice::Remark(Remark::ForcedOut { name: Name::clone(&name), address }));
                self.tell(&name, account, MemberEvent::Left, out);
            }
            MemberStatus::Leaving | MemberStatus::Left => {}
        }
        if intent.prune && name != self.me && self.members.get(&name).is_some_and(Member::is_gone) {
            self.drop_member(&name, Cause::Pruned, out);
            // Late echoes of older intents must not be news, or they would displace this one.
            self.intents.keep(now, &Intent { leaves: false, ..*intent });
            return true;
        }
        // Consul passes an intent on for the members it changes only.
        self.members.get(&name).is_some_and(|member| member.status == MemberStatus::Left)
    }

    /// It said that it leaves, or somebody said so of it, and it is still there: it stays.
    /// Consul leaves such a member in leaving for ever.
    pub(super) fn leaving_expired(&mut self, name: &Name, out: &mut Output) {
        let mut account = self.account(None);
        let Some(member) = self.members.get_mut(name) else { return };
        let before = Before::of(member);
        if member.status == MemberStatus::Leaving && !member.is_gone() && *name != self.me {
            member.status = MemberStatus::Alive;
            before.compare(member, &mut account);
            out.members_changed = true;
            self.tell(name, account, MemberEvent::Alive, out);
        }
    }

    /// Says that we are here and mean to be.
    pub(super) fn announce_join(&mut self) {
        let ltime = self.clock.now();
        self.clock.witness(ltime);
        let me = Name::clone(&self.me);
        let intent = Intent { leaves: false, ltime, node: &me, prune: false };
        if let Some(us) = self.members.get_mut(&me) {
            us.status_ltime = us.status_ltime.max(ltime);
        }
        self.spread_intent(&intent);
    }

    /// Turns a failed member into one that left; `prune` stops listing it.
    pub(super) fn force_leave(
        &mut self,
        now: Moment,
        name: &str,
        prune: bool,
        out: &mut Output,
    ) -> Result<(), ForceLeaveRefusal> {
        let member = self.members.get(name).ok_or(ForceLeaveRefusal::Unknown)?;
        if matches!(member.shown_status(), MemberStatus::Alive | MemberStatus::Suspect) {
            return Err(ForceLeaveRefusal::Alive);
        }
        let intent = Intent { leaves: true, ltime: self.clock.now(), node: name, prune };
        self.clock.advance();
        self.on_leave(now, &intent, out);
        self.spread_intent(&intent);
        Ok(())
    }
}
