//! Our own leaving: say that we mean it, say that we are gone, stay up until that has spread.

use shared::event::MemberStatus;

use super::broadcast::Class;
use super::codec::Doubt;
use super::deadlines::Timer;
use super::member::Name;
use super::wire::Intent;
use super::{Notice, Output, Swim};
use crate::moment::Moment;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Staying,
    /// The intent is being told.
    Intending,
    /// The death is being told.
    Dying,
    /// Told; others may still probe us.
    Spreading,
    Gone,
}

impl Phase {
    pub(super) fn is_leaving(self) -> bool {
        self != Self::Staying
    }
}

impl Swim {
    pub(super) fn start_leave(&mut self, now: Moment, out: &mut Output) {
        if self.leave == Phase::Gone {
            out.notices.push(Notice::Left);
        }
        if self.leave.is_leaving() {
            return;
        }
        self.leave = Phase::Intending;
        let me = Name::clone(&self.me);
        let intent = Intent { leaves: true, ltime: self.clock.advance(), node: &me, prune: false };
        self.on_leave(now, &intent, out);
        if self.live() > 1 {
            self.spread_intent(&intent);
            self.deadlines.arm(Timer::Leave, now + self.config.timing.leave_timeout);
        } else {
            self.step_leave(now, out);
        }
    }

    /// The step's time is over, or it was told as often as it should be.
    pub(super) fn step_leave(&mut self, now: Moment, out: &mut Output) {
        match self.leave {
            Phase::Staying | Phase::Gone => {}
            Phase::Intending => {
                self.leave = Phase::Dying;
                let me = Name::clone(&self.me);
                let incarnation = self.incarnation;
                self.on_dead(now, &Doubt { incarnation, node: &me, from: &me }, out);
                if self.has_live_peers() {
                    self.deadlines.arm(Timer::Leave, now + self.config.timing.leave_timeout);
                } else {
                    self.finish_leave(out);
                }
            }
            Phase::Dying => {
                self.leave = Phase::Spreading;
                self.deadlines.arm(Timer::Leave, now + self.config.timing.leave_propagate);
            }
            Phase::Spreading => self.finish_leave(out),
        }
    }

    fn finish_leave(&mut self, out: &mut Output) {
        self.leave = Phase::Gone;
        self.deadlines.disarm(&Timer::Leave);
        out.notices.push(Notice::Left);
    }

    /// Goes on as soon as the step's rumour needs no more telling, whichever packet told it last.
    pub(super) fn check_leave(&mut self, now: Moment, out: &mut Output) {
        let class = match self.leave {
            Phase::Intending => Class::Intent,
            Phase::Dying => Class::Membership,
            _ => return,
        };
        if !self.broadcasts.is_waiting(&(class, Name::clone(&self.me))) {
            self.step_leave(now, out);
        }
    }

    /// Somebody else is there, whether we still are or not.
    pub(super) fn has_live_peers(&self) -> bool {
        let ourselves = self.members.get(&self.me).is_some_and(|us| !us.is_gone());
        self.live() > usize::from(ourselves)
    }

    /// Nobody but us is left to hear anything.
    pub(super) fn is_left(&self) -> bool {
        self.members.get(&self.me).is_some_and(|us| us.status == MemberStatus::Left)
    }
}
