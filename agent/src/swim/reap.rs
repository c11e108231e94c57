//! Members that are gone: gossiped to for a while, forgotten by SWIM, redialled, and in the end
//! no longer listed. No timer runs while nobody is gone.

use shared::event::{Account, Cause, MemberEvent, MemberNews, MemberStatus};

use super::deadlines::Timer;
use super::member::{Member, Name};
use super::sync::Purpose;
use super::timing::Timing;
use super::{Notice, Output, Remark, Swim};
use crate::moment::Moment;

impl Swim {
    pub(super) fn expect_reaping(&mut self, at: Moment) {
        if self.deadlines.at(&Timer::Reap).is_none_or(|armed| at < armed) {
            self.deadlines.arm(Timer::Reap, at);
        }
    }

    pub(super) fn reap(&mut self, now: Moment, out: &mut Output) {
        let timing = self.config.timing.clone();
        let gone: Vec<Name> = self
            .members
            .values()
            .filter(|member| member.is_gone() && member.name != self.me)
            .map(|member| Name::clone(&member.name))
            .collect();
        for name in gone {
            let Some(member) = self.members.get_mut(&name) else { continue };
            if !member.forgotten && now >= member.changed + timing.gossip_to_the_dead {
                member.forgotten = true;
                self.gone -= 1;
                self.order.retain(|known| *known != name);
            }
            let Some(member) = self.members.get(&name) else { continue };
            if now >= kept_until(member, &timing) {
                self.drop_member(&name, Cause::Expired, out);
            } else {
                let next = if member.forgotten {
                    kept_until(member, &timing)
                } else {
                    member.changed + timing.gossip_to_the_dead
                };
                self.expect_reaping(next);
            }
        }
    }

    /// Lists a member that is gone no longer.
    pub(super) fn drop_member(&mut self, name: &Name, cause: Cause, out: &mut Output) {
        let Some(mut member) = self.members.remove(name) else { return };
        Self::forget_coordinate(&mut self.vivaldi, &mut member);
        if member.status == MemberStatus::Failed {
            self.failed -= 1;
        }
        if !member.forgotten {
            self.gone -= 1;
            self.order.retain(|known| known != name);
        }
        self.broadcasts_about(name);
        out.members_changed = true;
        let account = Account { cause: Some(cause), ..self.account_of_order() };
        let state = member.to_state(self.config.pool);
        out.notices.push(Notice::Member(MemberEvent::Reaped(MemberNews { state, account })));
    }

    /// Tries one failed member again, the more likely the more there are. Each in its turn: one that lives may
    /// have nobody else to come back by, and a draw could pass it over for many minutes.
    pub(super) fn reconnect(&mut self, out: &mut Output) {
        let failed: Vec<Name> = self
            .members
            .values()
            .filter(|member| member.status == MemberStatus::Failed)
            .map(|member| Name::clone(&member.name))
            .collect();
        if failed.is_empty() {
            return;
        }
        let there = self.live().max(1);
        if self.roll(there) >= failed.len() {
            return;
        }
        let turn = match &self.last_redialled {
            Some(last) => failed.partition_point(|name| name <= last) % failed.len(),
            // So that not everybody begins with the same one.
            None => self.roll(failed.len()),
        };
        let name = Name::clone(&failed[turn]);
        let Some(member) = self.members.get(&name) else { return };
        let address = member.address;
        self.last_redialled = Some(Name::clone(&name));
        out.notices.push(Notice::Remark(Remark::Reconnecting { name, address }));
        self.dial_push_pull(address, true, Purpose::Reconnect, out);
    }
}

fn kept_until(member: &Member, timing: &Timing) -> Moment {
    let kept = if member.status == MemberStatus::Left { timing.left_kept } else { timing.failed_kept };
    member.changed + kept
}
