//! A dialog that asks before something changes the cluster: what is typed into it, what it points at,
//! and what it takes to go on. How much it takes is worked out anew while it is open.

use serde::{Deserialize, Serialize};
use shared::event::{MemberStatus, Pool};

use super::Model;
use super::panes::Pane;
use super::risk::{self, Cost};
use super::seats;
use super::upkeep::{self, Kept};
use crate::msg::{Act, Identity, Place, Screen};
use crate::order::{Order, Probe, Seen};

/// What it takes to go on, least first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Demand {
    /// Enter, on the action.
    Enter,
    /// `y`.
    Yes,
    /// These words, typed.
    Words(String),
}

/// The words that a loss of the quorum takes.
pub const LOSE_QUORUM: &str = "lose quorum";
/// Longest text of a field; more is typed in vain.
const TEXT_MAX: usize = 200;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    Address,
    Pool,
    Prune,
    #[default]
    Cancel,
    Do,
    Target,
    Scope,
    Reason,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialog {
    pub act: Act,
    /// The member it is about; empty for a join.
    pub subject: String,
    /// Of a join.
    pub pool: Pool,
    /// Whom to join, or where the agent that is to leave answers HTTP.
    pub address: String,
    /// What was found at that address, as it is written now.
    pub seen: Option<Seen>,
    /// Of a force-leave: forget it too.
    pub prune: bool,
    /// The Raft ID of a server whose seat is to go.
    pub server: String,
    /// The Raft ID of who is to lead; none leaves it to the leader.
    pub target: Option<String>,
    /// The service instance that maintenance is about, unless it is the whole node.
    pub kept: Option<Kept>,
    pub is_whole_node: bool,
    /// Into maintenance, not out of it.
    pub enables: bool,
    pub reason: String,
    /// What keeps it from being carried out, as of the last settling.
    pub obstacle: Option<String>,
    /// Typed to go on.
    pub word: String,
    pub focus: Field,
    /// As of the last settling.
    pub demand: Demand,
    /// It became more while the dialog was open.
    pub is_worse: bool,
    /// The pursuit that shows what comes of it, once it was ordered.
    pub ordered: Option<u64>,
}

impl Dialog {
    pub fn new(act: Act, subject: String) -> Self {
        let focus = match act {
            Act::Join => Field::Address,
            Act::Transfer | Act::Maintain => Field::Do,
            _ => Field::Cancel,
        };
        Self {
            act,
            subject,
            pool: Pool::Lan,
            address: String::new(),
            seen: None,
            prune: act == Act::Prune,
            server: String::new(),
            target: None,
            kept: None,
            is_whole_node: false,
            enables: true,
            reason: String::new(),
            obstacle: None,
            word: String::new(),
            focus,
            demand: Demand::Enter,
            is_worse: false,
            ordered: None,
        }
    }

    /// What can have the focus, in tab order.
    fn fields(&self) -> &'static [Field] {
        match self.act {
            Act::Join => &[Field::Address, Field::Pool, Field::Cancel, Field::Do],
            Act::Leave => &[Field::Address, Field::Cancel, Field::Do],
            Act::ForceLeave => &[Field::Prune, Field::Cancel, Field::Do],
            Act::Maintain => match (self.kept.is_some(), self.enables) {
                (true, true) => &[Field::Scope, Field::Reason, Field::Address, Field::Cancel, Field::Do],
                (true, false) => &[Field::Scope, Field::Address, Field::Cancel, Field::Do],
                (false, true) => &[Field::Reason, Field::Address, Field::Cancel, Field::Do],
                (false, false) => &[Field::Address, Field::Cancel, Field::Do],
            },
            Act::Transfer => &[Field::Target, Field::Cancel, Field::Do],
            Act::Prune | Act::RemovePeer => &[Field::Cancel, Field::Do],
        }
    }

    pub fn turn(&mut self, by: isize) {
        let fields = self.fields();
        let at = fields.iter().position(|field| *field == self.focus).unwrap_or(0);
        let step = by + isize::try_from(fields.len()).unwrap_or(1);
        self.focus = fields[at.saturating_add_signed(step) % fields.len()];
    }

    /// The text that letters go to, if any.
    pub fn typed(&mut self) -> Option<&mut String> {
        match (self.focus, &self.demand) {
            (Field::Address, _) => Some(&mut self.address),
            (Field::Reason, _) => Some(&mut self.reason),
            (_, Demand::Words(_)) => Some(&mut self.word),
            _ => None,
        }
    }

    pub fn put(&mut self, c: char) {
        if let Some(text) = self.typed()
            && text.len() + c.len_utf8() <= TEXT_MAX
            && !c.is_control()
        {
            text.push(c);
        }
    }

    /// Nothing more is asked; `y` itself is the going on.
    pub fn is_unlocked(&self) -> bool {
        let words = match &self.demand {
            Demand::Enter | Demand::Yes => true,
            Demand::Words(words) => self.word.trim() == words,
        };
        words && self.is_aimed()
    }

    /// It is known whom it reaches.
    pub fn is_aimed(&self) -> bool {
        match self.act {
            Act::Join => !self.address.trim().is_empty(),
            // An order to leave makes whoever gets it leave.
            Act::Leave => self.is_own(),
            Act::Maintain => self.is_own() && self.obstacle.is_none(),
            Act::ForceLeave | Act::Prune => true,
            Act::Transfer | Act::RemovePeer => self.obstacle.is_none(),
        }
    }

    /// Who answers there is the node's own agent.
    fn is_own(&self) -> bool {
        matches!(&self.seen, Some(Seen::Agent(found)) if found.node == self.subject)
    }

    /// What should be looked at for what is written now.
    pub fn probe(&self) -> Option<Probe> {
        let address = self.address.trim();
        if address.is_empty() || self.ordered.is_some() {
            return None;
        }
        match self.act {
            Act::Join => Some(Probe::Gossip { address: gossip_address(address, self.pool) }),
            Act::Leave | Act::Maintain => Some(Probe::Agent { address: address.to_owned() }),
            _ => None,
        }
    }

    /// The seats it takes away, when it is about a server.
    pub fn cost(&self, model: &Model) -> Option<Cost> {
        match self.act {
            Act::Join | Act::Transfer | Act::Maintain => None,
            Act::RemovePeer => risk::leaving(&model.servers, &self.server, true),
            Act::Leave => risk::leaving(&model.servers, &self.subject, false),
            Act::ForceLeave | Act::Prune => risk::leaving(&model.servers, &self.subject, true),
        }
    }

    /// What it takes, as things are now.
    pub fn demanded(&self, model: &Model) -> Demand {
        if matches!(self.act, Act::Join | Act::Transfer | Act::Maintain) {
            return Demand::Enter;
        }
        let cost = self.cost(model);
        let is_server = self.act == Act::RemovePeer
            || cost.is_some()
            || model.members.find(Pool::Lan, &self.subject).is_some_and(|member| member.is_server());
        // Without a leader no configuration changes, and nobody undoes what gossip does.
        let is_led = model.raft.is_led();
        let is_fatal = cost.as_ref().is_some_and(|cost| cost.is_lost) || (cost.is_some() && !is_led);
        match () {
            () if is_fatal => Demand::Words(LOSE_QUORUM.to_owned()),
            () if is_server => Demand::Words(self.subject.clone()),
            () => Demand::Yes,
        }
    }

    /// Whom the next choice names: nobody, then each of those who could lead.
    pub fn turn_target(&mut self, model: &Model) {
        let ids: Vec<&str> = seats::heirs(model).map(|row| row.id.as_str()).collect();
        let at = self.target.as_deref().and_then(|target| ids.iter().position(|id| *id == target));
        let next = at.map_or(0, |at| at + 1);
        self.target = ids.get(next).map(|id| (*id).to_owned());
    }

    /// How things are now; see [`Self::settle`].
    pub fn look_around(&mut self, model: &Model) {
        self.obstacle = match self.act {
            // What was ordered makes it so.
            Act::Maintain if self.ordered.is_some() => None,
            Act::Maintain => upkeep::obstacle(model, self),
            _ => seats::obstacle(self, model),
        };
        self.settle(self.demanded(model));
    }

    /// Takes what it takes now; a lock that became heavier closes again.
    fn settle(&mut self, demand: Demand) {
        if self.ordered.is_some() || demand == self.demand {
            return;
        }
        let had = std::mem::replace(&mut self.demand, demand);
        let rank = |demand: &Demand| match demand {
            Demand::Enter => 0,
            Demand::Yes => 1,
            Demand::Words(words) if words != LOSE_QUORUM => 2,
            Demand::Words(_) => 3,
        };
        if had != Demand::Enter {
            self.is_worse = rank(&self.demand) > rank(&had);
            self.word.clear();
            self.focus = Field::Cancel;
        }
    }

    /// The order it amounts to, and where that goes.
    pub fn order(&self, model: &Model) -> (Place, Order) {
        let here = Place { lane: model.active, address: None };
        match self.act {
            Act::Join => {
                let wan = self.pool == Pool::Wan;
                (here, Order::Join { address: self.address.trim().to_owned(), wan })
            }
            Act::Leave => {
                let lose_quorum = self.demand == Demand::Words(LOSE_QUORUM.to_owned());
                (self.own_agent(model), Order::Leave { lose_quorum })
            }
            Act::Maintain => {
                let service = upkeep::scope(self).map(|kept| kept.id.clone());
                let (enable, reason) = (self.enables, self.reason.trim().to_owned());
                (self.own_agent(model), Order::Maintain { service, enable, reason })
            }
            Act::ForceLeave | Act::Prune => (here, Order::ForceLeave { node: self.subject.clone(), prune: self.prune }),
            Act::Transfer => (here, Order::Transfer { to: self.target.clone() }),
            Act::RemovePeer => (here, Order::RemovePeer { id: self.server.clone() }),
        }
    }

    /// The agent at the address that is written here.
    fn own_agent(&self, model: &Model) -> Place {
        let address = Some(self.address.trim().to_owned()).filter(|address| *address != place(model));
        Place { lane: model.active, address }
    }
}

/// The agent in use, as it was typed.
pub fn place(model: &Model) -> &str {
    model.lane().map_or("", |lane| lane.address.as_str())
}

/// An address with the port that gossip has by default, where none was written.
pub fn gossip_address(address: &str, pool: Pool) -> String {
    let port = if pool == Pool::Wan { 8302 } else { 8301 };
    let is_bare_v6 = address.matches(':').count() > 1 && !address.starts_with('[');
    let is_portless = if address.starts_with('[') { address.ends_with(']') } else { !address.contains(':') };
    match () {
        () if is_bare_v6 => format!("[{address}]:{port}"),
        () if is_portless => format!("{address}:{port}"),
        () => address.to_owned(),
    }
}

/// Where a node's own agent should answer: by an address that was given for it, else its own with the
/// port that the agent in use has.
pub fn own_place(model: &Model, node: &str) -> (String, Option<Identity>) {
    let of = |lane: &&super::Lane| lane.identity.as_ref().is_some_and(|identity| identity.node == node);
    if let Some(lane) = model.lanes.iter().find(of) {
        return (lane.address.clone(), lane.identity.clone());
    }
    let place = place(model);
    let (scheme, rest) = match place.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), place),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(8500);
    let host = model.members.find(Pool::Lan, node).map(|member| member.state.address.as_str()).unwrap_or_default();
    (format!("{scheme}{}", shared::addr::host_port(host, port)), None)
}

/// Why this act cannot be asked for of a member as it is.
pub fn objection(act: Act, name: &str, status: MemberStatus) -> Option<String> {
    let word = super::members::status_word(status);
    match (act, status) {
        (Act::Join | Act::Transfer | Act::RemovePeer | Act::Maintain, _)
        | (Act::Leave, MemberStatus::Alive | MemberStatus::Suspect)
        | (Act::ForceLeave, MemberStatus::Failed | MemberStatus::Leaving)
        | (Act::Prune, MemberStatus::Left | MemberStatus::Failed) => None,
        (Act::Leave, _) => Some(format!("{name} is {word}: only a running agent can leave")),
        (Act::ForceLeave, MemberStatus::Left) => Some(format!("{name} has left already: P forgets it")),
        (Act::ForceLeave, _) => Some(format!("{name} is {word}: force-leave is for failed members, L lets it leave")),
        (Act::Prune, _) => Some(format!("{name} is {word}: only members that failed or left can be forgotten")),
    }
}

/// The member that the selected row is about.
pub fn subject(model: &Model) -> Option<String> {
    match model.pane() {
        Pane::Members => model.members.selected().map(|member| member.state.name.clone()),
        Pane::Servers | Pane::Replication => {
            model.servers.get(model.raft.list.stands_at()?).map(|row| row.node.clone()).filter(|node| !node.is_empty())
        }
        Pane::Attention => model.attention.selected()?.member.clone(),
        Pane::Checks => model.checks.selected().map(|check| check.node.clone()),
        Pane::Instances => model.instances.selected().map(|row| row.node.clone()),
        Pane::Elections | Pane::Journal | Pane::Recent | Pane::Services => None,
    }
}

/// Whether the selected row is one that this act is for; what a footer offers.
pub fn applies(model: &Model, act: Act) -> bool {
    if act == Act::Join {
        return true;
    }
    if act == Act::Maintain {
        return upkeep::target(model).is_some_and(|(node, _)| upkeep::objection(model, &node).is_none());
    }
    if matches!(act, Act::Transfer | Act::RemovePeer) {
        return model.screen == Screen::Raft && seats::objection(model, act).is_none();
    }
    let Some(name) = subject(model) else { return false };
    let status: Option<MemberStatus> = model.members.find(Pool::Lan, &name).map(|member| member.state.status);
    let is_lan = model.members.pool == Pool::Lan || model.pane() != Pane::Members;
    is_lan && status.is_some_and(|status| objection(act, &name, status).is_none())
}
