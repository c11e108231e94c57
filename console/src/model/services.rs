//! Services of the datacenter by name, and the list of them on screen. How many instances of each there
//! are, and where, is asked for name by name; how they are, the checks say.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::checks::{Checks, Health};
use super::filter::{self, Filter};
use super::listing::{Listing, SortKey};
use crate::msg::Motion;

/// Instances remembered of all services together, each by node and ID; those of more services are counted
/// while they are looked at.
const PLACES_MAX: usize = 100_000;
/// Names asked for at once.
const ASKED_MAX: usize = 16;

/// Instances by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub passing: usize,
    pub warning: usize,
    pub critical: usize,
    pub other: usize,
}

impl Tally {
    pub fn total(&self) -> usize {
        self.passing + self.warning + self.critical + self.other
    }

    pub fn count(&mut self, health: Health) {
        let count = match health {
            Health::Passing => &mut self.passing,
            Health::Warning => &mut self.warning,
            Health::Critical => &mut self.critical,
            Health::Other => &mut self.other,
        };
        *count += 1;
    }
}

/// Where an instance is: its node and its ID there.
pub type Place = (String, String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    /// Of all its instances.
    pub tags: Vec<String>,
    /// None until it was asked for.
    places: Option<Vec<Place>>,
    /// The catalog changed since.
    is_stale: bool,
    /// As of the last settling; none where the instances are not known.
    pub tally: Option<Tally>,
    /// The worst of its instances, or of its checks while those are all that is known of it.
    pub health: Option<Health>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortBy {
    /// What needs attention first.
    #[default]
    Status,
    Name,
    Instances,
    Tags,
}

impl SortKey for SortBy {
    const ALL: &'static [Self] = &[Self::Status, Self::Name, Self::Instances, Self::Tags];

    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Name => "name",
            Self::Instances => "instances",
            Self::Tags => "tags",
        }
    }
}

/// The fields a filter may name.
pub const FIELDS: [&str; 3] = ["name", "tag", "status"];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// By name.
    rows: Vec<Service>,
    /// The catalog has answered at least once.
    pub known: bool,
    pub listing: Listing<String, SortBy>,
    /// Instances or checks changed since they were counted.
    is_uncounted: bool,
    /// Kept of all rows together.
    places: usize,
}

impl Services {
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    pub fn find(&self, name: &str) -> Option<&Service> {
        self.position(name).map(|at| &self.rows[at])
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.rows.binary_search_by(|row| row.name.as_str().cmp(name)).ok()
    }

    /// Rows on screen, filtered and sorted.
    pub fn shown(&self) -> usize {
        self.listing.len()
    }

    pub fn shown_at(&self, at: usize) -> Option<&Service> {
        self.rows.get(self.listing.row(at)?)
    }

    pub fn selected(&self) -> Option<&Service> {
        self.rows.get(self.listing.selected()?)
    }

    /// Takes the whole catalog of names; what was known of the instances is old from now on.
    pub fn replace(&mut self, named: BTreeMap<String, Vec<String>>) {
        let before = std::mem::take(&mut self.rows);
        let mut before: HashMap<String, Service> = before.into_iter().map(|row| (row.name.clone(), row)).collect();
        self.rows = named
            .into_iter()
            .map(|(name, tags)| match before.remove(&name) {
                Some(row) => Service { tags, is_stale: true, ..row },
                None => Service { name, tags, places: None, is_stale: true, tally: None, health: None },
            })
            .collect();
        self.places = self.rows.iter().filter_map(|row| row.places.as_ref()).map(Vec::len).sum();
        self.known = true;
        self.recount();
    }

    /// Takes where the instances of one service are.
    pub fn place(&mut self, name: &str, places: Vec<Place>) {
        let Some(at) = self.position(name) else { return };
        let before = self.rows[at].places.as_ref().map_or(0, Vec::len);
        self.places = self.places - before + places.len();
        while self.places > PLACES_MAX {
            // Whichever is far from what is looked at would do: the next look asks again.
            let Some(other) = (0..self.rows.len()).rev().find(|row| *row != at && self.rows[*row].places.is_some())
            else {
                break;
            };
            self.places -= self.rows[other].places.take().map_or(0, |places| places.len());
        }
        self.rows[at].places = Some(places);
        self.rows[at].is_stale = false;
        self.recount();
    }

    /// Those whose instances should be asked for next: in sight first, then any that never were.
    pub fn uncounted(&self) -> Vec<String> {
        let list = &self.listing.list;
        let in_sight = (list.top..list.top + list.page).filter_map(|at| self.shown_at(at));
        let in_sight = in_sight.filter(|row| row.is_stale || row.places.is_none()).map(|row| row.name.clone());
        let mut names: Vec<String> = in_sight.take(ASKED_MAX).collect();
        if names.is_empty() && self.places < PLACES_MAX {
            let others = self.rows.iter().filter(|row| row.places.is_none()).map(|row| row.name.clone());
            names.extend(others.take(ASKED_MAX));
        }
        names
    }

    pub fn clear(&mut self) {
        (self.rows, self.known, self.places) = (Vec::new(), false, 0);
        self.recount();
    }

    /// Instances or checks changed: they are counted anew at the next settling.
    pub fn recount(&mut self) {
        self.is_uncounted = true;
    }

    pub fn go(&mut self, motion: Motion) {
        let Self { rows, listing, .. } = self;
        listing.go(motion, |row| rows[row].name.clone());
    }

    pub fn settle(&mut self, page: usize, checks: &Checks) {
        if std::mem::take(&mut self.is_uncounted) {
            self.measure(checks);
            self.listing.disorder();
        }
        let Self { rows, listing, .. } = self;
        let sort = listing.sort;
        listing.arrange(
            rows.len(),
            |filter, row| admits(filter, &rows[row]),
            |a, b| compare(&rows[a], &rows[b], sort),
            |a, b| rows[a].name.cmp(&rows[b].name),
        );
        listing.settle(page, |row, name| rows[row].name == *name, |row| rows[row].name.clone());
    }

    fn measure(&mut self, checks: &Checks) {
        let mut told: HashMap<&str, Health> = HashMap::new();
        // Worst first, so the first of each name is its worst.
        for check in checks.rows().iter().filter(|check| !check.service.is_empty()) {
            told.entry(&check.service).or_insert(check.health);
        }
        for row in &mut self.rows {
            row.health = told.get(row.name.as_str()).copied();
            row.tally = None;
            let Some(places) = row.places.as_ref().filter(|_| checks.known) else { continue };
            let mut tally = Tally::default();
            let mut worst = None;
            for (node, id) in places {
                let health = checks.of_instance(node, id);
                tally.count(health);
                worst = Some(worst.map_or(health, |worst: Health| worst.min(health)));
            }
            (row.tally, row.health) = (Some(tally), worst);
        }
    }
}

fn compare(a: &Service, b: &Service, by: SortBy) -> Ordering {
    match by {
        SortBy::Status => urgency(a).cmp(&urgency(b)),
        SortBy::Name => a.name.cmp(&b.name),
        // The most first, what is not known last.
        SortBy::Instances => b.tally.map(|it| it.total()).cmp(&a.tally.map(|it| it.total())),
        SortBy::Tags => a.tags.is_empty().cmp(&b.tags.is_empty()).then_with(|| a.tags.cmp(&b.tags)),
    }
}

fn urgency(service: &Service) -> u8 {
    match service.health {
        Some(Health::Critical) => 0,
        Some(Health::Warning) => 1,
        Some(Health::Passing | Health::Other) | None => 2,
    }
}

fn admits(filter: &Filter, service: &Service) -> bool {
    if !filter.is_active() {
        return true;
    }
    let status = service.health.map_or("?", Health::word);
    let has = |field: &str, value: &str| match field {
        "name" => filter::is(&service.name, value),
        "tag" => service.tags.iter().any(|tag| filter::is(tag, value)),
        "status" => status == value,
        _ => false,
    };
    let mut all = vec![service.name.as_str(), status];
    all.extend(service.tags.iter().map(String::as_str));
    filter.admits_by(has, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> BTreeMap<String, Vec<String>> {
        names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect()
    }

    fn places(n: usize) -> Vec<Place> {
        (0..n).map(|at| (format!("n{at}"), "web".to_owned())).collect()
    }

    #[test]
    fn what_is_in_sight_is_asked_for_first_and_then_each_once() {
        let mut services = Services::default();
        services.replace(named(&["a", "b", "c", "d"]));
        services.settle(2, &Checks::default());
        assert_eq!(services.uncounted(), ["a", "b"]);
        services.place("a", places(1));
        services.place("b", places(2));
        services.settle(2, &Checks::default());
        assert_eq!(services.uncounted(), ["c", "d"]);
        services.place("c", places(1));
        services.place("d", places(1));
        assert_eq!(services.uncounted(), [""; 0]);
        // A changed catalog makes all of it old; only what is in sight is asked for again.
        services.replace(named(&["a", "b", "c", "d"]));
        services.settle(2, &Checks::default());
        assert_eq!(services.uncounted(), ["a", "b"]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut services = Services::default();
        services.replace(named(&["a", "b", "c"]));
        for name in ["a", "b", "c"] {
            services.place(name, places(PLACES_MAX / 2));
        }
        assert!(services.places <= PLACES_MAX, "{}", services.places);
        assert!(services.find("c").is_some_and(|row| row.places.is_some()), "the newest is kept");
    }

    #[test]
    fn a_tag_is_one_of_several() {
        let mut services = Services::default();
        services.replace(BTreeMap::from([
            ("api".to_owned(), vec!["v1".to_owned(), "Http".to_owned()]),
            ("db".to_owned(), vec!["v10".to_owned()]),
        ]));
        for (text, expected) in [("tag=v1", 1), ("tag=http", 1), ("v1", 2), ("tag!=v1", 1), ("name=db or tag=v1", 2)] {
            services.listing.filter.wipe();
            text.chars().for_each(|c| services.listing.filter.put(c));
            services.listing.disorder();
            services.settle(9, &Checks::default());
            assert_eq!(services.shown(), expected, "{text}");
        }
    }
}
