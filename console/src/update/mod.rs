//! How a message changes the model, and what the runtime must do next.
//!
//! `event` takes our agents' stream, `polled` what Consul's API answers, `fact` what a log line
//! shows; all end in the same model. `action` is what keys mean, `settle` brings lists up to date.

mod action;
mod catalog;
mod copy;
mod dialog;
mod event;
mod fact;
mod handover;
mod link;
mod member;
pub mod monitor;
mod names;
mod past;
mod polled;
mod pursue;
mod recovery;
mod settle;
mod story;
mod upkeep;

use crate::model::Model;
use crate::msg::{Action, Effect, LaneId, Msg};

pub use settle::settle;

/// The one way the model changes. Total: no message is an error.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Act(Action::Leap(leap)) => {
            past::leap(model, leap);
            model.dirty = true;
            Vec::new()
        }
        Msg::Act(action) => match &mut model.past {
            // In the past one can look around; nothing that is asked for there reaches anybody.
            Some(past) => {
                let mut effects = action::act(past, action);
                effects.retain(|effect| matches!(effect, Effect::Quit | Effect::Suspend | Effect::Copy(_)));
                model.dirty = true;
                effects
            }
            None => action::act(model, action),
        },
        Msg::Resize { width, height } => {
            (model.width, model.height) = (width, height);
            if let Some(past) = &mut model.past {
                (past.width, past.height) = (width, height);
            }
            model.dirty = true;
            Vec::new()
        }
        msg => {
            past::keep(model, msg);
            Vec::new()
        }
    }
}

/// What came from outside, into the model.
fn take(model: &mut Model, msg: Msg) {
    model.dirty |= match msg {
        Msg::Tick { now } => tick(model, now),
        Msg::Act(_) | Msg::Resize { .. } => true,
        Msg::Link { lane, at, link } => link::link(model, lane, at, link),
        Msg::Heard { lane, at, rtt_us } => link::heard(model, lane, at, rtt_us),
        Msg::Event { lane, at, event } => match news(model, lane, at) {
            true => event::event(model, lane, at, *event),
            false => event::aside(model, at, *event),
        },
        Msg::Frame { lane, at, frame } => news(model, lane, at) && event::frame(model, at, frame),
        Msg::Polled { lane, at, polled } => news(model, lane, at) && polled::polled(model, lane, at, polled),
        Msg::Denied { lane, at, source, denial } => news(model, lane, at) && polled::denied(model, source, denial),
        Msg::Ordered { id, at, took_us, outcome } => pursue::ordered(model, id, at, took_us, &outcome),
        Msg::Tricked { at, node, done, fates } => dialog::tricked(model, at, &node, done, fates),
        Msg::Saved { at, done } => recovery::saved(model, at, done),
        Msg::Probed { at, probe, seen } => {
            model.now = model.now.max(at);
            dialog::probed(model, &probe, seen)
        }
    };
}

/// Notes that a lane was heard; whether its news belongs on screen.
fn news(model: &mut Model, lane: LaneId, at: shared::time::WallTime) -> bool {
    model.now = model.now.max(at);
    if let Some(lane) = model.lane_mut(lane) {
        lane.heard = Some(at);
    }
    lane == model.active
}

/// True when the second on the clock is another one: nothing on screen ages faster.
fn tick(model: &mut Model, now: shared::time::WallTime) -> bool {
    let before = model.now.micros().div_euclid(1_000_000);
    model.now = now;
    model.raft.sample(now);
    if model.is_live() {
        model.raft.contacts.sample(now, &model.servers);
    }
    event::take_asides(model, now);
    before != now.micros().div_euclid(1_000_000)
}
