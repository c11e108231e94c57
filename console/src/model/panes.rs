//! How a screen is cut into panes: plain arithmetic, so that `update` knows how many rows are in
//! sight and `view` draws exactly those.

use crate::msg::Screen;
use serde::{Deserialize, Serialize};

/// What can have the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pane {
    Servers,
    Attention,
    Checks,
    Recent,
    Members,
    Replication,
    Elections,
    Journal,
    Services,
    Instances,
}

/// Rows of furniture: header, tabs, verdict above; status and footer below.
pub const ABOVE: u16 = 3;
pub const BELOW: u16 = 2;
/// Least size at which panes are drawn at all.
pub const LEAST: (u16, u16) = (60, 15);
/// Below this, one pane at a time.
const WHOLE: (u16, u16) = (80, 20);
/// From this width on, panes stand side by side.
const WIDE: u16 = 100;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The verdict, the counts, the newest event.
    Tiny,
    /// One pane at a time.
    Single,
    Narrow,
    Wide,
}

pub fn room(width: u16, height: u16) -> Room {
    match () {
        () if width < LEAST.0 || height < LEAST.1 => Room::Tiny,
        () if width < WHOLE.0 || height < WHOLE.1 => Room::Single,
        () if width < WIDE => Room::Narrow,
        () => Room::Wide,
    }
}

/// The panes of a screen that can be focused, in tab order.
pub fn of(screen: Screen, room: Room) -> &'static [Pane] {
    match (screen, room) {
        (Screen::Overview, Room::Narrow) => &[Pane::Servers, Pane::Attention, Pane::Recent],
        (Screen::Overview, _) => &[Pane::Servers, Pane::Attention, Pane::Checks, Pane::Recent],
        (Screen::Members, _) => &[Pane::Members],
        (Screen::Raft, _) => &[Pane::Replication, Pane::Elections],
        (Screen::Services, _) => &[Pane::Services, Pane::Instances],
        (Screen::Events, _) => &[Pane::Journal],
    }
}

/// What the heights depend on.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    pub servers: usize,
    pub impacts: usize,
    pub concerns: usize,
    pub checks: usize,
    pub timeline: usize,
    pub elections: usize,
}

/// Heights of the Overview's bands, borders included; they add up to the body. 0 is not drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    pub servers: u16,
    pub timeline: u16,
    pub attention: u16,
    pub events: u16,
}

pub fn overview(body: u16, room: Room, needs: Needs) -> Overview {
    let wide = room == Room::Wide;
    // Border, head, rows; the wide one also a line of sparks.
    let rows = if wide { needs.servers.max(needs.impacts.saturating_sub(1)) } else { needs.servers };
    let servers = bounded(rows + if wide { 4 } else { 3 }, if wide { 6 } else { 4 }, body * 2 / 5);
    let lines = if wide { needs.concerns.max(needs.checks) } else { needs.concerns };
    let attention = bounded(lines + 2, 3, body / 4);
    let timeline = if wide && body >= 24 && needs.timeline > 0 { bounded(needs.timeline + 4, 5, 9) } else { 0 };
    let used = servers + attention + timeline;
    Overview { servers, timeline, attention, events: body.saturating_sub(used) }
}

/// Heights of the Raft screen's bands, borders included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raft {
    pub replication: u16,
    pub timeline: u16,
    pub elections: u16,
    pub detail: u16,
}

pub fn raft(body: u16, room: Room, needs: Needs) -> Raft {
    let wide = room == Room::Wide;
    let replication = bounded(needs.servers + 3 + usize::from(raft_lines(room)), 4, body * 2 / 5);
    let timeline =
        if needs.timeline == 0 { 0 } else { bounded(needs.timeline + if wide { 4 } else { 3 }, 5, (body / 3).max(5)) };
    let left = body.saturating_sub(replication + timeline);
    let detail = if left >= 14 { (left / 2).min(10) } else { 0 };
    Raft { replication, timeline, elections: left - detail, detail }
}

/// Lines below the servers on the Raft screen: commits, contact.
pub fn raft_lines(room: Room) -> u16 {
    if room == Room::Wide { 2 } else { 0 }
}

/// Columns of the list of services where the instances stand beside it.
pub fn services_width(width: u16) -> u16 {
    (width * 7 / 20).clamp(42, 64)
}

/// Height of the list of services where it stands above the instances; the rest is theirs.
pub fn services_height(body: u16, services: usize) -> u16 {
    bounded(services + 3, 5, (body / 2).max(5))
}

/// Lines about the selected instance below the others, where there is room.
pub fn instance_lines(height: u16) -> u16 {
    if height >= 9 { 4 } else { 0 }
}

fn bounded(rows: usize, least: u16, most: u16) -> u16 {
    u16::try_from(rows).unwrap_or(u16::MAX).clamp(least, most.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_fill_the_body_at_any_size() {
        for height in 15..80 {
            for servers in [0, 1, 3, 9, 40] {
                let needs = Needs {
                    servers,
                    impacts: servers + 1,
                    concerns: servers,
                    checks: 3,
                    timeline: servers,
                    elections: 5,
                };
                let body = height - ABOVE - BELOW;
                for room in [Room::Narrow, Room::Wide] {
                    let o = overview(body, room, needs);
                    assert_eq!(o.servers + o.timeline + o.attention + o.events, body, "{o:?} {servers}");
                    let r = raft(body, room, needs);
                    assert_eq!(r.replication + r.timeline + r.elections + r.detail, body, "{r:?} {servers}");
                }
            }
        }
    }
}
