//! Where the operator stands in a list: the selected row by its key, and what part is in sight.
//!
//! The key survives refresh, sort and resize. With no key the stand is the position itself, so that
//! a list nobody has moved in stays at its top while rows arrive.

use serde::{Deserialize, Serialize};

use crate::msg::Motion;

/// What becomes of the stand when rows come, move and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stand {
    /// At the top while nobody moved; where the selected row goes, its neighbour is next.
    #[default]
    Free,
    /// At the row that is selected now, though nobody moved: something is about to be done with it.
    Pinned,
    /// As `Pinned`, and at no other row when it goes: it is looked at elsewhere, and may come back.
    Held,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListState<K> {
    pub selected: Option<K>,
    /// Index of the selected row among the rows shown, as of the last settling.
    pub at: usize,
    /// Index of the first row in sight.
    pub top: usize,
    /// Rows in sight at the last settling.
    pub page: usize,
    pub stand: Stand,
    /// The selected row is held and gone: no row is the selected one.
    pub is_lost: bool,
}

impl<K> Default for ListState<K> {
    fn default() -> Self {
        Self { selected: None, at: 0, top: 0, page: 1, stand: Stand::Free, is_lost: false }
    }
}

impl<K> ListState<K> {
    /// Index of the selected row, unless that is gone.
    pub fn stands_at(&self) -> Option<usize> {
        (!self.is_lost).then_some(self.at)
    }

    /// Brings the stand up to date with `len` rows of which `page` are in sight. `find` gives the
    /// index of a key, `key` the key at an index.
    pub fn settle(
        &mut self,
        len: usize,
        page: usize,
        find: impl FnOnce(&K) -> Option<usize>,
        key: impl Fn(usize) -> Option<K>,
    ) {
        self.page = page.max(1);
        self.is_lost = false;
        if let Some(selected) = &self.selected {
            match find(selected) {
                Some(at) => self.at = at,
                None if self.stand == Stand::Held => self.is_lost = true,
                // The row is gone: its neighbour is selected, not the top.
                None => {
                    self.at = self.at.min(len.saturating_sub(1));
                    self.selected = key(self.at);
                }
            }
        }
        self.at = self.at.min(len.saturating_sub(1));
        if self.selected.is_none() && self.stand != Stand::Free {
            self.selected = key(self.at);
        }
        self.top = self.top.min(self.at).max((self.at + 1).saturating_sub(self.page));
        self.top = self.top.min(len.saturating_sub(self.page));
    }

    /// Moves the stand; `key` gives the key of the row it comes to.
    pub fn go(&mut self, motion: Motion, len: usize, key: impl FnOnce(usize) -> Option<K>) {
        let last = len.saturating_sub(1);
        let page = self.page.max(1);
        self.at = match motion {
            Motion::Up => self.at.saturating_sub(1),
            Motion::Down => self.at + 1,
            Motion::PageUp => self.at.saturating_sub(page),
            Motion::PageDown => self.at + page,
            Motion::HalfUp => self.at.saturating_sub((page / 2).max(1)),
            Motion::HalfDown => self.at + (page / 2).max(1),
            Motion::Top => 0,
            Motion::End => last,
        }
        .min(last);
        // Who asks for the top wants what is there, whichever row that is.
        self.selected = if motion == Motion::Top { None } else { key(self.at) };
        self.is_lost = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(list: &mut ListState<char>, rows: &str, page: usize) {
        let rows: Vec<char> = rows.chars().collect();
        list.settle(rows.len(), page, |k| rows.iter().position(|r| r == k), |i| rows.get(i).copied());
    }

    fn go(list: &mut ListState<char>, rows: &str, motion: Motion) {
        list.go(motion, rows.chars().count(), |i| rows.chars().nth(i));
    }

    #[test]
    fn a_selection_follows_its_row() {
        let mut list = ListState::default();
        settle(&mut list, "abc", 3);
        go(&mut list, "abc", Motion::Down);
        settle(&mut list, "xyzab", 3);
        assert_eq!((list.selected, list.at, list.top), (Some('b'), 4, 2));
    }

    #[test]
    fn a_vanished_row_leaves_its_neighbour_selected() {
        let mut list = ListState { selected: Some('b'), at: 1, ..ListState::default() };
        settle(&mut list, "acd", 3);
        assert_eq!((list.selected, list.at), (Some('c'), 1));
    }

    #[test]
    fn an_untouched_list_stays_at_its_top() {
        let mut list = ListState::default();
        settle(&mut list, "b", 3);
        settle(&mut list, "ab", 3);
        assert_eq!((list.selected, list.at), (None, 0));
    }

    #[test]
    fn a_row_somebody_moved_to_is_kept_at_the_top_too_until_the_top_is_asked_for() {
        let mut list = ListState::default();
        settle(&mut list, "bc", 3);
        go(&mut list, "bc", Motion::Down);
        go(&mut list, "bc", Motion::Up);
        settle(&mut list, "abc", 3);
        assert_eq!((list.selected, list.at), (Some('b'), 1));
        go(&mut list, "abc", Motion::Top);
        settle(&mut list, "xabc", 3);
        assert_eq!((list.selected, list.at), (None, 0));
    }

    #[test]
    fn a_pinned_row_stays_selected_and_a_held_one_is_replaced_by_none() {
        let mut list = ListState { stand: Stand::Pinned, ..ListState::default() };
        settle(&mut list, "bc", 3);
        settle(&mut list, "abc", 3);
        assert_eq!((list.selected, list.stands_at()), (Some('b'), Some(1)));
        list.stand = Stand::Held;
        settle(&mut list, "ac", 3);
        assert_eq!((list.selected, list.stands_at()), (Some('b'), None));
        settle(&mut list, "abc", 3);
        assert_eq!((list.selected, list.stands_at()), (Some('b'), Some(1)), "it is back");
        settle(&mut list, "ac", 3);
        list.stand = Stand::Free;
        settle(&mut list, "ac", 3);
        assert_eq!((list.selected, list.stands_at()), (Some('c'), Some(1)));
    }

    #[test]
    fn moving_never_leaves_the_rows() {
        let mut list = ListState::default();
        settle(&mut list, "", 3);
        go(&mut list, "", Motion::Down);
        assert_eq!((list.selected, list.at), (None, 0));
        settle(&mut list, "abcdef", 2);
        go(&mut list, "abcdef", Motion::End);
        settle(&mut list, "abcdef", 2);
        assert_eq!((list.selected, list.top), (Some('f'), 4));
        go(&mut list, "abcdef", Motion::PageUp);
        settle(&mut list, "abcdef", 2);
        assert_eq!((list.selected, list.top), (Some('d'), 3));
    }
}
