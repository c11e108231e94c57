//! Members of the gossip pools, as the agent in use sees them, and the list of them on screen.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shared::event::{MemberState, MemberStatus, Pool};
use shared::time::WallTime;

use super::filter::Filter;
use super::list::ListState;
use super::listing::{Listing, SortKey};
pub use super::member::{Member, Suspicion, Turn, status_word};
use crate::msg::Motion;

/// How many of each status.
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

    fn count(&mut self, status: MemberStatus) {
        let count = match status {
            MemberStatus::Alive => &mut self.alive,
            MemberStatus::Suspect => &mut self.suspect,
            MemberStatus::Leaving => &mut self.leaving,
            MemberStatus::Left => &mut self.left,
            MemberStatus::Failed => &mut self.failed,
        };
        *count += 1;
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
    Build,
    Rtt,
    Since,
}

impl SortKey for SortBy {
    const ALL: &'static [Self] =
        &[Self::Status, Self::Name, Self::Address, Self::Type, Self::Build, Self::Rtt, Self::Since];

    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Name => "node",
            Self::Address => "address",
            Self::Type => "type",
            Self::Build => "build",
            Self::Rtt => "rtt",
            Self::Since => "since",
        }
    }
}

/// The fields a filter may name.
pub const FIELDS: [&str; 6] = ["name", "address", "status", "type", "build", "dc"];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Members {
    rows: Vec<Member>,
    index: HashMap<Pool, HashMap<String, usize>>,
    /// Some picture has been complete: an empty list is then the truth.
    pub known: bool,
    /// Of the LAN pool.
    pub census: Census,
    /// Of the WAN pool; empty where nobody tells of one.
    pub wan_census: Census,
    /// The pool on screen.
    pub pool: Pool,
    /// Of the pool on screen.
    pub listing: Listing<String, SortBy>,
    /// Estimated round trips from the agent in use, by node.
    rtts_us: HashMap<String, u64>,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            index: HashMap::new(),
            known: false,
            census: Census::default(),
            wan_census: Census::default(),
            pool: Pool::Lan,
            listing: Listing::default(),
            rtts_us: HashMap::new(),
        }
    }
}

impl Members {
    pub fn find(&self, pool: Pool, name: &str) -> Option<&Member> {
        self.index.get(&pool)?.get(name).map(|at| &self.rows[*at])
    }

    fn find_mut(&mut self, pool: Pool, name: &str) -> Option<&mut Member> {
        let at = *self.index.get(&pool)?.get(name)?;
        self.rows.get_mut(at)
    }

    pub fn of(&self, pool: Pool) -> impl Iterator<Item = &Member> {
        self.rows.iter().filter(move |member| member.state.pool == pool)
    }

    pub fn lan(&self) -> impl Iterator<Item = &Member> {
        self.of(Pool::Lan)
    }

    pub fn count(&self, pool: Pool) -> usize {
        self.index.get(&pool).map_or(0, HashMap::len)
    }

    /// Of the pool on screen.
    pub fn shown_census(&self) -> Census {
        if self.pool == Pool::Wan { self.wan_census } else { self.census }
    }

    /// The other pool, where there is one.
    pub fn turn_pool(&mut self) {
        if self.pool == Pool::Lan && self.count(Pool::Wan) == 0 {
            return;
        }
        self.pool = if self.pool == Pool::Lan { Pool::Wan } else { Pool::Lan };
        self.listing.list = ListState::default();
        self.listing.disorder();
    }

    /// Shows the same pool, rows and order as another moment of it.
    pub fn stand_as(&mut self, other: &Self) {
        self.pool = other.pool;
        self.listing.stand_as(&other.listing);
    }

    /// Takes the estimates of all round trips.
    pub fn set_rtts(&mut self, rtts_us: HashMap<String, u64>) {
        self.rtts_us = rtts_us;
        if self.listing.sort == SortBy::Rtt {
            self.listing.disorder();
        }
    }

    /// Estimated microseconds from the agent in use and back.
    pub fn rtt_us(&self, member: &Member) -> Option<u64> {
        self.rtts_us.get(&member.state.name).copied()
    }

    /// Something happened to a member.
    pub fn turn(&mut self, pool: Pool, name: &str, turn: Turn) {
        if let Some(member) = self.find_mut(pool, name) {
            member.turn(turn);
        }
    }

    /// What gossip last said of a member.
    pub fn say(&mut self, pool: Pool, name: &str, note: Option<String>) {
        if let Some(member) = self.find_mut(pool, name) {
            member.note = note;
        }
    }

    /// What is going on about a member that is suspected; none when that is over.
    pub fn suspect(&mut self, pool: Pool, name: &str, suspicion: Option<Suspicion>) {
        if let Some(member) = self.find_mut(pool, name) {
            member.suspicion = suspicion;
        }
    }

    /// The LAN member with this node ID.
    pub fn by_id(&self, id: &str) -> Option<&Member> {
        self.lan().find(|member| member.id() == Some(id))
    }

    /// Rows on screen, filtered and sorted.
    pub fn shown(&self) -> usize {
        self.listing.len()
    }

    pub fn shown_at(&self, at: usize) -> Option<&Member> {
        self.rows.get(self.listing.row(at)?)
    }

    pub fn selected(&self) -> Option<&Member> {
        self.rows.get(self.listing.selected()?)
    }

    /// Takes what a member is now; `since` is when that became so, if it was seen to happen.
    pub fn put(&mut self, state: MemberState, since: Option<WallTime>) {
        self.listing.disorder();
        if let Some(known) = self.find_mut(state.pool, &state.name) {
            if known.state.status != state.status {
                known.since = since;
                known.note = None;
                known.suspicion = None;
            }
            known.state = state;
            known.unseen = false;
            return;
        }
        let names = self.index.entry(state.pool).or_default();
        names.insert(state.name.clone(), self.rows.len());
        self.rows.push(Member::new(state, since));
    }

    pub fn remove(&mut self, pool: Pool, name: &str) {
        let Some(at) = self.index.get_mut(&pool).and_then(|names| names.remove(name)) else { return };
        self.rows.swap_remove(at);
        if let Some(moved) = self.rows.get(at)
            && let Some(names) = self.index.get_mut(&moved.state.pool)
        {
            names.insert(moved.state.name.clone(), at);
        }
        self.listing.disorder();
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
        self.listing.disorder();
    }

    /// A whole answer comes, of one pool or of both.
    pub fn picture_begins(&mut self, pool: Option<Pool>) {
        let is_in = |member: &&mut Member| pool.is_none_or(|pool| member.state.pool == pool);
        self.rows.iter_mut().filter(is_in).for_each(|member| member.unseen = true);
    }

    /// What the picture did not mention goes; that is returned.
    pub fn picture_ends(&mut self) -> Vec<Member> {
        self.known = true;
        let mut gone = Vec::new();
        if self.rows.iter().any(|member| member.unseen) {
            gone = self.rows.extract_if(.., |member| member.unseen).collect();
            self.index.clear();
            for (at, member) in self.rows.iter().enumerate() {
                self.index.entry(member.state.pool).or_default().insert(member.state.name.clone(), at);
            }
        }
        self.listing.disorder();
        gone
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.index.clear();
        self.rtts_us.clear();
        self.known = false;
        self.listing.disorder();
    }

    pub fn go(&mut self, motion: Motion) {
        let Self { rows, listing, .. } = self;
        listing.go(motion, |row| rows[row].state.name.clone());
    }

    pub fn settle(&mut self, page: usize) {
        if self.listing.is_disordered() {
            self.count_all();
        }
        let Self { rows, listing, rtts_us, pool, .. } = self;
        let sort = listing.sort;
        // Numbers once a row, not once a comparison.
        let numbers: Vec<Number> = match sort {
            _ if !listing.is_disordered() => Vec::new(),
            SortBy::Address => rows.iter().map(|row| Number::Address(address_key(row))).collect(),
            SortBy::Rtt => rows.iter().map(|row| Number::Rtt(rtt_key(rtts_us, row))).collect(),
            _ => Vec::new(),
        };
        listing.arrange(
            rows.len(),
            |filter, row| rows[row].state.pool == *pool && admits(filter, &rows[row]),
            |a, b| match (numbers.get(a), numbers.get(b)) {
                (Some(a), Some(b)) => a.cmp(b),
                _ => compare(&rows[a], &rows[b], sort),
            },
            |a, b| rows[a].state.name.cmp(&rows[b].state.name),
        );
        listing.settle(page, |row, name| rows[row].state.name == *name, |row| rows[row].state.name.clone());
    }

    fn count_all(&mut self) {
        (self.census, self.wan_census) = (Census::default(), Census::default());
        if self.pool == Pool::Wan && self.count(Pool::Wan) == 0 {
            self.pool = Pool::Lan;
        }
        for member in &self.rows {
            match member.state.pool {
                Pool::Lan => self.census.count(member.state.status),
                Pool::Wan => self.wan_census.count(member.state.status),
            }
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    Address(Option<std::net::IpAddr>),
    Rtt(u64),
}

fn compare(a: &Member, b: &Member, by: SortBy) -> Ordering {
    match by {
        SortBy::Status => urgency(a).cmp(&urgency(b)).then_with(|| b.is_server().cmp(&a.is_server())),
        SortBy::Type => b.is_server().cmp(&a.is_server()),
        SortBy::Build => a.build().cmp(b.build()),
        // The newest change first, what we did not see last.
        SortBy::Since => b.since.cmp(&a.since),
        SortBy::Name | SortBy::Address | SortBy::Rtt => a.state.name.cmp(&b.state.name),
    }
}

/// The farthest first, what was not measured last.
fn rtt_key(rtts_us: &HashMap<String, u64>, member: &Member) -> u64 {
    rtts_us.get(&member.state.name).map_or(u64::MAX, |us| u64::MAX - 1 - us)
}

/// An address sorts by its number, not by its digits.
fn address_key(member: &Member) -> Option<std::net::IpAddr> {
    member.state.address.parse().ok()
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
