//! What happened, newest last: a bounded ring with level, kinds and filter, followed or frozen.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::event::Level;
use shared::time::WallTime;

use super::filter::Filter;
use super::list::ListState;
use super::mark::Mark;
use crate::msg::Motion;

/// Entries kept; the oldest go first.
pub const ENTRIES_MAX: usize = 50_000;
/// How far back an equal entry is looked for, to count it instead of repeating it.
const REPEATS_WITHIN: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Raft,
    Gossip,
    Agent,
    Check,
    Log,
    /// What was ordered from here, and what came of it.
    Action,
    /// What this console itself has to say.
    Console,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Gossip => "gossip",
            Self::Agent => "agent",
            Self::Check => "check",
            Self::Log => "log",
            Self::Action => "action",
            Self::Console => "link",
        }
    }
}

/// Which kinds are shown: all, or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kinds {
    #[default]
    All,
    Only(Kind),
}

impl Kinds {
    pub fn next(self) -> Self {
        match self {
            Self::All => Self::Only(Kind::Raft),
            Self::Only(Kind::Raft) => Self::Only(Kind::Gossip),
            Self::Only(Kind::Gossip) => Self::Only(Kind::Check),
            Self::Only(Kind::Check) => Self::Only(Kind::Agent),
            Self::Only(Kind::Agent) => Self::Only(Kind::Log),
            Self::Only(Kind::Log) => Self::Only(Kind::Action),
            Self::Only(Kind::Action | Kind::Console) => Self::All,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Only(kind) => kind.word(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Position since the console started.
    pub seq: u64,
    /// Of the last of its repeats.
    pub at: WallTime,
    pub node: String,
    pub kind: Kind,
    pub level: Level,
    pub mark: Mark,
    pub text: String,
    pub times: u32,
}

/// An entry before it has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub at: WallTime,
    pub node: String,
    pub kind: Kind,
    pub level: Level,
    pub mark: Mark,
    pub text: String,
}

/// The fields a filter may name.
pub const FIELDS: [&str; 3] = ["from", "kind", "level"];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    entries: VecDeque<Entry>,
    /// Sequence numbers of the entries shown, oldest first.
    shown: VecDeque<u64>,
    next_seq: u64,
    pub level: Level,
    pub kinds: Kinds,
    pub filter: Filter,
    pub follow: bool,
    /// The newest entry when following stopped: what is newer is counted, not shown as read.
    pub frozen_at: Option<u64>,
    pub list: ListState<u64>,
    /// Events that an agent dropped because we were slow.
    pub missed: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            shown: VecDeque::new(),
            next_seq: 0,
            level: Level::Info,
            kinds: Kinds::All,
            filter: Filter::default(),
            follow: true,
            frozen_at: None,
            list: ListState::default(),
            missed: 0,
        }
    }
}

impl Journal {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn shown(&self) -> usize {
        self.shown.len()
    }

    /// What the next entry would be.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// All entries kept, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    pub fn shown_at(&self, at: usize) -> Option<&Entry> {
        self.entry(*self.shown.get(at)?)
    }

    pub fn selected(&self) -> Option<&Entry> {
        self.shown_at(self.list.stands_at()?)
    }

    /// Entries that came since following stopped.
    pub fn newer(&self) -> usize {
        self.frozen_at.map_or(0, |at| self.shown.len() - self.shown.partition_point(|seq| *seq <= at))
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        let first = self.entries.front()?.seq;
        self.entries.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    pub fn push(&mut self, news: News) {
        let News { at, node, kind, level, mark, text } = news;
        let seq = self.next_seq;
        let mut entry = Entry { seq, at, node, kind, level, mark, text, times: 1 };
        if let Some(before) = self.take_repeated(&entry) {
            entry = Entry { seq: seq - 1, at: at.max(before.at), times: before.times.saturating_add(1), ..entry };
        }
        self.next_seq = entry.seq + 1;
        if self.admits(&entry) {
            self.shown.push_back(entry.seq);
        }
        self.entries.push_back(entry);
        self.evict();
    }

    /// Takes out the entry that this one repeats, which then stands last, where the newest is. Nothing
    /// that was there when following stopped is moved, and connections are told in their order.
    fn take_repeated(&mut self, news: &Entry) -> Option<Entry> {
        let within = if news.kind == Kind::Console { 1 } else { REPEATS_WITHIN };
        let is_free = |entry: &Entry| self.frozen_at.is_none_or(|frozen| entry.seq > frozen);
        let same = |e: &Entry| e.kind == news.kind && e.node == news.node && e.text == news.text && is_free(e);
        let back = self.entries.iter().rev().take(within).position(same)?;
        let at = self.entries.len() - 1 - back;
        let taken = self.entries.remove(at)?;
        self.entries.range_mut(at..).for_each(|entry| entry.seq -= 1);
        let place = self.shown.partition_point(|seq| *seq < taken.seq);
        if self.shown.get(place) == Some(&taken.seq) {
            self.shown.remove(place);
        }
        self.shown.range_mut(place..).for_each(|seq| *seq -= 1);
        Some(taken)
    }

    /// Puts what happened before we came among what is kept, by its time.
    pub fn insert(&mut self, news: News) {
        let later = self.entries.iter().rev().take_while(|entry| entry.at > news.at).count();
        if later == 0 {
            return self.push(news);
        }
        let at = self.entries.len() - later;
        let News { at: time, node, kind, level, mark, text } = news;
        let Some(seq) = self.entries.get(at).map(|entry| entry.seq) else { return };
        let entry = Entry { seq, at: time, node, kind, level, mark, text, times: 1 };
        let place = self.shown.partition_point(|shown| *shown < seq);
        let is_shown = self.admits(&entry);
        self.entries.range_mut(at..).for_each(|entry| entry.seq += 1);
        self.shown.range_mut(place..).for_each(|seq| *seq += 1);
        for known in [&mut self.frozen_at, &mut self.list.selected].into_iter().flatten() {
            *known += u64::from(*known >= seq);
        }
        self.next_seq += 1;
        self.entries.insert(at, entry);
        if is_shown {
            self.shown.insert(place, seq);
        }
        self.evict();
    }

    fn evict(&mut self) {
        if self.entries.len() > ENTRIES_MAX
            && let Some(oldest) = self.entries.pop_front()
            && self.shown.front() == Some(&oldest.seq)
        {
            self.shown.pop_front();
            // What is in sight stays in sight while the ring turns.
            self.list.at = self.list.at.saturating_sub(1);
            self.list.top = self.list.top.saturating_sub(1);
        }
    }

    fn admits(&self, entry: &Entry) -> bool {
        let kind = match self.kinds {
            Kinds::All => true,
            Kinds::Only(kind) => kind == entry.kind,
        };
        kind && entry.level >= self.level && (!self.filter.is_active() || filtered(&self.filter, entry))
    }

    /// Chooses the entries shown anew, after level, kinds or filter changed.
    pub fn choose(&mut self) {
        let shown = self.entries.iter().filter(|entry| self.admits(entry)).map(|entry| entry.seq).collect();
        self.shown = shown;
    }

    pub fn follow(&mut self) {
        self.follow = true;
        self.frozen_at = None;
        self.list.selected = None;
    }

    pub fn freeze(&mut self) {
        self.follow = false;
        self.frozen_at = self.next_seq.checked_sub(1);
        self.list.selected = self.shown.get(self.list.at).copied();
    }

    pub fn go(&mut self, motion: Motion) {
        if motion == Motion::End {
            return self.follow();
        }
        if self.follow {
            self.freeze();
        }
        let Self { shown, list, .. } = self;
        list.go(motion, shown.len(), |at| shown.get(at).copied());
        list.selected = shown.get(list.at).copied();
        if list.at + 1 == shown.len() && matches!(motion, Motion::Down | Motion::PageDown | Motion::HalfDown) {
            self.follow();
        }
    }

    pub fn settle(&mut self, page: usize) {
        let Self { shown, list, follow, .. } = self;
        if *follow {
            list.at = shown.len().saturating_sub(1);
        }
        list.settle(shown.len(), page, |seq| shown.binary_search(seq).ok(), |at| shown.get(at).copied());
    }
}

/// As filters and titles name it.
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn filtered(filter: &Filter, entry: &Entry) -> bool {
    let level = level_word(entry.level);
    let field = |name: &str| match name {
        "from" => Some(entry.node.as_str()),
        "kind" => Some(entry.kind.word()),
        "level" => Some(level),
        _ => None,
    };
    filter.admits(field, &[&entry.text, &entry.node, entry.kind.word()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(text: &str, level: Level) -> News {
        News {
            at: WallTime::from_micros(1),
            node: "one".into(),
            kind: Kind::Log,
            level,
            mark: Mark::Good,
            text: text.into(),
        }
    }

    fn texts(journal: &Journal) -> Vec<&str> {
        (0..journal.shown()).filter_map(|at| journal.shown_at(at)).map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn the_ring_is_bounded_and_its_numbers_stay_true() {
        let mut journal = Journal::default();
        for i in 0..ENTRIES_MAX + 10 {
            journal.push(news(&i.to_string(), Level::Info));
        }
        assert_eq!((journal.len(), journal.shown()), (ENTRIES_MAX, ENTRIES_MAX));
        assert_eq!(journal.shown_at(0).map(|entry| entry.text.as_str()), Some("10"));
    }

    #[test]
    fn a_repeat_is_counted() {
        let mut journal = Journal::default();
        for text in ["a", "b", "a"] {
            journal.push(news(text, Level::Info));
        }
        assert_eq!(texts(&journal), ["b", "a"]);
        assert_eq!(journal.shown_at(1).map(|entry| entry.times), Some(2));
    }

    #[test]
    fn a_repeat_stands_where_the_newest_is_and_a_frozen_log_stands_still() {
        let mut journal = Journal::default();
        for text in ["a", "b"] {
            journal.push(news(text, Level::Info));
        }
        journal.freeze();
        journal.push(news("a", Level::Info));
        assert_eq!((texts(&journal), journal.newer()), (vec!["a", "b", "a"], 1));
        journal.follow();
        journal.push(news("b", Level::Info));
        assert_eq!(texts(&journal), ["a", "a", "b"]);
    }

    #[test]
    fn connections_are_told_in_their_order() {
        let mut journal = Journal::default();
        for text in ["lost", "connected", "lost", "connected", "connected"] {
            journal.push(News { kind: Kind::Console, ..news(text, Level::Info) });
        }
        assert_eq!(texts(&journal), ["lost", "connected", "lost", "connected"]);
    }

    #[test]
    fn what_happened_before_takes_its_place_by_time() {
        let at = |s: i64, text: &str| News { at: WallTime::from_micros(s), ..news(text, Level::Info) };
        let mut journal = Journal::default();
        for (s, text) in [(10, "a"), (20, "b"), (30, "c")] {
            journal.push(at(s, text));
        }
        journal.freeze();
        journal.list.selected = Some(2);
        journal.insert(at(15, "past"));
        journal.insert(at(40, "now"));
        journal.settle(9);
        assert_eq!(texts(&journal), ["a", "past", "b", "c", "now"]);
        assert_eq!((journal.selected().map(|entry| entry.text.as_str()), journal.newer()), (Some("c"), 1));
    }

    #[test]
    fn levels_hide_and_give_back() {
        let mut journal = Journal::default();
        journal.push(news("fine", Level::Debug));
        journal.push(news("bad", Level::Error));
        assert_eq!(texts(&journal), ["bad"]);
        journal.level = Level::Debug;
        journal.choose();
        assert_eq!(texts(&journal), ["fine", "bad"]);
    }

    #[test]
    fn moving_up_stops_following_and_the_bottom_resumes_it() {
        let mut journal = Journal::default();
        for text in ["a", "b", "c"] {
            journal.push(news(text, Level::Info));
        }
        journal.settle(2);
        journal.go(Motion::Up);
        journal.push(news("d", Level::Info));
        journal.settle(2);
        assert_eq!((journal.follow, journal.newer()), (false, 1));
        assert_eq!(journal.selected().map(|entry| entry.text.as_str()), Some("b"));
        journal.go(Motion::Down);
        journal.go(Motion::Down);
        assert!(journal.follow);
    }
}
