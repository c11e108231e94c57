//! PURE: who forms a cluster with whom (`bootstrap_expect`). From the servers that gossip shows to what
//! this server does: wait and say for whom, or ask all for the same promise. `forming` carries it out.
//!
//! Only the server with the lowest ID of exactly N asks, and forms the cluster once all have promised
//! durably. A promise binds until the lowest of its own servers, who alone could have formed that
//! cluster, has promised another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A server that gossip shows as alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: Uuid,
    pub name: String,
    /// `address:port` of its RPC.
    pub address: String,
    pub datacenter: String,
    /// Its `bootstrap_expect`; 0 for none.
    pub expect: u32,
    /// It has `bootstrap`: it forms a cluster alone.
    pub bootstrap: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub name: String,
    pub address: String,
}

/// The servers of a cluster to be.
pub type Map = BTreeMap<Uuid, Place>;

/// This server.
#[derive(Clone, Debug)]
pub struct Own {
    pub id: Uuid,
    pub name: String,
    pub datacenter: String,
    pub expect: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not yet; the text says for whom.
    Wait(String),
    /// It is this server that asks the others.
    Ask(Map),
    /// The server of that name asks; this one answers.
    Answer { map: Map, lowest: String },
}

pub fn step(own: &Own, seen: &[Seen]) -> Step {
    let expect = own.expect;
    let here = |s: &&Seen| s.datacenter == own.datacenter || s.id == own.id;
    let mut conflicts: Vec<String> = Vec::new();
    for other in seen.iter().filter(|s| s.id != own.id) {
        let name = &other.name;
        if other.datacenter != own.datacenter {
            conflicts.push(format!("{name} is in datacenter {}, this server in {}", other.datacenter, own.datacenter));
        } else if other.bootstrap {
            conflicts.push(format!("{name} has bootstrap set, and forms a cluster alone"));
        } else if other.expect != expect && other.expect != 0 {
            conflicts.push(format!("{name} has bootstrap_expect {}, this server {expect}", other.expect));
        }
    }
    let fit = |s: &&Seen| here(s) && (s.id == own.id || (s.expect == expect && !s.bootstrap));
    let map: Map =
        seen.iter().filter(fit).map(|s| (s.id, Place { name: s.name.clone(), address: s.address.clone() })).collect();
    let names = map.values().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
    let count = map.len();
    let missing = (expect as usize).saturating_sub(count);
    let mut text = format!("{count} of {expect} servers: {names}");
    if count > expect as usize {
        text.push_str("; more than were expected, set bootstrap_expect to the same number of servers everywhere");
    } else if missing > 0 {
        let what = if missing == 1 { "one more server".to_owned() } else { format!("{missing} more servers") };
        text.push_str(&format!("; missing {what}"));
    }
    if !conflicts.is_empty() {
        return Step::Wait(format!("{text}; {}", conflicts.join("; ")));
    }
    let names: BTreeSet<&str> = map.values().map(|place| place.name.as_str()).collect();
    match map.first_key_value().map(|(id, place)| (*id, place.name.clone())) {
        Some(_) if count != expect as usize => Step::Wait(text),
        Some(_) if names.len() != count => Step::Wait(format!("{text}; two of them have the same name")),
        Some((lowest, _)) if lowest == own.id => Step::Ask(map),
        Some((_, lowest)) => Step::Answer { map, lowest },
        None => Step::Wait(text),
    }
}

/// Whether a server without state may promise `offered`, which `agreed` (the one who asks among them)
/// have promised already; else why not.
pub fn may_promise(own: &Own, held: Option<&Map>, seen: &[Seen], offered: &Map, agreed: &[Uuid]) -> Result<(), String> {
    if !offered.contains_key(&own.id) {
        return Err("this server is not among those named".to_owned());
    }
    if let Some(held) = held.filter(|held| *held != offered) {
        let lowest = held.first_key_value();
        let released = lowest.is_some_and(|(id, _)| *id == own.id || agreed.contains(id));
        if !released {
            let lowest = lowest.map_or("nobody", |(_, place)| place.name.as_str());
            let names = held.values().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!("it has promised to form a cluster of {names} with {lowest}, who has not released it"));
        }
    }
    match step(own, seen) {
        Step::Wait(why) => Err(why),
        Step::Ask(map) | Step::Answer { map, .. } if map == *offered => Ok(()),
        Step::Ask(_) | Step::Answer { .. } => Err("it sees other servers than those named".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn seen(n: u128) -> Seen {
        Seen {
            id: id(n),
            name: format!("n{n}"),
            address: format!("10.0.0.{n}:8300"),
            datacenter: "dc1".to_owned(),
            expect: 3,
            bootstrap: false,
        }
    }

    fn own(n: u128) -> Own {
        Own { id: id(n), name: format!("n{n}"), datacenter: "dc1".to_owned(), expect: 3 }
    }

    fn map(ids: &[u128]) -> Map {
        let place = |n: &u128| Place { name: format!("n{n}"), address: format!("10.0.0.{n}:8300") };
        ids.iter().map(|n| (id(*n), place(n))).collect()
    }

    #[track_caller]
    fn check_waits(own: &Own, seen: &[Seen], words: &[&str]) {
        let Step::Wait(text) = step(own, seen) else { panic!("does not wait") };
        for word in words {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn the_lowest_of_exactly_as_many_as_expected_asks_and_the_others_answer() {
        let all = [seen(3), seen(1), seen(2)];
        assert_eq!(step(&own(1), &all), Step::Ask(map(&[1, 2, 3])));
        for other in [2, 3] {
            assert_eq!(step(&own(other), &all), Step::Answer { map: map(&[1, 2, 3]), lowest: "n1".to_owned() });
        }
    }

    #[test]
    fn too_few_and_too_many_wait_and_say_so() {
        check_waits(&own(1), &[seen(1)], &["1 of 3 servers: n1", "missing 2 more servers"]);
        check_waits(&own(1), &[seen(1), seen(2)], &["2 of 3 servers: n1, n2", "missing one more server"]);
        check_waits(&own(1), &[seen(1), seen(2), seen(3), seen(4)], &["4 of 3", "more than were expected"]);
    }

    #[test]
    fn conflicts_are_told_by_name() {
        let mut other = seen(2);
        other.expect = 5;
        check_waits(&own(1), &[seen(1), other.clone(), seen(3)], &["n2 has bootstrap_expect 5, this server 3"]);
        other.expect = 0;
        other.bootstrap = true;
        check_waits(&own(1), &[seen(1), other.clone(), seen(3)], &["n2 has bootstrap set"]);
        other.datacenter = "dc2".to_owned();
        check_waits(&own(1), &[seen(1), other, seen(3)], &["n2 is in datacenter dc2, this server in dc1"]);
        let mut twin = seen(2);
        twin.name = "n3".to_owned();
        check_waits(&own(1), &[seen(1), twin, seen(3)], &["the same name"]);
    }

    #[test]
    fn a_promise_is_kept_until_its_lowest_has_made_another() {
        let (first, second) = (map(&[1, 2, 3]), map(&[1, 2, 4]));
        let all = [seen(1), seen(2), seen(4)];
        let may = |held: Option<&Map>, agreed: &[Uuid]| may_promise(&own(2), held, &all, &second, agreed);
        assert_eq!(may(None, &[id(1)]), Ok(()));
        assert_eq!(may(Some(&second), &[id(1)]), Ok(()));
        assert_eq!(may(Some(&first), &[id(1)]), Ok(()), "its lowest asks");
        let kept = map(&[0, 2, 3]);
        assert!(may(Some(&kept), &[id(1)]).is_err_and(|why| why.contains("n0, who has not released it")));
        assert_eq!(may(Some(&kept), &[id(1), id(0)]), Ok(()), "its lowest has agreed");
    }

    #[test]
    fn who_sees_others_or_is_not_named_does_not_promise() {
        let offered = map(&[1, 2, 3]);
        let may = |n: u128, all: &[Seen]| may_promise(&own(n), None, all, &offered, &[id(1)]);
        assert!(may(4, &[seen(1), seen(2), seen(4)]).is_err_and(|why| why.contains("not among")));
        assert!(may(2, &[seen(1), seen(2), seen(4)]).is_err_and(|why| why.contains("other servers")));
        assert!(may(2, &[seen(1), seen(2)]).is_err_and(|why| why.contains("missing one more")));
    }
}
