//! The state of the connections: which lane is on screen, since when it is lost.

use shared::event::Level;
use shared::time::WallTime;

use super::story;
use crate::model::Model;
use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::msg::{LaneId, Link};

/// Takes the new state of one connection; whether anything on screen changed.
pub(super) fn link(model: &mut Model, id: LaneId, at: WallTime, link: Link) -> bool {
    model.now = model.now.max(at);
    let Some(lane) = model.lane_mut(id) else { return false };
    let was_live = matches!(lane.link, Link::Live { .. });
    let (was_lost, was_heard) = (lane.lost.is_some(), lane.heard.is_some());
    let address = lane.address.clone();
    match &link {
        Link::Live { kind } => {
            lane.kind = Some(*kind);
            lane.heard = Some(at);
            lane.lost = None;
        }
        Link::Lost { .. } => lane.lost = lane.lost.or(Some(at)),
        Link::Connecting { .. } | Link::Idle => {}
    }
    let said = match &link {
        Link::Live { .. } if was_lost => {
            let again = if was_heard { " again" } else { "" };
            Some((Level::Info, Mark::Good, format!("connected{again} to {address}")))
        }
        Link::Lost { trouble, .. } if was_live || !was_lost => {
            Some((Level::Error, Mark::Failed, format!("{address} {trouble}")))
        }
        _ => None,
    };
    if was_live && !matches!(link, Link::Live { .. }) && id == model.active {
        model.raft.timeline.unseen(at);
        model.raft.lost_sight(at);
        model.checks.unseen.begins(at);
    }
    let Some(lane) = model.lane_mut(id) else { return false };
    let goes_live = matches!(link, Link::Live { .. });
    lane.link = link;
    if let Some((level, mark, text)) = said {
        model.journal.push(News { at, node: "console".into(), kind: Kind::Console, level, mark, text });
    }
    if goes_live && !was_live {
        if id != model.active && !model.is_live() {
            model.active = id;
            story::console(model, at, Mark::Good, format!("now through {address}"));
        }
        if id == model.active {
            model.denials.clear();
            model.picture = false;
            model.raft.has_no_seat = false;
        }
    }
    true
}

pub(super) fn heard(model: &mut Model, id: LaneId, at: WallTime, rtt_us: Option<u64>) -> bool {
    model.now = model.now.max(at);
    let Some(lane) = model.lane_mut(id) else { return false };
    lane.heard = Some(at);
    // The header's figure moves with the next second, not with every answer.
    lane.rtt_us = rtt_us.or(lane.rtt_us);
    false
}
