//! The frame: picks the screen and draws it from the model. Cannot send, spawn or change anything.
//!
//! ```text
//! header   who answers, the connection, the clock
//! tabs     the screens that exist
//! verdict  leader, quorum, what can be lost; or a banner
//! body     one screen, or one pane of it
//! status   what is worth saying about this screen
//! footer   the keys that work here
//! ```

mod ask;
mod detail;
mod events;
mod footer;
mod handover;
mod header;
mod help;
mod impact;
mod instances;
mod members;
mod overview;
mod raft;
mod recovery;
mod rows;
mod services;
mod timeline;
mod tiny;
mod upkeep;
mod verdict;

use std::cell::Cell;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::model::panes::{ABOVE, BELOW, Pane, Room};
use crate::model::{Model, Overlay};
use crate::msg::Screen;
use crate::theme::{Part, Theme};
use crate::widget::row;

/// Draws the whole terminal from the model, which has been settled. How many lines of the overlay can be
/// scrolled away is returned: that depends on how they are wrapped.
pub fn draw(model: &Model, frame: &mut Frame<'_>) -> usize {
    let (area, scrolls) = (frame.area(), Cell::new(0));
    paint(model.shown(), &scrolls, area, frame.buffer_mut());
    scrolls.get()
}

/// What every view is handed.
#[derive(Clone, Copy)]
struct Scene<'a> {
    model: &'a Model,
    theme: &'a Theme,
    /// Lines of the overlay that are above or below what is seen of it.
    scrolls: &'a Cell<usize>,
}

impl Scene<'_> {
    fn focused(&self, pane: Pane) -> bool {
        self.model.pane() == pane && self.model.overlay == Overlay::None
    }

    fn ellipsis(&self) -> &'static str {
        self.theme.lines().ellipsis
    }

    fn dot(&self) -> &'static str {
        self.theme.lines().middle_dot
    }
}

fn paint(model: &Model, scrolls: &Cell<usize>, area: Rect, buf: &mut Buffer) {
    let theme = Theme::new(model.setup.look);
    let scene = Scene { model, theme: &theme, scrolls };
    if model.room() == Room::Tiny || area.width < 20 || area.height < 4 {
        return tiny::draw(scene, area, buf);
    }
    header::draw(scene, row(area, 0), buf);
    header::tabs(scene, row(area, 1), buf);
    verdict::draw(scene, row(area, 2), buf);
    let body = Rect { y: area.y + ABOVE, height: area.height.saturating_sub(ABOVE + BELOW), ..area };
    screen(scene, body, buf);
    if !model.is_live() && model.has_picture() {
        // Old data are dimmed; the banner above dates them.
        buf.set_style(body, theme.stale());
    }
    footer::status(scene, row(area, area.height - 2), buf);
    footer::draw(scene, row(area, area.height - 1), buf);
    match model.overlay {
        Overlay::None => {}
        Overlay::Help => help::draw(scene, area, buf),
        Overlay::Detail => detail::draw(scene, area, buf),
        Overlay::Impact => impact::draw(scene, area, buf),
        Overlay::Recovery => recovery::draw(scene, area, buf),
        Overlay::Dialog => ask::draw(scene, area, buf),
    }
}

fn screen(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    if scene.model.is_single() {
        return pane(scene, scene.model.pane(), area, buf);
    }
    match scene.model.screen {
        Screen::Overview => overview::draw(scene, area, buf),
        Screen::Members => members::draw(scene, area, buf),
        Screen::Raft => raft::draw(scene, area, buf),
        Screen::Services => services::draw(scene, area, buf),
        Screen::Events => events::draw(scene, area, buf),
    }
}

/// One pane alone.
fn pane(scene: Scene<'_>, pane: Pane, area: Rect, buf: &mut Buffer) {
    match pane {
        Pane::Servers => overview::servers(scene, area, buf),
        Pane::Attention => overview::attention(scene, area, buf),
        Pane::Checks => overview::checks(scene, area, buf),
        Pane::Recent => events::recent(scene, area, buf),
        Pane::Members => members::draw(scene, area, buf),
        Pane::Replication => raft::replication(scene, area, buf),
        Pane::Elections => raft::elections(scene, area, buf),
        Pane::Journal => events::draw(scene, area, buf),
        Pane::Services | Pane::Instances => services::alone(scene, pane, area, buf),
    }
}

/// Text in the middle of an empty pane.
fn placeholder(scene: Scene<'_>, area: Rect, text: &str, buf: &mut Buffer) {
    let place = row(area, area.height.saturating_sub(1) / 2);
    let columns = place.width.saturating_sub(2);
    crate::widget::put(
        buf,
        (place.x + 1, place.y),
        if place.height == 0 { 0 } else { columns },
        text,
        scene.theme.part(Part::Faint),
        scene.ellipsis(),
    );
}

/// What an empty pane says before anything is known.
fn waiting(scene: Scene<'_>) -> String {
    let model = scene.model;
    match model.lane() {
        Some(lane) if !model.is_live() => format!("nothing known yet: waiting for {}", lane.address),
        Some(lane) => format!("nothing yet from {}", lane.address),
        None => "no agent was given".to_owned(),
    }
}
