//! What each action does to the model, and what it asks of the runtime.

use shared::event::Level;

use super::{copy, dialog, recovery};
use crate::model::listing::{Listing, SortKey};
use crate::model::mark::Mark;
use crate::model::panes::{self, Pane};
use crate::model::{Model, Overlay, Remark};
use crate::msg::{Action, Copied, Effect, LaneId, Motion, Screen, Span};

pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    model.dirty = true;
    model.remark = None;
    match action {
        Action::Show(screen) => {
            model.screen = screen;
            model.dialog = None;
            model.overlay = Overlay::None;
            model.zoomed = false;
        }
        Action::NextPane => turn_pane(model, 1),
        Action::PreviousPane => turn_pane(model, -1),
        Action::Move(motion) => go(model, motion),
        Action::Open => open(model),
        Action::Back => back(model),
        Action::FilterOpen | Action::FilterPut(_) | Action::FilterErase | Action::FilterWipe | Action::FilterKeep => {
            filter(model, action)
        }
        Action::SortNext | Action::SortReverse => sort(model, action),
        Action::Copy(what) => return copied(model, what),
        Action::Freeze if model.journal.follow => model.journal.freeze(),
        Action::Freeze | Action::Follow => model.journal.follow(),
        Action::LevelNext => return level(model),
        Action::KindsNext => {
            model.journal.kinds = model.journal.kinds.next();
            model.journal.choose();
        }
        Action::Zoom => model.zoomed = !model.zoomed,
        Action::Refresh => return vec![Effect::Refresh(model.active)],
        Action::OtherAgent => return other_agent(model),
        Action::Ask(act) => return dialog::ask(model, act),
        Action::Dialog(stroke) => return dialog::stroke(model, stroke),
        // Seen to before this: the present and the past are told apart there.
        Action::Leap(_) => {}
        Action::Impact => show(model, if model.overlay == Overlay::Impact { Overlay::None } else { Overlay::Impact }),
        Action::Recovery => {
            show(model, if model.overlay == Overlay::Recovery { Overlay::None } else { Overlay::Recovery });
        }
        Action::Save => return recovery::save(model),
        Action::Span(span) => {
            let all = model.raft.timeline.all_us(model.now);
            model.span.turn(span == Span::Closer, all);
        }
        Action::Trick(trick) => return dialog::trick(model, trick),
        Action::Help => show(model, if model.overlay == Overlay::Help { Overlay::None } else { Overlay::Help }),
        Action::Quit => return quit(model),
        Action::Close => return vec![Effect::Quit],
        Action::Suspend => return vec![Effect::Suspend],
    }
    Vec::new()
}

fn show(model: &mut Model, overlay: Overlay) {
    model.overlay = overlay;
    model.overlay_top = 0;
}

fn turn_pane(model: &mut Model, by: isize) {
    // Its two panes are the two pools, one at a time.
    if model.screen == Screen::Members {
        return model.members.turn_pool();
    }
    let panes = panes::of(model.screen, model.room()).len();
    let at = model.focus.get(&model.screen).copied().unwrap_or(0).min(panes - 1);
    let at = at.saturating_add_signed(by + isize::try_from(panes).unwrap_or(1)) % panes;
    model.focus.insert(model.screen, at);
}

fn go(model: &mut Model, motion: Motion) {
    if model.overlay != Overlay::None {
        let page = usize::from(model.body().max(2)) / 2;
        model.overlay_top = match motion {
            Motion::Up => model.overlay_top.saturating_sub(1),
            Motion::Down => model.overlay_top + 1,
            Motion::PageUp | Motion::HalfUp => model.overlay_top.saturating_sub(page),
            Motion::PageDown | Motion::HalfDown => model.overlay_top + page,
            Motion::Top => 0,
            Motion::End => usize::MAX / 2,
        };
        return;
    }
    match model.pane() {
        Pane::Servers | Pane::Replication => {
            let rows = &model.servers;
            model.raft.list.go(motion, rows.len(), |at| rows.get(at).map(|row| row.id.clone()));
        }
        Pane::Attention => {
            let rows = &model.attention.rows;
            let key = |at: usize| rows.get(at).map(|row| (row.what.clone(), row.subject.clone()));
            model.attention.list.go(motion, rows.len(), key);
        }
        Pane::Checks => {
            let rows = model.checks.rows();
            let (len, keys) = (rows.len(), |at: usize| rows.get(at).map(|row| (row.node.clone(), row.id.clone())));
            let mut list = model.checks.list.clone();
            list.go(motion, len, keys);
            model.checks.list = list;
        }
        Pane::Members => model.members.go(motion),
        Pane::Elections => {
            let (len, mut list) = (model.raft.elections.len(), model.raft.elections.list.clone());
            list.go(motion, len, |at| model.raft.elections.shown_at(at).map(|row| row.key()));
            model.raft.elections.list = list;
        }
        Pane::Services => model.services.go(motion),
        Pane::Instances => model.instances.go(motion),
        Pane::Journal => model.journal.go(motion),
        Pane::Recent => {}
    }
}

/// Enter: the selected row whole; from the Overview's events, the Events screen.
fn open(model: &mut Model) {
    let is_row = match model.pane() {
        Pane::Recent => {
            model.screen = Screen::Events;
            return;
        }
        Pane::Servers | Pane::Replication => !model.servers.is_empty(),
        Pane::Attention => model.attention.selected().is_some(),
        Pane::Checks => model.checks.selected().is_some(),
        Pane::Members => model.members.selected().is_some(),
        // Its instances are what there is of a service.
        Pane::Services => {
            if model.services.selected().is_some() {
                model.focus.insert(Screen::Services, 1);
            }
            return;
        }
        Pane::Instances => model.instances.selected().is_some(),
        Pane::Elections => model.raft.elections.selected().is_some(),
        Pane::Journal => {
            if model.journal.follow && model.journal.selected().is_some() {
                model.journal.freeze();
            }
            model.journal.selected().is_some()
        }
    };
    if is_row {
        show(model, Overlay::Detail);
    }
}

fn back(model: &mut Model) {
    if model.dialog.is_some() {
        return dialog::close(model);
    }
    if model.overlay != Overlay::None {
        return show(model, Overlay::None);
    }
    if let Some(filter) = model.filter_mut()
        && (filter.open || filter.is_active() || !filter.text.is_empty())
    {
        filter.open = false;
        filter.wipe();
        return refilter(model);
    }
    if model.zoomed {
        model.zoomed = false;
    } else if model.pane() == Pane::Instances {
        model.focus.insert(Screen::Services, 0);
    }
}

fn filter(model: &mut Model, action: Action) {
    let Some(filter) = model.filter_mut() else { return };
    match action {
        Action::FilterOpen => filter.open = true,
        Action::FilterKeep => filter.open = false,
        Action::FilterPut(c) => filter.put(c),
        Action::FilterErase => filter.erase(),
        _ => filter.wipe(),
    }
    if !matches!(action, Action::FilterOpen | Action::FilterKeep) {
        refilter(model);
    }
}

fn refilter(model: &mut Model) {
    match model.screen {
        Screen::Members => model.members.listing.disorder(),
        Screen::Services if model.pane() == Pane::Instances => model.instances.listing.disorder(),
        Screen::Services => model.services.listing.disorder(),
        Screen::Events => model.journal.choose(),
        Screen::Overview | Screen::Raft => {}
    }
}

fn sort(model: &mut Model, action: Action) {
    match model.pane() {
        Pane::Services => sorted(&mut model.services.listing, action),
        Pane::Instances => sorted(&mut model.instances.listing, action),
        _ => sorted(&mut model.members.listing, action),
    }
}

fn sorted<K: Clone, S: SortKey>(listing: &mut Listing<K, S>, action: Action) {
    match action {
        Action::SortNext => listing.sort_next(),
        _ => listing.sort_reverse(),
    }
}

fn copied(model: &mut Model, what: Copied) -> Vec<Effect> {
    let text = copy::text(model, what);
    let (mark, said) = match &text {
        Some(text) => (Mark::Good, format!("copied: {text}")),
        None => (Mark::Unknown, "nothing of this row can be copied like that".to_owned()),
    };
    model.remark = Some(Remark { at: model.now, mark, text: said });
    text.map(Effect::Copy).into_iter().collect()
}

/// From info first to more, then round to less.
fn level(model: &mut Model) -> Vec<Effect> {
    let level = match model.journal.level {
        Level::Info => Level::Debug,
        Level::Debug => Level::Trace,
        Level::Trace => Level::Error,
        Level::Error => Level::Warn,
        Level::Warn => Level::Info,
    };
    model.journal.level = level;
    model.journal.choose();
    vec![Effect::LogLevel(level)]
}

fn other_agent(model: &mut Model) -> Vec<Effect> {
    if model.lanes.len() < 2 {
        return Vec::new();
    }
    let next = (usize::from(model.active.0) + 1) % model.lanes.len();
    model.active = LaneId(u8::try_from(next).unwrap_or(0));
    model.picture = false;
    model.denials.clear();
    model.raft.has_no_seat = false;
    vec![Effect::Attach(model.active)]
}

fn quit(model: &mut Model) -> Vec<Effect> {
    if model.overlay != Overlay::None {
        show(model, Overlay::None);
        return Vec::new();
    }
    if model.filter().is_some_and(|filter| !filter.text.is_empty()) {
        back(model);
        return Vec::new();
    }
    vec![Effect::Quit]
}
