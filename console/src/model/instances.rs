//! The instances of the service that is looked at, with their checks whole, and the list of them on screen.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::time::WallTime;

use super::checks::{Checks, Health, Policy, is_maintenance};
use super::filter::{self, Filter};
use super::listing::{Listing, SortKey};
use super::services::Place;
use crate::msg::Motion;

/// Characters kept of a check's output: all that Consul keeps, and less of each where there are many.
pub const OUTPUT_MAX: usize = 4_096;
const OUTPUT_OF_MANY_MAX: usize = 256;
const MANY: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub id: String,
    pub name: String,
    /// Of the node, not of this service.
    pub is_nodes: bool,
    /// `http`, `ttl`; empty where nobody says.
    pub kind: String,
    pub health: Health,
    /// The status as it came.
    pub status: String,
    pub output: String,
    pub notes: String,
    pub policy: Policy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub node: String,
    pub node_address: String,
    pub id: String,
    /// Its own, else its node's.
    pub address: String,
    pub port: u64,
    pub tags: Vec<String>,
    pub meta: BTreeMap<String, String>,
    /// While passing and while warning.
    pub weights: (u64, u64),
    pub tag_override: bool,
    /// Worst first.
    pub probes: Vec<Probe>,
}

impl Instance {
    pub fn place(&self) -> Place {
        (self.node.clone(), self.id.clone())
    }

    pub fn health(&self) -> Health {
        self.probes.first().map_or(Health::Passing, |probe| probe.health)
    }

    /// Taken out on purpose, itself or with its node.
    pub fn is_kept(&self) -> bool {
        self.probes.iter().any(|probe| is_maintenance(&probe.id))
    }

    pub fn status(&self) -> &str {
        match self.probes.first() {
            _ if self.is_kept() => "maint",
            Some(probe) => &probe.status,
            None => "passing",
        }
    }

    /// The check that makes it what it is; its own before its node's.
    pub fn telling(&self) -> Option<&Probe> {
        self.probes.first()
    }

    pub fn host_port(&self) -> String {
        match self.port {
            0 => self.address.clone(),
            port => match self.address.contains(':') {
                true => format!("[{}]:{port}", self.address),
                false => format!("{}:{port}", self.address),
            },
        }
    }

    /// Since when it is as it is, where that was seen.
    pub fn since(&self, checks: &Checks) -> Option<WallTime> {
        let probe = self.telling()?;
        checks.find(&self.node, &probe.id).filter(|check| check.status == probe.status)?.since
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortBy {
    #[default]
    Status,
    Node,
    Address,
    Check,
}

impl SortKey for SortBy {
    const ALL: &'static [Self] = &[Self::Status, Self::Node, Self::Address, Self::Check];

    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Node => "node",
            Self::Address => "address",
            Self::Check => "check",
        }
    }
}

/// The fields a filter may name.
pub const FIELDS: [&str; 6] = ["node", "id", "address", "status", "tag", "check"];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instances {
    /// The service whose instances these are.
    pub of: String,
    rows: Vec<Instance>,
    /// They have been answered since it is looked at.
    pub known: bool,
    pub listing: Listing<Place, SortBy>,
}

impl Instances {
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    pub fn shown(&self) -> usize {
        self.listing.len()
    }

    pub fn shown_at(&self, at: usize) -> Option<&Instance> {
        self.rows.get(self.listing.row(at)?)
    }

    pub fn selected(&self) -> Option<&Instance> {
        self.rows.get(self.listing.selected()?)
    }

    pub fn places(&self) -> Vec<Place> {
        self.rows.iter().map(Instance::place).collect()
    }

    /// Another service is looked at, or none.
    pub fn turn_to(&mut self, name: &str) {
        if self.of != name {
            let mut next = Self { of: name.to_owned(), ..Self::default() };
            (next.listing.sort, next.listing.reversed) = (self.listing.sort, self.listing.reversed);
            *self = next;
        }
    }

    /// Takes the whole answer.
    pub fn replace(&mut self, mut rows: Vec<Instance>) {
        let most = if rows.len() > MANY { OUTPUT_OF_MANY_MAX } else { OUTPUT_MAX };
        for row in &mut rows {
            for probe in &mut row.probes {
                shorten(&mut probe.output, most);
            }
            row.probes.sort_by(|a, b| {
                let key = |probe: &Probe| (probe.health, !is_maintenance(&probe.id), probe.is_nodes);
                key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
            });
        }
        (self.rows, self.known) = (rows, true);
        self.listing.disorder();
    }

    pub fn go(&mut self, motion: Motion) {
        let Self { rows, listing, .. } = self;
        listing.go(motion, |row| rows[row].place());
    }

    pub fn settle(&mut self, page: usize) {
        let Self { rows, listing, .. } = self;
        let sort = listing.sort;
        listing.arrange(
            rows.len(),
            |filter, row| admits(filter, &rows[row]),
            |a, b| compare(&rows[a], &rows[b], sort),
            |a, b| (&rows[a].node, &rows[a].id).cmp(&(&rows[b].node, &rows[b].id)),
        );
        let is = |row: usize, (node, id): &Place| rows[row].node == *node && rows[row].id == *id;
        listing.settle(page, is, |row| rows[row].place());
    }
}

/// Cuts a text where a character begins.
fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

fn compare(a: &Instance, b: &Instance, by: SortBy) -> Ordering {
    match by {
        SortBy::Status => a.health().cmp(&b.health()),
        SortBy::Node => a.node.cmp(&b.node),
        // An address sorts by its number, not by its digits.
        SortBy::Address => {
            let key = |row: &Instance| (row.address.parse::<std::net::IpAddr>().ok(), row.port);
            key(a).cmp(&key(b))
        }
        SortBy::Check => a.telling().map(|it| &it.name).cmp(&b.telling().map(|it| &it.name)),
    }
}

fn admits(filter: &Filter, row: &Instance) -> bool {
    if !filter.is_active() {
        return true;
    }
    let (status, address) = (row.status(), row.host_port());
    let has = |field: &str, value: &str| match field {
        "node" => filter::is(&row.node, value),
        "id" => filter::is(&row.id, value),
        "address" => filter::is(&row.address, value) || filter::is(&address, value),
        "status" => filter::is(status, value),
        "tag" => row.tags.iter().any(|tag| filter::is(tag, value)),
        "check" => row.probes.iter().any(|probe| filter::is(&probe.name, value) || filter::is(&probe.id, value)),
        _ => false,
    };
    let mut all = vec![row.node.as_str(), &row.id, &address, status];
    all.extend(row.tags.iter().map(String::as_str));
    all.extend(row.probes.iter().map(|probe| probe.name.as_str()));
    filter.admits_by(has, &all)
}
