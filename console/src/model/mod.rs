//! What the console knows and what it shows: one value, changed only by `update`.
//!
//! `view` draws it, `keymap` asks it where a key was pressed, `runtime` asks it whether to draw.
//! No terminal, no HTTP and no clock in here: time is [`Model::now`], which messages set.

pub mod attention;
pub mod checks;
pub mod dialog;
pub mod elections;
pub mod filter;
pub mod instances;
pub mod journal;
pub mod list;
pub mod listing;
pub mod mark;
pub mod member;
pub mod members;
pub mod panes;
pub mod past;
pub mod pulse;
pub mod pursuit;
pub mod raft;
pub mod recovery;
pub mod risk;
pub mod seats;
pub mod servers;
pub mod services;
pub mod strip;
pub mod timeline;
pub mod upkeep;
pub mod verdict;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use shared::event::Event;
use shared::time::WallTime;

use crate::msg::{AgentKind, Denial, Identity, Interest, LaneId, Link, Screen, Source};
use panes::{Needs, Pane, Room};
use verdict::{Impact, Verdict};

/// What the console was started with; it does not change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// `host:port` as they are shown, one lane each, in the order they were given. At least one.
    pub addresses: Vec<String>,
    /// Seconds east of UTC, for the times on screen.
    pub utc_offset_s: i32,
    pub look: Look,
    /// No key changes the cluster, and none is offered.
    #[serde(default)]
    pub read_only: bool,
    /// The cluster is this console's own demo: its nodes may be killed.
    #[serde(default)]
    pub demo: bool,
}

/// What the terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub colors: Colors,
    /// Draw glyphs and lines in ASCII.
    pub ascii: bool,
    /// The background is light: the darker twin of each colour.
    pub light: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Colors {
    /// `NO_COLOR`, `TERM=dumb`, `--color never`: attributes only.
    None,
    Sixteen,
    #[default]
    Indexed,
}

/// One agent of the command line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub address: String,
    pub link: Link,
    /// When it was last heard of.
    pub heard: Option<WallTime>,
    /// When it was lost, as long as it is.
    pub lost: Option<WallTime>,
    pub rtt_us: Option<u64>,
    pub kind: Option<AgentKind>,
    /// What our agents say they are, `0.1.0`.
    pub version: Option<String>,
    pub identity: Option<Identity>,
    /// Since when its process runs, as our agents tell.
    pub started: Option<WallTime>,
}

/// What lies over the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlay {
    #[default]
    None,
    Help,
    /// The selected row, whole.
    Detail,
    /// [`Model::dialog`].
    Dialog,
    /// What the loss of each server would do.
    Impact,
    /// What is left of the voters, and the way back to a quorum.
    Recovery,
}

/// A sentence for the operator, about a key that was pressed just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    pub at: WallTime,
    pub mark: mark::Mark,
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub setup: Setup,
    pub now: WallTime,
    pub width: u16,
    pub height: u16,
    pub lanes: Vec<Lane>,
    /// The lane whose news is on screen.
    pub active: LaneId,
    /// The datacenter of what is on screen; another one's agent starts a new picture.
    pub datacenter: Option<String>,

    pub members: members::Members,
    pub raft: raft::Raft,
    pub checks: checks::Checks,
    pub services: services::Services,
    pub instances: instances::Instances,
    /// What was last asked to be looked at.
    pub interest: Interest,
    pub journal: journal::Journal,
    /// Questions that were refused, with how.
    pub denials: BTreeMap<Source, Denial>,
    /// Highest sequence of each origin and boot that reached the journal: an event that two agents
    /// tell is told once.
    pub told: HashMap<(String, String), u64>,
    /// A picture is coming in: its events are states, not happenings.
    pub picture: bool,
    /// Events of that picture that wait for its end.
    pub held: Vec<Event>,
    /// Events of agents that are not in use, until it is known which cluster is on screen.
    pub asides: Vec<Event>,
    /// Why that picture comes, until it is told.
    pub reset: Option<String>,

    // Made from the above at each settling.
    pub servers: Vec<servers::ServerRow>,
    pub impacts: Vec<Impact>,
    pub attention: attention::Attention,

    pub screen: Screen,
    /// Position of the focused pane on each screen.
    pub focus: BTreeMap<Screen, usize>,
    pub overlay: Overlay,
    /// Lines of the overlay scrolled away.
    pub overlay_top: usize,
    /// What is being asked before it changes the cluster.
    pub dialog: Option<dialog::Dialog>,
    /// What was ordered, and what came of it.
    pub pursuits: pursuit::Pursuits,
    pub remark: Option<Remark>,
    /// What is done to nodes of the demo and does not show by itself.
    pub fates: Vec<String>,
    /// Of the timeline, when less than all of it was asked for.
    pub span: timeline::Span,
    pub zoomed: bool,
    /// What is needed to step back in time.
    #[serde(skip)]
    pub history: past::History,
    /// The picture of the moment that was stepped back to; it is shown instead of this one.
    #[serde(skip)]
    pub past: Option<Box<Model>>,
    /// In such a picture: when it was, and how many steps back.
    pub moment: Option<past::Moment>,
    /// Something on screen changed since `runtime` last cleared it.
    pub dirty: bool,
}

impl Model {
    pub fn new(setup: Setup) -> Self {
        let lanes =
            setup.addresses.iter().map(|address| Lane { address: address.clone(), ..Lane::default() }).collect();
        Self { setup, lanes, dirty: true, ..Self::default() }
    }

    /// What is on screen: this, or the moment that was stepped back to.
    pub fn shown(&self) -> &Self {
        self.past.as_deref().unwrap_or(self)
    }

    /// The overlay is drawn with so many lines that can be scrolled away; keys go on from there.
    pub fn scrolled(&mut self, most: usize) {
        let top = match &mut self.past {
            Some(past) => &mut past.overlay_top,
            None => &mut self.overlay_top,
        };
        *top = most.min(*top);
    }

    pub fn lane(&self) -> Option<&Lane> {
        self.lanes.get(usize::from(self.active.0))
    }

    pub fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::from(id.0))
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.lane()?.identity.as_ref()
    }

    /// The node name of the agent in use; empty before it is known.
    pub fn here(&self) -> &str {
        self.identity().map_or("", |identity| identity.node.as_str())
    }

    pub fn is_live(&self) -> bool {
        self.lane().is_some_and(|lane| matches!(lane.link, Link::Live { .. }))
    }

    /// Some picture has been seen, however old it is now.
    pub fn has_picture(&self) -> bool {
        self.members.known || self.raft.peers_known
    }

    /// The token sees nobody: an agent that answers lists at least itself to who may read it.
    pub fn is_blinded(&self) -> bool {
        self.members.known && self.members.census.total() == 0
    }

    pub fn verdict(&self) -> Verdict {
        if self.is_unseated() { Verdict::Unseated } else { Verdict::of(&self.servers, &self.raft.leader) }
    }

    /// The agent in use is a server that was removed from Raft, or was not added yet: it says so itself, or
    /// those do whom it asks for their votes. Nobody tells it who leads.
    pub fn is_unseated(&self) -> bool {
        let raft = &self.raft;
        let Some(it) = self.identity().filter(|it| it.server && !it.node_id.is_empty()) else { return false };
        let tells = raft.peers_known && !raft.peers.is_empty();
        let is_hidden = self.denials.contains_key(&Source::RaftConfiguration);
        // Of Raft's old protocol IDs are addresses: then the name tells.
        let is_out = tells && !is_hidden && raft.peers.iter().all(|peer| peer.id != it.node_id && peer.node != it.node);
        !raft.is_led() && (is_out || raft.has_no_seat)
    }

    pub fn room(&self) -> Room {
        panes::room(self.width, self.height)
    }

    /// The pane that keys act on.
    pub fn pane(&self) -> Pane {
        let panes = panes::of(self.screen, self.room());
        let at = self.focus.get(&self.screen).copied().unwrap_or(0);
        panes[at.min(panes.len() - 1)]
    }

    /// The filter of the screen, where there is one.
    pub fn filter(&self) -> Option<&filter::Filter> {
        match self.screen {
            Screen::Members => Some(&self.members.listing.filter),
            Screen::Services if self.pane() == Pane::Instances => Some(&self.instances.listing.filter),
            Screen::Services => Some(&self.services.listing.filter),
            Screen::Events => Some(&self.journal.filter),
            Screen::Overview | Screen::Raft => None,
        }
    }

    pub fn filter_mut(&mut self) -> Option<&mut filter::Filter> {
        match self.screen {
            Screen::Members => Some(&mut self.members.listing.filter),
            Screen::Services if self.pane() == Pane::Instances => Some(&mut self.instances.listing.filter),
            Screen::Services => Some(&mut self.services.listing.filter),
            Screen::Events => Some(&mut self.journal.filter),
            Screen::Overview | Screen::Raft => None,
        }
    }

    pub fn needs(&self) -> Needs {
        Needs {
            servers: self.servers.len(),
            impacts: self.impacts.len(),
            concerns: self.attention.rows.len(),
            checks: self.checks.rows().len(),
            timeline: self.raft.timeline.len(),
            elections: self.raft.elections.len(),
        }
    }

    /// Rows between the furniture.
    pub fn body(&self) -> u16 {
        self.height.saturating_sub(panes::ABOVE + panes::BELOW)
    }

    /// One pane takes the whole body: by choice, or for lack of room.
    pub fn is_single(&self) -> bool {
        self.zoomed || self.room() == Room::Single
    }
}
