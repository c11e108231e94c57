//! PURE: is there an order of a key's operations, each within its own time, that explains every answer?
//!
//! A search with memory, after Wing and Gong, and Lowe. What makes it short is that every value is
//! written once: an unknown write that somebody saw happened before it was seen; one that nobody saw can
//! only have made a condition fail, and is drawn from a purse of such writes when one is needed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use super::history::{Action, Held, History, Operation, Outcome};

/// A search that takes more steps has no verdict.
const STEPS_MAX: u64 = 5_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This order explains all: places in the history.
    Linearizable,
    /// No order does.
    Anomaly,
    /// The search was too long.
    Undecided,
}

/// What a key holds while the search tries an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Is(Held),
    /// Something that was written and never seen.
    Unseen,
}

/// How often unseen writes were drawn: without a condition, and over nothing.
type Drawn = (u32, u32);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    /// All before this are in the order.
    low: usize,
    /// Those after `low` that are too.
    beyond: Vec<u64>,
    state: State,
    drawn: Drawn,
}

/// A history made ready for the search.
struct Search {
    /// By their beginning; each has an end.
    sure: Vec<Operation>,
    /// When unseen writes without a condition began.
    unseen: Vec<u64>,
    /// When unseen writes over this began, first of each; over nothing all of them.
    unseen_over: BTreeMap<u64, u64>,
    unseen_over_nothing: Vec<u64>,
    /// When deletions of this began of which nobody knows.
    deleting: BTreeMap<u64, u64>,
}

/// Whether the history of one key, which holds nothing at first, can be explained.
pub(super) fn check(history: &[Operation]) -> Verdict {
    Search::new(history).from(&[State::Is(None)])
}

impl Search {
    fn new(history: &[Operation]) -> Self {
        // Who saw a value first: its write took effect before that ended.
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for operation in history {
            let held = match (operation.action, operation.outcome) {
                (_, Outcome::Found(Some(value))) => value,
                (Action::Cas { expects: Some(value), .. }, Outcome::Was(true)) => value,
                _ => continue,
            };
            let first = seen.entry(held).or_insert(u64::MAX);
            *first = (*first).min(operation.ended);
        }
        let mut search = Self {
            sure: Vec::new(),
            unseen: Vec::new(),
            unseen_over: BTreeMap::new(),
            unseen_over_nothing: Vec::new(),
            deleting: BTreeMap::new(),
        };
        for operation in history {
            let first = |over: &mut BTreeMap<u64, u64>, value: u64| {
                let began = over.entry(value).or_insert(u64::MAX);
                *began = (*began).min(operation.began);
            };
            let seen_by = |value: u64| seen.get(&value).copied();
            match (operation.action, operation.outcome) {
                (Action::Read, Outcome::Unknown) => {}
                (Action::Write(value), Outcome::Unknown) => match seen_by(value) {
                    Some(by) => search.happened(operation, Outcome::Done, by),
                    None => search.unseen.push(operation.began),
                },
                (Action::Cas { expects, value }, Outcome::Unknown) => match (seen_by(value), expects) {
                    (Some(by), _) => search.happened(operation, Outcome::Was(true), by),
                    (None, Some(expected)) => first(&mut search.unseen_over, expected),
                    (None, None) => search.unseen_over_nothing.push(operation.began),
                },
                (Action::Delete { expects }, Outcome::Unknown) => first(&mut search.deleting, expects),
                _ => search.sure.push(operation.clone()),
            }
        }
        search.sure.sort_by_key(|operation| operation.began);
        search.unseen.sort_unstable();
        search.unseen_over_nothing.sort_unstable();
        search
    }

    fn happened(&mut self, operation: &Operation, outcome: Outcome, by: u64) {
        self.sure.push(Operation { outcome, ended: by, ..operation.clone() });
    }

    /// Whether any of these states at first explains all.
    fn from(&self, first: &[State]) -> Verdict {
        let start = |state: &State| Node { low: 0, beyond: Vec::new(), state: *state, drawn: (0, 0) };
        let mut open: Vec<Node> = first.iter().map(start).collect();
        let mut known: HashSet<Node> = open.iter().cloned().collect();
        let mut steps = 0;
        while let Some(node) = open.pop() {
            if node.low == self.sure.len() {
                return Verdict::Linearizable;
            }
            steps += 1;
            if steps > STEPS_MAX {
                return Verdict::Undecided;
            }
            for next in self.after(&node) {
                if known.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        Verdict::Anomaly
    }

    /// All that may come next; what ends first is tried first.
    fn after(&self, node: &Node) -> Vec<Node> {
        let (mut candidates, mut limit) = (Vec::new(), u64::MAX);
        for (place, operation) in self.sure.iter().enumerate().skip(node.low) {
            if operation.began > limit {
                break;
            }
            if !node.has(place) {
                limit = limit.min(operation.ended);
                candidates.push(place);
            }
        }
        candidates.retain(|place| self.sure[*place].began <= limit);
        candidates.sort_by_key(|place| std::cmp::Reverse(self.sure[*place].ended));
        let mut next = Vec::new();
        if let State::Is(Some(value)) = node.state
            && self.deleting.get(&value).is_some_and(|began| *began <= limit)
        {
            next.push(Node { state: State::Is(None), ..node.clone() });
        }
        for place in candidates {
            let operation = &self.sure[place];
            match apply(node.state, operation) {
                Some(state) => next.push(self.with(node, place, state, node.drawn)),
                // An unseen write may have come between.
                None if fails_a_condition(operation) => {
                    if let Some(drawn) = self.draw(node, limit) {
                        next.push(self.with(node, place, State::Unseen, drawn));
                    }
                }
                None => {}
            }
        }
        next
    }

    /// An unseen write over what is held, begun by `limit`; the purse afterwards.
    fn draw(&self, node: &Node, limit: u64) -> Option<Drawn> {
        let (plain, over_nothing) = node.drawn;
        let has = |began: &[u64], drawn: u32| began.get(drawn as usize).is_some_and(|began| *began <= limit);
        match node.state {
            State::Is(Some(value)) if self.unseen_over.get(&value).is_some_and(|began| *began <= limit) => {
                Some(node.drawn)
            }
            State::Is(None) if has(&self.unseen_over_nothing, over_nothing) => Some((plain, over_nothing + 1)),
            _ => has(&self.unseen, plain).then_some((plain + 1, over_nothing)),
        }
    }

    fn with(&self, node: &Node, place: usize, state: State, drawn: Drawn) -> Node {
        let mut next = Node { state, drawn, ..node.clone() };
        next.add(place, self.sure.len());
        next
    }
}

impl Node {
    fn has(&self, place: usize) -> bool {
        let Some(at) = place.checked_sub(self.low) else { return true };
        self.beyond.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Keeps `low` at the first that is missing, so that equal orders are equal nodes.
    fn add(&mut self, place: usize, count: usize) {
        if place != self.low {
            let at = place - self.low;
            if self.beyond.len() <= at / 64 {
                self.beyond.resize(at / 64 + 1, 0);
            }
            self.beyond[at / 64] |= 1 << (at % 64);
            return;
        }
        let first = (place + 1..count).find(|next| !self.has(*next)).unwrap_or(count);
        let rest: Vec<usize> = (first..self.low + self.beyond.len() * 64).filter(|next| self.has(*next)).collect();
        (self.low, self.beyond) = (first, Vec::new());
        for next in rest {
            self.add(next, count);
        }
    }
}

/// What the key holds afterwards, if the answer is right where it holds `state`.
fn apply(state: State, operation: &Operation) -> Option<State> {
    let is = |held: Held| state == State::Is(held);
    let (right, after) = match (operation.action, operation.outcome) {
        (Action::Read, Outcome::Found(held)) => (is(held), state),
        (Action::Write(value), Outcome::Done) => (true, State::Is(Some(value))),
        (Action::Cas { expects, value }, Outcome::Was(true)) => (is(expects), State::Is(Some(value))),
        (Action::Cas { expects, .. }, Outcome::Was(false)) => (!is(expects), state),
        (Action::Delete { expects }, Outcome::Was(true)) => (is(Some(expects)) || is(None), State::Is(None)),
        (Action::Delete { expects }, Outcome::Was(false)) => (!is(Some(expects)) && !is(None), state),
        // An answer of another kind is none.
        _ => (false, state),
    };
    right.then_some(after)
}

fn fails_a_condition(operation: &Operation) -> bool {
    operation.outcome == Outcome::Was(false)
}

/// What of a key's history nothing explains.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) key: String,
    pub(super) verdict: Verdict,
    /// The fewest operations found that contradict each other, and who wrote what they saw.
    pub(super) window: Vec<Operation>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Undecided => return write!(f, "{}: no verdict within {STEPS_MAX} steps", self.key),
            _ => writeln!(f, "{}: no order explains these {} operations:", self.key, self.window.len())?,
        }
        self.window.iter().try_for_each(|operation| writeln!(f, "    {operation}"))
    }
}

/// Every key whose history cannot be explained, in the order of the keys.
pub(super) fn findings(history: &History) -> Vec<Finding> {
    let of_key = |(key, operations): (&String, &Vec<Operation>)| match check(operations) {
        Verdict::Linearizable => None,
        Verdict::Undecided => Some(Finding { key: key.clone(), verdict: Verdict::Undecided, window: Vec::new() }),
        Verdict::Anomaly => {
            Some(Finding { key: key.clone(), verdict: Verdict::Anomaly, window: smallest_window(operations) })
        }
    };
    history.iter().filter_map(of_key).collect()
}

/// From a history that cannot be explained to the fewest operations that still cannot be.
fn smallest_window(history: &[Operation]) -> Vec<Operation> {
    // The first moment at which it was beyond explanation: what is not answered by then is unknown.
    let mut ends: Vec<u64> = history.iter().map(|operation| operation.ended).filter(|end| *end != u64::MAX).collect();
    ends.sort_unstable();
    let is_late = |end: &u64| check(&until(history, *end)) == Verdict::Anomaly;
    let first = ends.partition_point(|end| !is_late(end)).min(ends.len().saturating_sub(1));
    let mut window = until(history, ends[first]);
    // From there back: without what had ended before, and whatever that left behind.
    let mut earlier: Vec<u64> = window.iter().map(|operation| operation.ended).collect();
    earlier.sort_unstable();
    for end in earlier.into_iter().rev() {
        let shorter = since(&window, end);
        if contradicts_itself(&shorter) {
            window = shorter;
            break;
        }
    }
    let starts_anywhere = contradicts_itself(&window);
    let mut place = 0;
    while place < window.len() {
        let mut fewer = window.clone();
        let without = fewer.remove(place);
        let still = if starts_anywhere { contradicts_itself(&fewer) } else { check(&fewer) == Verdict::Anomaly };
        if still && !is_needed(&without, &fewer) {
            window = fewer;
        } else {
            place += 1;
        }
    }
    // Shown with the answers that came later, and with who wrote what was seen.
    let is_in =
        |operation: &Operation| window.iter().any(|o| (o.client, o.began) == (operation.client, operation.began));
    let shown = history.iter().filter(|operation| is_in(operation) || is_needed(operation, &window));
    let mut shown: Vec<Operation> = shown.cloned().collect();
    shown.sort_by_key(|operation| operation.began);
    shown
}

/// What was known of it at that moment.
fn until(history: &[Operation], moment: u64) -> Vec<Operation> {
    let known = history.iter().filter(|operation| operation.began <= moment);
    let open = |operation: &Operation| match operation.ended > moment {
        true => Operation { outcome: Outcome::Unknown, ended: u64::MAX, ..operation.clone() },
        false => operation.clone(),
    };
    known.map(open).collect()
}

/// What is left of it when that moment is the beginning. What was on its way then tells nothing, and what
/// it wrote may be there already or come yet.
fn since(history: &[Operation], moment: u64) -> Vec<Operation> {
    let left = |operation: &Operation| {
        if operation.began > moment {
            return Some(operation.clone());
        }
        let wrote = !matches!(operation.outcome, Outcome::Found(_) | Outcome::Was(false));
        let open = Operation { outcome: Outcome::Unknown, ended: u64::MAX, ..operation.clone() };
        (wrote && operation.ended > moment && operation.action != Action::Read).then_some(open)
    };
    history.iter().filter_map(left).collect()
}

/// Whether no state at first explains these.
fn contradicts_itself(operations: &[Operation]) -> bool {
    let mut first = BTreeSet::new();
    for operation in operations {
        match (operation.action, operation.outcome) {
            (_, Outcome::Found(held)) => _ = first.insert(held),
            (Action::Cas { expects, .. }, _) => _ = first.insert(expects),
            (Action::Delete { expects }, _) => _ = first.insert(Some(expects)),
            _ => {}
        }
    }
    let states = first.into_iter().map(State::Is).chain([State::Is(None), State::Unseen]);
    Search::new(operations).from(&states.collect::<Vec<_>>()) == Verdict::Anomaly
}

/// Without the write of a value that others saw, they would contradict each other for that reason.
fn is_needed(operation: &Operation, others: &[Operation]) -> bool {
    let (Action::Write(value) | Action::Cas { value, .. }) = operation.action else { return false };
    let sees = |other: &Operation| {
        other.outcome == Outcome::Found(Some(value))
            || matches!(other.action, Action::Cas { expects: Some(v), .. } | Action::Delete { expects: v } if v == value)
    };
    others.iter().any(sees)
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
