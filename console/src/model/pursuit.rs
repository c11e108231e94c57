//! What comes of an order: asked, answered, seen to happen, ended. The end is what the members and
//! Raft show, not what was asked for.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::event::MemberStatus;
use shared::time::WallTime;

use super::mark::Mark;
use crate::msg::Act;
use crate::order::Order;

/// Pursuits kept; the oldest go first.
const KEPT_MAX: usize = 32;
const STEPS_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: WallTime,
    pub mark: Mark,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pursuit {
    pub id: u64,
    pub act: Act,
    /// The member it is about; of a join the address.
    pub subject: String,
    pub order: Order,
    /// The agent it went to.
    pub place: String,
    pub begun: WallTime,
    /// When it was answered with success.
    pub taken: Option<WallTime>,
    pub steps: Vec<Step>,
    pub ended: Option<WallTime>,
    /// What it was before.
    pub status_before: Option<MemberStatus>,
    pub was_in_raft: bool,
    pub members_before: usize,
    /// Who led before, as Raft's ID or by name, and in which term.
    #[serde(default)]
    pub leader_before: Option<String>,
    #[serde(default)]
    pub term_before: Option<u64>,
    /// When a seat was seen gone.
    #[serde(default)]
    pub gone: Option<WallTime>,
}

impl Pursuit {
    pub fn last(&self) -> Option<&Step> {
        self.steps.last()
    }

    /// Whether this was told already.
    pub fn has(&self, text: &str) -> bool {
        self.steps.iter().any(|step| step.text == text)
    }

    pub fn step(&mut self, at: WallTime, mark: Mark, text: String) {
        if self.steps.len() < STEPS_MAX {
            // What the members show may be dated before the answer came.
            let place = self.steps.partition_point(|step| step.at <= at);
            self.steps.insert(place, Step { at, mark, text });
        }
    }

    /// Nothing more is looked for; this is what came of it.
    pub fn end(&mut self, at: WallTime, mark: Mark, text: String) {
        let at = self.last().map_or(at, |last| at.max(last.at));
        self.steps.truncate(STEPS_MAX - 1);
        self.step(at, mark, text);
        self.ended = Some(at);
    }

    /// `force-leave srv-3`
    pub fn title(&self) -> String {
        let subject = &self.subject;
        match self.act {
            Act::Join => format!("join {subject}"),
            Act::Leave => format!("leave of {subject}"),
            Act::ForceLeave => format!("force-leave {subject}"),
            Act::Prune => format!("prune {subject}"),
            Act::Transfer => "transfer of the leadership".to_owned(),
            Act::Maintain => {
                let enables = matches!(self.order, Order::Maintain { enable: true, .. });
                let what = match &self.order {
                    Order::Maintain { service: Some(id), .. } => format!("{id} on {subject}"),
                    _ => subject.clone(),
                };
                format!("{} of {what}", if enables { "maintenance" } else { "end of the maintenance" })
            }
            Act::RemovePeer => format!("removal of {subject} from Raft"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pursuits {
    rows: VecDeque<Pursuit>,
    next_id: u64,
}

impl Pursuits {
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    pub fn begin(&mut self, pursuit: Pursuit) {
        self.next_id = pursuit.id + 1;
        if self.rows.len() >= KEPT_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(pursuit);
    }

    pub fn find(&self, id: u64) -> Option<&Pursuit> {
        self.rows.iter().find(|pursuit| pursuit.id == id)
    }

    pub fn find_mut(&mut self, id: u64) -> Option<&mut Pursuit> {
        self.rows.iter_mut().find(|pursuit| pursuit.id == id)
    }

    pub fn newest(&self) -> Option<&Pursuit> {
        self.rows.back()
    }

    /// Those whose end is not seen yet.
    pub fn open(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().filter(|pursuit| pursuit.ended.is_none()).map(|pursuit| pursuit.id)
    }
}
