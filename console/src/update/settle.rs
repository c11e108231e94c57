//! Brings what is made from other things up to date: rows, verdicts, the stand in each list.
//! Called once before a drawing, so that a burst of messages costs one sort.

use shared::event::MemberStatus;

use super::{catalog, dialog, pursue};
use crate::model::attention;
use crate::model::list::Stand;
use crate::model::panes::{self, Pane, Room};
use crate::model::servers::{self, Here, ServerRole};
use crate::model::timeline::Phase;
use crate::model::verdict;
use crate::model::{Model, Overlay};
use crate::msg::{AgentKind, Effect, Screen};

/// Makes rows and keeps selections in sight.
/// What that makes worth asking for is returned.
pub fn settle(model: &mut Model) -> Vec<Effect> {
    if let Some(past) = &mut model.past {
        settle(past);
    }
    let live = model.is_live();
    let id = model.identity().map(|identity| identity.node_id.clone()).unwrap_or_default();
    model.servers = servers::rows(&model.raft, &model.members, Here { id: &id, live });
    model.impacts = verdict::impacts(&model.servers);
    model.attention.rows = attention::gather(model, model.room() == Room::Narrow);
    if live && model.is_unseated() {
        // What the others do is not seen from there.
        model.raft.timeline.unseen(model.now);
    } else if live {
        timeline(model);
    }
    for pane in [Pane::Servers, Pane::Attention, Pane::Checks, Pane::Members, Pane::Elections, Pane::Journal] {
        let (page, stand) = (page(model, pane), stand(model, pane));
        settle_pane(model, pane, page, stand);
    }
    // Where nobody looks at them they are put in order when somebody does.
    if model.screen == Screen::Services {
        for pane in [Pane::Services, Pane::Instances] {
            let (page, stand) = (page(model, pane), stand(model, pane));
            settle_pane(model, pane, page, stand);
        }
    }
    // An order is followed now, not as it looked at some moment.
    if model.moment.is_none() {
        pursue::advance(model);
        dialog::settle(model);
        return catalog::interest(model);
    }
    Vec::new()
}

/// What is looked at stays what it is while rows come, move and go.
fn stand(model: &Model, pane: Pane) -> Stand {
    let focus = model.pane();
    let is_same = focus == pane || (focus, pane) == (Pane::Replication, Pane::Servers);
    match pane {
        _ if is_same && model.overlay == Overlay::Detail => Stand::Held,
        Pane::Services if focus == Pane::Instances => Stand::Held,
        Pane::Instances if is_same => Stand::Pinned,
        _ => Stand::Free,
    }
}

fn settle_pane(model: &mut Model, pane: Pane, page: usize, stand: Stand) {
    match pane {
        Pane::Servers | Pane::Replication => {
            let rows = &model.servers;
            model.raft.list.stand = stand;
            model.raft.list.settle(
                rows.len(),
                page,
                |id| rows.iter().position(|row| row.id == *id),
                |at| rows.get(at).map(|row| row.id.clone()),
            );
        }
        Pane::Attention => {
            model.attention.list.stand = stand;
            model.attention.settle(page);
        }
        Pane::Checks => {
            model.checks.list.stand = stand;
            model.checks.settle(page);
        }
        Pane::Members => {
            model.members.listing.list.stand = stand;
            model.members.settle(page);
        }
        Pane::Elections => {
            model.raft.elections.list.stand = stand;
            model.raft.elections.settle(page);
        }
        Pane::Services => {
            model.services.listing.list.stand = stand;
            model.services.settle(page, &model.checks);
            let selected = model.services.selected().map(|row| row.name.clone());
            // What was looked at then is all that is known of then; a service that is gone may come back.
            if model.moment.is_none() && (selected.is_some() || stand != Stand::Held) {
                model.instances.turn_to(&selected.unwrap_or_default());
            }
        }
        Pane::Instances => {
            model.instances.listing.list.stand = stand;
            model.instances.settle(page);
        }
        Pane::Journal => model.journal.settle(page),
        Pane::Recent => {}
    }
}

/// Rows of a pane that are in sight.
fn page(model: &Model, pane: Pane) -> usize {
    let (body, room) = (model.body(), model.room());
    if room == Room::Tiny {
        return 1;
    }
    let needs = model.needs();
    let wide = room == Room::Wide;
    // Servers and Replication are one list: what counts is where it is shown now.
    let pane = if pane == Pane::Servers && model.screen == Screen::Raft { Pane::Replication } else { pane };
    let whole = model.is_single();
    let height = if whole {
        body
    } else {
        match pane {
            Pane::Servers => panes::overview(body, room, needs).servers,
            Pane::Attention | Pane::Checks => panes::overview(body, room, needs).attention,
            Pane::Recent => panes::overview(body, room, needs).events,
            Pane::Replication => panes::raft(body, room, needs).replication,
            Pane::Elections => panes::raft(body, room, needs).elections,
            Pane::Services if !wide => panes::services_height(body.saturating_sub(1), model.services.count()) + 1,
            Pane::Instances if !wide => {
                body.saturating_sub(panes::services_height(body.saturating_sub(1), model.services.count()))
            }
            Pane::Services | Pane::Instances => body,
            Pane::Members | Pane::Journal => body,
        }
    };
    let furniture = match pane {
        // Head and, where there is room, the line of sparks.
        Pane::Servers => 3 + u16::from(wide),
        Pane::Replication => 3 + panes::raft_lines(room),
        Pane::Elections => 3,
        Pane::Attention | Pane::Checks | Pane::Recent => 2,
        Pane::Instances => 4 + panes::instance_lines(height.saturating_sub(1)),
        // The line above, the head.
        Pane::Members | Pane::Journal | Pane::Services => 4,
    };
    usize::from(height.saturating_sub(furniture))
}

/// Puts each server on the timeline as it is now; what events told more exactly stays.
fn timeline(model: &mut Model) {
    let now = model.now;
    let (is_led, later) = (model.raft.is_led(), model.raft.later());
    // A polled leader's term comes after its name. The term of our agents comes with each election.
    let is_polled = model.lane().is_some_and(|lane| lane.kind == Some(AgentKind::HashiCorp));
    let since = model.raft.leading().and_then(|leading| leading.since);
    if let (true, Some(term), Some(since)) = (is_polled, model.raft.own.term, since) {
        model.raft.timeline.terms.entry(term).or_insert(since);
    }
    for row in &model.servers {
        if row.node != row.id && !row.node.is_empty() {
            model.raft.timeline.named(&row.id, &row.node);
        }
        let follows = row.progress.follows.as_deref();
        let phase = match row.role {
            // What servers say themselves of a later leader is worth more than what the agent in use sees of them.
            _ if later.as_ref().is_some_and(|later| later.id == row.id) => Phase::Leads,
            _ if later.as_ref().is_some_and(|later| follows == Some(&later.id)) => Phase::Follows,
            // It may answer and lead to its last moment, and has left or failed all the same.
            _ if matches!(row.status, Some(MemberStatus::Left | MemberStatus::Failed)) => Phase::Down,
            ServerRole::Follower | ServerRole::Learner if !is_led => Phase::Adrift,
            ServerRole::Leader => Phase::Leads,
            ServerRole::Doubted => Phase::Adrift,
            // It led when it was last heard, and has not said since that it follows.
            ServerRole::Follower if follows == Some(&row.id) => Phase::Adrift,
            ServerRole::Follower | ServerRole::Learner => Phase::Follows,
            ServerRole::Candidate => Phase::Stands,
            ServerRole::Down if row.status != Some(MemberStatus::Leaving) => Phase::Down,
            // It runs, and no leader of the cluster's counts it in.
            ServerRole::Outside => Phase::Adrift,
            ServerRole::Unknown if row.in_raft && row.up == Some(true) && !is_led => Phase::Adrift,
            _ => continue,
        };
        model.raft.timeline.put(&row.node, now, phase);
    }
}
