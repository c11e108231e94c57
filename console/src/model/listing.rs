//! What is shown of the rows of a table: which of them, in which order, and where the operator stands.
//! The rows themselves are their owner's; here they are numbers. Filter, order and stand survive them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::list::ListState;
use crate::msg::Motion;

/// What a table can be sorted by.
pub trait SortKey: Copy + PartialEq + 'static {
    /// In the order in which they follow each other; after the last comes the first.
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing<K, S> {
    pub filter: Filter,
    pub sort: S,
    pub reversed: bool,
    pub list: ListState<K>,
    /// Rows shown in their order.
    order: Vec<usize>,
    is_disordered: bool,
}

impl<K: Clone, S: SortKey> Listing<K, S> {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The row shown at this place.
    pub fn row(&self, at: usize) -> Option<usize> {
        self.order.get(at).copied()
    }

    pub fn selected(&self) -> Option<usize> {
        self.row(self.list.stands_at()?)
    }

    /// Rows, filter or order changed: at the next settling they are put in order.
    pub fn disorder(&mut self) {
        self.is_disordered = true;
    }

    pub fn is_disordered(&self) -> bool {
        self.is_disordered
    }

    /// Shows the same rows and order as another moment of it.
    pub fn stand_as(&mut self, other: &Self) {
        (self.sort, self.reversed) = (other.sort, other.reversed);
        self.filter = other.filter.clone();
        self.list = other.list.clone();
        self.disorder();
    }

    pub fn sort_next(&mut self) {
        let at = S::ALL.iter().position(|sort| *sort == self.sort).map_or(0, |at| at + 1);
        self.sort = S::ALL[at % S::ALL.len()];
        self.disorder();
    }

    pub fn sort_reverse(&mut self) {
        self.reversed = !self.reversed;
        self.disorder();
    }

    /// Puts the rows that are admitted in order, when anything changed; equal ones as `last` says, in both
    /// directions.
    pub fn arrange(
        &mut self,
        rows: usize,
        admits: impl Fn(&Filter, usize) -> bool,
        compare: impl Fn(usize, usize) -> Ordering,
        last: impl Fn(usize, usize) -> Ordering,
    ) {
        if !std::mem::take(&mut self.is_disordered) {
            return;
        }
        let Self { filter, reversed, order, .. } = self;
        order.clear();
        order.extend((0..rows).filter(|row| admits(filter, *row)));
        order.sort_unstable_by(|a, b| {
            let ordering = compare(*a, *b);
            let ordering = if *reversed { ordering.reverse() } else { ordering };
            ordering.then_with(|| last(*a, *b))
        });
    }

    /// Brings the stand up to date; `is` tells a row by its key, `key` gives it.
    pub fn settle(&mut self, page: usize, is: impl Fn(usize, &K) -> bool, key: impl Fn(usize) -> K) {
        let Self { order, list, .. } = self;
        list.settle(
            order.len(),
            page,
            |wanted| order.iter().position(|row| is(*row, wanted)),
            |at| order.get(at).map(|row| key(*row)),
        );
    }

    pub fn go(&mut self, motion: Motion, key: impl Fn(usize) -> K) {
        let Self { order, list, .. } = self;
        list.go(motion, order.len(), |at| order.get(at).map(|row| key(*row)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    enum By {
        #[default]
        Length,
        Letters,
    }

    impl SortKey for By {
        const ALL: &'static [Self] = &[Self::Length, Self::Letters];

        fn word(self) -> &'static str {
            "it"
        }
    }

    fn arrange(listing: &mut Listing<String, By>, rows: &[&str]) -> Vec<String> {
        let sort = listing.sort;
        listing.disorder();
        listing.arrange(
            rows.len(),
            |filter, row| filter.admits(|_| None, &[rows[row]]),
            |a, b| match sort {
                By::Length => rows[a].len().cmp(&rows[b].len()),
                By::Letters => rows[a].cmp(rows[b]),
            },
            |a, b| rows[a].cmp(rows[b]),
        );
        listing.settle(9, |row, key| rows[row] == key, |row| rows[row].to_owned());
        (0..listing.len()).filter_map(|at| listing.row(at)).map(|row| rows[row].to_owned()).collect()
    }

    #[test]
    fn equal_rows_keep_their_order_in_both_directions() {
        let mut listing = Listing::default();
        assert_eq!(arrange(&mut listing, &["cc", "b", "aaa", "a"]), ["a", "b", "cc", "aaa"]);
        listing.sort_reverse();
        assert_eq!(arrange(&mut listing, &["cc", "b", "aaa", "a"]), ["aaa", "cc", "a", "b"]);
        listing.sort_next();
        assert_eq!(arrange(&mut listing, &["cc", "b", "aaa", "a"]), ["cc", "b", "aaa", "a"]);
        listing.sort_next();
        assert_eq!(listing.sort, By::Length, "after the last comes the first");
    }

    #[test]
    fn the_selected_row_is_found_again_after_filter_and_order() {
        let mut listing = Listing::default();
        arrange(&mut listing, &["b", "cc", "aaa"]);
        listing.go(Motion::Down, |row| ["b", "cc", "aaa"][row].to_owned());
        "a or c".chars().for_each(|c| listing.filter.put(c));
        assert_eq!(arrange(&mut listing, &["aaa", "b", "cc"]), ["cc", "aaa"]);
        assert_eq!(listing.selected(), Some(2));
    }
}
