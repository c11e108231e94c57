//! What `/` understands: `text`, `!text`, `field=value`, `field!=value`, blanks for *and*, `or`.
//!
//! A row is matched through a function that names its fields, so that one language serves every list.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// As typed.
    pub text: String,
    /// Being typed in now.
    pub open: bool,
    /// Any of these; each all of its terms.
    alternatives: Vec<Vec<Term>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Term {
    /// None: any field.
    field: Option<String>,
    /// Lower case.
    value: String,
    negated: bool,
}

/// Longest filter kept; more is typed in vain.
const TEXT_MAX: usize = 200;

impl Filter {
    pub fn put(&mut self, c: char) {
        if self.text.len() + c.len_utf8() <= TEXT_MAX && !c.is_control() {
            self.text.push(c);
            self.parse();
        }
    }

    pub fn erase(&mut self) {
        self.text.pop();
        self.parse();
    }

    pub fn wipe(&mut self) {
        self.text.clear();
        self.parse();
    }

    pub fn is_active(&self) -> bool {
        !self.alternatives.is_empty()
    }

    /// The first field named that is none of `known`.
    pub fn unknown_field(&self, known: &[&str]) -> Option<&str> {
        let mut fields = self.alternatives.iter().flatten().filter_map(|term| term.field.as_deref());
        fields.find(|field| !known.contains(field))
    }

    /// Whether a row passes. `field(name)` gives one field's text, `all` every text that a bare word
    /// is looked for in.
    pub fn admits<'r>(&self, field: impl Fn(&str) -> Option<&'r str>, all: &[&'r str]) -> bool {
        self.admits_by(|name, value| field(name).is_some_and(|text| is(text, value)), all)
    }

    /// As [`Self::admits`], for rows of which a field may hold several texts: `has` says whether one of them
    /// is this value, which is in lower case.
    pub fn admits_by(&self, has: impl Fn(&str, &str) -> bool, all: &[&str]) -> bool {
        self.alternatives.is_empty()
            || self.alternatives.iter().any(|terms| terms.iter().all(|term| term.admits(&has, all)))
    }

    fn parse(&mut self) {
        self.alternatives.clear();
        let mut terms = Vec::new();
        for word in self.text.split_whitespace() {
            if word.eq_ignore_ascii_case("or") {
                self.alternatives.push(std::mem::take(&mut terms));
            } else if let Some(term) = Term::parse(word) {
                terms.push(term);
            }
        }
        self.alternatives.push(terms);
        // A side of `or` that is not typed yet would admit every row.
        self.alternatives.retain(|terms| !terms.is_empty());
    }
}

impl Term {
    fn parse(word: &str) -> Option<Self> {
        let (field, value, negated) = match word.split_once('=') {
            Some((field, value)) if !field.is_empty() && field != "!" => match field.strip_suffix('!') {
                Some(field) => (Some(field), value, true),
                None => (Some(field), value, false),
            },
            _ => match word.strip_prefix('!') {
                Some(value) => (None, value, true),
                None => (None, word, false),
            },
        };
        // `!` or `field=` alone: more is to come.
        if value.is_empty() {
            return None;
        }
        let field = field.map(str::to_ascii_lowercase);
        Some(Self { field, value: value.to_lowercase(), negated })
    }

    fn admits(&self, has: &impl Fn(&str, &str) -> bool, all: &[&str]) -> bool {
        let found = match &self.field {
            Some(name) => has(name, &self.value),
            None => all.iter().any(|text| contains(text, &self.value)),
        };
        found != self.negated
    }
}

/// Whether `text` is `value` (lower case), whatever the case of its letters.
pub fn is(text: &str, value: &str) -> bool {
    text.to_lowercase() == value
}

/// Whether `text` holds `needle` (lower case), whatever the case of ASCII letters, without copying.
fn contains(text: &str, needle: &str) -> bool {
    let (text, needle) = (text.as_bytes(), needle.as_bytes());
    let Some((first, rest)) = needle.split_first() else { return true };
    if text.len() < needle.len() {
        return false;
    }
    let starts = &text[..=text.len() - needle.len()];
    starts.iter().enumerate().any(|(at, byte)| {
        byte.to_ascii_lowercase() == *first && text[at + 1..at + needle.len()].eq_ignore_ascii_case(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, expected: &[&str]) {
        let rows = [("srv-1", "alive"), ("srv-2", "failed"), ("Edge-7", "failed"), ("db-1", "suspect")];
        let mut it = Filter::default();
        filter.chars().for_each(|c| it.put(c));
        let admitted: Vec<&str> = rows
            .iter()
            .filter(|(name, status)| {
                let field = |f: &str| match f {
                    "name" => Some(*name),
                    "status" => Some(*status),
                    _ => None,
                };
                it.admits(field, &[name, status])
            })
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(admitted, expected, "{filter}");
    }

    #[test]
    fn filters_admit_what_they_say() {
        check("", &["srv-1", "srv-2", "Edge-7", "db-1"]);
        check("edge", &["Edge-7"]);
        check("!srv", &["Edge-7", "db-1"]);
        check("status=failed", &["srv-2", "Edge-7"]);
        check("status!=alive", &["srv-2", "Edge-7", "db-1"]);
        check("srv failed", &["srv-2"]);
        check("name=srv-1 or status=suspect", &["srv-1", "db-1"]);
        check("nothing=x", &[]);
    }

    #[test]
    fn a_filter_half_typed_admits_what_is_typed_so_far() {
        check("!", &["srv-1", "srv-2", "Edge-7", "db-1"]);
        check("status=", &["srv-1", "srv-2", "Edge-7", "db-1"]);
        check("edge or ", &["Edge-7"]);
    }

    #[test]
    fn erasing_gives_the_rows_back() {
        let mut it = Filter::default();
        it.put('x');
        assert!(it.is_active());
        it.erase();
        assert!(!it.is_active());
    }

    #[test]
    fn a_field_nobody_has_is_named() {
        let mut it = Filter::default();
        "stat=up".chars().for_each(|c| it.put(c));
        assert_eq!(it.unknown_field(&["status"]), Some("stat"));
    }
}
