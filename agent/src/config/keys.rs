//! What may be written: every key that Consul 1.8.7 knows, of what kind it is, and what becomes of it here.
//!
//! `document.rs` checks files against it, `validate` prints it, a test keeps the table of `compat.md` equal
//! to it. To make a key work, change its row in `table.rs`, read it in `meant.rs`, and run that test.

use serde_json::Value;

pub(super) use super::table::TABLE;

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    /// A text that is read as a duration later.
    Duration,
    Texts,
    /// Texts by name.
    Map,
    /// A block or list whose inside is not looked at.
    Any,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Works,
    /// Does a part; one notice says what is missing.
    Partly(&'static str),
    /// Accepted; one notice says why it changes nothing.
    Harmless(&'static str),
    /// The agent does not start unless the value asks for nothing (`false`, `""`, `[]`, `-1`).
    Refused(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Dotted: `ports.http`.
    pub path: &'static str,
    pub kind: Kind,
    pub standing: Standing,
}

/// What a written path is.
pub(super) enum Found {
    Key(&'static Key),
    /// Other keys stand below it.
    Block,
    Unknown,
}

/// Looks a path up; case does not matter, as in Consul.
pub(super) fn find(path: &str) -> Found {
    let lower = path.to_lowercase();
    if let Some(key) = TABLE.iter().find(|key| key.path == lower) {
        return Found::Key(key);
    }
    let below = |key: &&Key| key.path.strip_prefix(lower.as_str()).is_some_and(|rest| rest.starts_with('.'));
    if TABLE.iter().any(|key| below(&key)) { Found::Block } else { Found::Unknown }
}

/// The known key that most looks like an unknown one; None when none does.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    let lower = path.to_lowercase().replace('-', "_");
    let squeezed = lower.replace('_', "");
    let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let score = |key: &'static str| {
        let by_name = if lower.contains('.') { 0.0 } else { strsim::jaro_winkler(&lower, last(key)) - 0.04 };
        if key.replace('_', "") == squeezed { 1.0 } else { strsim::jaro_winkler(&lower, key).max(by_name) }
    };
    let (key, best) =
        TABLE.iter().map(|key| (key.path, score(key.path))).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(a.0)))?;
    (best >= 0.88).then_some(key)
}

/// Whether a value asks for nothing, so that a refused key may have it.
pub fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64().is_some_and(|n| n <= 0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(is_off),
        Value::Object(map) => map.values().all(is_off),
    }
}

/// The table as `compat.md` and `validate` show it.
pub fn listing() -> String {
    let mut text = "| key | here | why |\n|---|---|---|\n".to_owned();
    for key in TABLE {
        let (standing, why) = match key.standing {
            Standing::Works => ("works", ""),
            Standing::Partly(why) => ("partly", why),
            Standing::Harmless(why) => ("harmless", why),
            Standing::Refused(why) => ("refused", why),
        };
        text += &format!("| `{}` | {standing} | {why} |\n", key.path);
    }
    text
}
