//! Who can understand whom: the ranges of protocol versions that members tell of themselves.
//!
//! As memberlist: all that are alive, in what a peer tells and in what we know, must share a range, and
//! everybody must speak within it; else the whole of what the peer tells is refused. Ours besides: a
//! member that we ourselves could not speak with is not taken from a rumour, for it would spoil that
//! range for every exchange after.

use super::VERSIONS;
use super::codec::{Alive, State};
use super::member::Member;

/// One protocol's versions: lowest and highest understood, and spoken.
#[derive(Clone, Copy)]
struct Span {
    min: u8,
    max: u8,
    cur: u8,
}

/// Memberlist's own protocol, and its delegate's, which is serf's.
fn spans(versions: [u8; 6]) -> [Span; 2] {
    let [min, max, cur, delegate_min, delegate_max, delegate_cur] = versions;
    [Span { min, max, cur }, Span { min: delegate_min, max: delegate_max, cur: delegate_cur }]
}

/// Whether a member with these versions and we can understand each other.
pub(super) fn is_speakable(versions: [u8; 6]) -> bool {
    spans(versions).iter().zip(spans(VERSIONS)).all(|(theirs, ours)| {
        let understood = |span: &Span, cur: u8| span.min <= cur && cur <= span.max;
        theirs.min != 0 && understood(theirs, ours.cur) && understood(&ours, theirs.cur)
    })
}

/// Whether all that are told and known can speak with each other; else who cannot, in memberlist's words.
pub(super) fn check<'a, K: Iterator<Item = &'a Member>>(
    told: &[(Alive<'_>, State)],
    known: impl Fn() -> K,
) -> Result<(), String> {
    let told = told.iter().map(|(member, state)| (member.node, spans(member.versions), *state));
    let known = || known().map(|member| (&*member.name, spans(member.versions), member.state));
    let mut shared = [Span { min: 0, max: u8::MAX, cur: 0 }; 2];
    for (_, versions, _) in told.clone().chain(known()).filter(|(_, _, state)| *state == State::Alive) {
        for (shared, of_one) in shared.iter_mut().zip(versions) {
            shared.min = shared.min.max(of_one.min);
            shared.max = shared.max.min(of_one.max);
        }
    }
    // Those that are not alive need not be understood: memberlist checks them too, and lets a member that
    // went away years ago keep newcomers out.
    for (name, versions, _) in told.chain(known()).filter(|(_, _, state)| *state == State::Alive) {
        for ((shared, of_one), what) in shared.iter().zip(versions).zip(["protocol", "delegate protocol"]) {
            if of_one.cur < shared.min || of_one.cur > shared.max {
                let Span { min, max, .. } = shared;
                return Err(format!("Node '{name}' {what} version ({}) is incompatible: [{min}, {max}]", of_one.cur));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn speakable(versions: [u8; 6], expected: bool) {
        assert_eq!(is_speakable(versions), expected, "{versions:?}");
    }

    #[test]
    fn both_must_understand_what_the_other_speaks() {
        speakable(VERSIONS, true);
        // Debian's serf, and an old Consul.
        speakable([1, 5, 2, 2, 5, 5], true);
        speakable([1, 3, 2, 1, 4, 4], true);
        speakable([3, 5, 3, 2, 5, 4], false);
        speakable([1, 1, 1, 2, 5, 4], false);
        speakable([1, 9, 9, 2, 5, 4], false);
        speakable([1, 5, 2, 5, 5, 5], false);
        speakable([5, 1, 2, 2, 5, 4], false);
        speakable([0; 6], false);
    }

    #[track_caller]
    fn told(members: &[(&str, [u8; 6], State)], expected: Result<(), &str>) {
        let address = ([10, 0, 0, 1], 8301).into();
        let members: Vec<_> = members
            .iter()
            .map(|(node, versions, state)| {
                (Alive { incarnation: 1, node, address, meta: &[], versions: *versions }, *state)
            })
            .collect();
        assert_eq!(check(&members, std::iter::empty), expected.map_err(str::to_owned));
    }

    #[test]
    fn all_that_are_alive_must_share_a_range() {
        told(&[("a", VERSIONS, State::Alive), ("b", [1, 5, 2, 2, 5, 5], State::Alive)], Ok(()));
        let narrow = ("n", [2, 3, 2, 2, 4, 4], State::Alive);
        told(&[narrow, ("b", [1, 5, 2, 2, 5, 4], State::Alive)], Ok(()));
        told(
            &[narrow, ("b", [1, 5, 4, 2, 5, 4], State::Alive)],
            Err("Node 'b' protocol version (4) is incompatible: [2, 3]"),
        );
        told(
            &[narrow, ("b", [1, 5, 2, 2, 5, 5], State::Alive)],
            Err("Node 'b' delegate protocol version (5) is incompatible: [2, 4]"),
        );
        told(&[("a", VERSIONS, State::Alive), ("gone", [0; 6], State::Dead)], Ok(()));
    }
}
