//! Members of the gossip pools, as the agent in use sees them, and the list of them on screen.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shared::event::{MemberState, MemberStatus, Pool};
use shared::time::WallTime;

use super::filter::Filter;
use super::list::ListState;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub state: MemberState,
    /// Since when it has this status; none when it had it before we came.
    pub since: Option<WallTime>,
    /// What gossip last said about it, such as who suspects it.
    pub note: Option<String>,
    /// Not mentioned by the picture that is coming in; goes if it stays so.
    pub unseen: bool,
}

impl Member {
    pub fn is_server(&self) -> bool {
        self.state.tags.get("role").is_some_and(|role| role == "consul")
    }

    /// `server`, `client`, or whatever role it claims.
    pub fn kind(&self) -> &str {
        match self.state.tags.get("role").map(String::as_str) {
            Some("consul") => "server",
            Some("node") => "client",
            Some(other) => other,
            None => "?",
        }
    }

    /// The node ID it claims, which is its Raft server ID when it is a server.
    pub fn id(&self) -> Option<&str> {
        self.state.tags.get("id").map(String::as_str)
    }

    /// The API level it claims, without what follows the colon.
    pub fn build(&self) -> &str {
        let build = self.state.tags.get("build").map_or("?", String::as_str);
        build.split(':').next().unwrap_or(build)
    }
}

pub fn status_word(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Alive => "alive",
        MemberStatus::Suspect => "suspect",
        MemberStatus::Leaving => "leaving",
        MemberStatus::Left => "left",
        MemberStatus::Failed => "failed",
    }
}

/// How many of each status, LAN only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    pub alive: usize,
    pub suspect: usize,
    pub leaving: usize,
    pub left: usize,
    pub failed: usize,
}

impl Census {
    pub fn total(&self) -> usize {
        self.alive + self.suspect + self.leaving + self.left + self.failed
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortBy {
    /// What needs attention first.
    #[default]
    Status,
    Name,
    Address,
    Type,
    Since,
}

impl SortBy {
    pub fn next(self) -> Self {
        match self {
            Self::Status => Self::Name,
            Self::Name => Self::Address,
            Self::Address => Self::Type,
            Self::Type => Self::Since,
            Self::Since => Self::Status,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Name => "node",
            Self::Address => "address",
            Self::Type => "type",
            Self::Since => "since",
        }
    }
}

/// The fields a filter may name.
pub const FIELDS: [&str; 6] = ["name", "address", "status", "type", "build", "dc"];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Members {
    rows: Vec<Member>,
    index: HashMap<Pool, HashMap<String, usize>>,
    /// Some picture has been complete: an empty list is then the truth.
    pub known: bool,
    pub census: Census,
    pub filter: Filter,
    pub sort: SortBy,
    pub reversed: bool,
    pub list: ListState<String>,
    /// LAN rows in the order shown, as indexes into `rows`.
    order: Vec<usize>,
    disordered: bool,
}

impl Members {
    pub fn find(&self, pool: Pool, name: &str) -> Option<&Member> {
        self.index.get(&pool)?.get(name).map(|at| &self.rows[*at])
    }

    fn find_mut(&mut self, pool: Pool, name: &str) -> Option<&mut Member> {
        let at = *self.index.get(&pool)?.get(name)?;
        self.rows.get_mut(at)
    }

    pub fn lan(&self) -> impl Iterator<Item = &Member> {
        self.rows.iter().filter(|member| member.state.pool == Pool::Lan)
    }

    /// The LAN member with this node ID.
    pub fn by_id(&self, id: &str) -> Option<&Member> {
        self.lan().find(|member| member.id() == Some(id))
    }

    /// Rows on screen, filtered and sorted.
    pub fn shown(&self) -> usize {
        self.order.len()
    }

    pub fn shown_at(&self, at: usize) -> Option<&Member> {
        self.order.get(at).map(|row| &self.rows[*row])
    }

    pub fn selected(&self) -> Option<&Member> {
        self.shown_at(self.list.at)
    }

    /// Takes what a member is now; `since` is when that became so, if it was seen to happen.
    pub fn put(&mut self, state: MemberState, since: Option<WallTime>) {
        self.disordered = true;
        if let Some(known) = self.find_mut(state.pool, &state.name) {
            if known.state.status != state.status {
                known.since = since;
                known.note = None;
            }
            known.state = state;
            known.unseen = false;
            return;
        }
        let names = self.index.entry(state.pool).or_default();
        names.insert(state.name.clone(), self.rows.len());
        self.rows.push(Member { state, since, note: None, unseen: false });
    }

    pub fn remove(&mut self, pool: Pool, name: &str) {
        let Some(at) = self.index.get_mut(&pool).and_then(|names| names.remove(name)) else { return };
        self.rows.swap_remove(at);
        if let Some(moved) = self.rows.get(at)
            && let Some(names) = self.index.get_mut(&moved.state.pool)
        {
            names.insert(moved.state.name.clone(), at);
        }
        self.disordered = true;
    }

    /// Gossip says something of a LAN member; a status only when it changes it.
    pub fn note(&mut self, name: &str, at: WallTime, status: Option<MemberStatus>, note: Option<String>) {
        let Some(member) = self.find_mut(Pool::Lan, name) else { return };
        if let Some(status) = status
            && member.state.status != status
        {
            member.state.status = status;
            member.since = Some(at);
        }
        member.note = note;
        self.disordered = true;
    }

    pub fn picture_begins(&mut self) {
        self.rows.iter_mut().for_each(|member| member.unseen = true);
    }

    /// What the picture did not mention goes.
    pub fn picture_ends(&mut self) {
        self.known = true;
        if self.rows.iter().any(|member| member.unseen) {
            self.rows.retain(|member| !member.unseen);
            self.index.clear();
            for (at, member) in self.rows.iter().enumerate() {
                self.index.entry(member.state.pool).or_default().insert(member.state.name.clone(), at);
            }
        }
        self.disordered = true;
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.index.clear();
        self.known = false;
        self.disordered = true;
    }

    pub fn disorder(&mut self) {
        self.disordered = true;
    }

    pub fn settle(&mut self, page: usize) {
        if std::mem::take(&mut self.disordered) {
            self.arrange();
        }
        let Self { rows, order, list, .. } = self;
        list.settle(
            order.len(),
            page,
            |name| order.iter().position(|row| rows[*row].state.name == *name),
            |at| order.get(at).map(|row| rows[*row].state.name.clone()),
        );
    }

    fn arrange(&mut self) {
        self.census = Census::default();
        self.order.clear();
        for (at, member) in self.rows.iter().enumerate() {
            if member.state.pool != Pool::Lan {
                continue;
            }
            let count = match member.state.status {
                MemberStatus::Alive => &mut self.census.alive,
                MemberStatus::Suspect => &mut self.census.suspect,
                MemberStatus::Leaving => &mut self.census.leaving,
                MemberStatus::Left => &mut self.census.left,
                MemberStatus::Failed => &mut self.census.failed,
            };
            *count += 1;
            if admits(&self.filter, member) {
                self.order.push(at);
            }
        }
        let (rows, sort, reversed) = (&self.rows, self.sort, self.reversed);
        self.order.sort_unstable_by(|a, b| {
            let ordering = compare(&rows[*a], &rows[*b], sort);
            let ordering = if reversed { ordering.reverse() } else { ordering };
            ordering.then_with(|| rows[*a].state.name.cmp(&rows[*b].state.name))
        });
    }
}

fn compare(a: &Member, b: &Member, by: SortBy) -> Ordering {
    match by {
        SortBy::Status => urgency(a).cmp(&urgency(b)).then_with(|| b.is_server().cmp(&a.is_server())),
        SortBy::Name => a.state.name.cmp(&b.state.name),
        SortBy::Address => address_key(&a.state.address).cmp(&address_key(&b.state.address)),
        SortBy::Type => b.is_server().cmp(&a.is_server()),
        // The newest change first, what we did not see last.
        SortBy::Since => b.since.cmp(&a.since),
    }
}

/// An address sorts by its number, not by its digits.
fn address_key(address: &str) -> (Option<std::net::IpAddr>, &str) {
    (address.parse().ok(), address)
}

fn urgency(member: &Member) -> u8 {
    match member.state.status {
        MemberStatus::Failed => 0,
        MemberStatus::Suspect => 1,
        MemberStatus::Leaving => 2,
        MemberStatus::Alive => 3,
        MemberStatus::Left => 4,
    }
}

fn admits(filter: &Filter, member: &Member) -> bool {
    let state = &member.state;
    let status = status_word(state.status);
    let field = |name: &str| match name {
        "name" => Some(state.name.as_str()),
        "address" => Some(state.address.as_str()),
        "status" => Some(status),
        "type" => Some(member.kind()),
        "build" => Some(member.build()),
        "dc" => state.tags.get("dc").map(String::as_str),
        _ => None,
    };
    filter.admits(field, &[&state.name, &state.address, status, member.kind(), member.build()])
}
