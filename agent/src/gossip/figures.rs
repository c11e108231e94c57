//! What the state machine threw away, as counters of the agent. Called by `driver` with old and new.

use crate::swim::{Counters, Facts};

pub(super) fn count(before: &Facts, now: &Facts) {
    let more = |part: fn(&Counters) -> u64| part(&now.counters).saturating_sub(part(&before.counters));
    let figures: [(&'static str, u64); 5] = [
        ("quorate.gossip.malformed", more(|counters| counters.malformed)),
        ("quorate.gossip.rumours_dropped", more(|counters| counters.rumours_dropped)),
        ("quorate.gossip.over_limit", more(|counters| counters.refused)),
        ("quorate.gossip.coordinates_rejected", more(|counters| counters.coordinates_rejected)),
        ("quorate.gossip.members_rejected", more(|counters| counters.rejected)),
    ];
    for (name, more) in figures.into_iter().filter(|(_, more)| *more > 0) {
        metrics::counter!(name).increment(more);
    }
}
