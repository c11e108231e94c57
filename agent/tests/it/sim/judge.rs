//! What must hold after every step, apart from the actors: plain functions over what is seen.

use std::collections::BTreeMap;

use agent::moment::Moment;
use agent::swim::{Notice, Swim};
use shared::event::MemberEvent;

use super::network::Place;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// Who said that whom failed, and when.
    pub(crate) failures: Vec<(Moment, Place, String)>,
    /// Per member, of each other the highest incarnation it has listed.
    incarnations: BTreeMap<Place, BTreeMap<String, u32>>,
}

impl Judge {
    /// A process starts anew: what it knew is void.
    pub(crate) fn forget(&mut self, place: Place) {
        self.incarnations.remove(&place);
    }

    pub(crate) fn hear(&mut self, place: Place, now: Moment, notice: &Notice) {
        match notice {
            Notice::Member(MemberEvent::Failed(news)) => self.failures.push((now, place, news.state.name.clone())),
            // It may come back as a new process that counts from 1 again.
            Notice::Member(MemberEvent::Reaped(news) | MemberEvent::Joined(news) | MemberEvent::Rejoined(news)) => {
                self.incarnations.entry(place).or_default().remove(&news.state.name);
            }
            _ => {}
        }
    }

    pub(crate) fn look(&mut self, place: Place, swim: Option<&Swim>, changed: bool) {
        let Some(swim) = swim.filter(|_| changed) else { return };
        let seen = self.incarnations.entry(place).or_default();
        for member in swim.members() {
            invariant_incarnation_never_decreases(seen, &member.name, member.incarnation);
        }
    }
}

fn invariant_incarnation_never_decreases(seen: &mut BTreeMap<String, u32>, name: &str, incarnation: u32) {
    if let Some(highest) = seen.get_mut(name) {
        assert!(incarnation >= *highest, "{name} went from incarnation {highest} to {incarnation}");
        *highest = incarnation;
    } else {
        seen.insert(name.to_owned(), incarnation);
    }
}
