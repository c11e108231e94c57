//! The way back in time: the messages that made the model what it is, some models on the way, and the
//! moments worth a step. A moment is rebuilt from the model before it and the messages between.
//!
//! Bounded by weight: what a large pool's answers and pictures take, fewer of them are kept.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::Model;
use super::journal::Kind;
use crate::msg::Msg;

/// Rows that the messages kept may carry in all, each counting one itself.
const WEIGHT_MAX: usize = 20_000;
/// Members and entries that the models kept may hold in all.
const MODELS_MAX: usize = 150_000;
/// Messages between two models.
const SPACING: u64 = 1_000;
const STEPS_MAX: usize = 10_000;

/// Which step back is on screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub at: WallTime,
    /// Steps between it and now.
    pub back: usize,
}

/// A message after which something was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub seq: u64,
    pub at: WallTime,
    pub kind: Kind,
    /// Another leader than before, or none.
    pub turns_leader: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    kept: VecDeque<Msg>,
    weight: usize,
    /// Of the first message kept.
    first: u64,
    /// Models with the number of the first message that is not in them.
    models: VecDeque<(u64, Box<Model>)>,
    pub steps: VecDeque<Step>,
}

impl History {
    /// Whether a message belongs to what can be stepped through.
    pub fn takes(msg: &Msg) -> bool {
        matches!(
            msg,
            Msg::Link { .. } | Msg::Event { .. } | Msg::Frame { .. } | Msg::Polled { .. } | Msg::Denied { .. }
        )
    }

    fn next(&self) -> u64 {
        self.first + u64::try_from(self.kept.len()).unwrap_or(u64::MAX)
    }

    /// A model is due before the next message.
    pub fn is_due(&self) -> bool {
        self.models.back().is_none_or(|(seq, _)| self.next() >= seq + SPACING)
    }

    pub fn keep_model(&mut self, model: Model) {
        let rows = model.members.count(shared::event::Pool::Lan)
            + model.journal.len()
            + model.checks.rows().len()
            + model.services.count()
            + model.instances.count()
            + 1;
        self.models.push_back((self.next(), Box::new(model)));
        while self.models.len() > 2 && self.models.len() * rows > MODELS_MAX {
            self.models.pop_front();
        }
        self.trim();
    }

    /// Keeps a message; its number.
    pub fn keep(&mut self, msg: Msg) -> u64 {
        self.weight += msg.weight();
        self.kept.push_back(msg);
        while self.weight > WEIGHT_MAX && self.models.len() > 1 {
            self.models.pop_front();
            self.trim();
        }
        self.next().saturating_sub(1)
    }

    pub fn keep_step(&mut self, step: Step) {
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    /// Messages before the oldest model lead nowhere, nor do their steps.
    fn trim(&mut self) {
        let Some(oldest) = self.models.front().map(|(seq, _)| *seq) else { return };
        while self.first < oldest {
            let Some(msg) = self.kept.pop_front() else { break };
            self.weight = self.weight.saturating_sub(msg.weight());
            self.first += 1;
        }
        while self.steps.front().is_some_and(|step| step.seq < oldest) {
            self.steps.pop_front();
        }
    }

    /// The newest model from before a message was taken, and the messages from there up to it.
    pub fn up_to(&self, seq: u64) -> Option<(&Model, impl Iterator<Item = &Msg>)> {
        let (from, model) = self.models.iter().rev().find(|(from, _)| *from <= seq)?;
        let skipped = usize::try_from(from.saturating_sub(self.first)).ok()?;
        let count = usize::try_from(seq + 1 - from).ok()?;
        Some((model, self.kept.iter().skip(skipped).take(count)))
    }
}
