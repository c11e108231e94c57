//! Go's `flag` notation, pure: `-x v`, `-x=v`, `--x`, `-bool`, `-bool=false`, `--` and the first word
//! that is no flag end it. A program lists its flags as data; errors and usage read as Go prints them.
//!
//! Called by `commands` for the verbs' flags and by `config` for the agent's.
//! Knows no flag by name, prints nothing, reads no environment.

use std::collections::BTreeMap;

use shared::duration;

/// What a flag's value must be. The `…Value` kinds are those that Consul gives parsers of its own:
/// the same values, refused in `strconv`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    BoolValue,
    String,
    /// A decimal number, signed.
    IntValue,
    /// Decimal, or with a prefix: 0x, 0o, 0b, 0.
    Uint,
    UintValue,
    /// Consul keeps durations of its agent as texts and refuses them later; a verb reads them here.
    Duration,
    DurationValue,
    /// May be given more than once; all values are kept in order.
    List,
    /// As a list, of `key=value`.
    Pairs,
}

/// One row of a table of flags.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// What the help calls the value, as in `-node-meta=<key=value>`.
    pub value: &'static str,
    pub help: &'static str,
    /// Shown by usage and returned by [`Parsed::text`] when the flag is not given; "" is none.
    pub default: &'static str,
}

impl Flag {
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        let value = match kind {
            Kind::String => "string",
            Kind::Uint => "uint",
            Kind::Duration => "duration",
            Kind::Bool | Kind::BoolValue => "",
            Kind::IntValue | Kind::UintValue | Kind::DurationValue | Kind::List | Kind::Pairs => "value",
        };
        Self { name, kind, value, help, default: "" }
    }

    /// Names the value otherwise than by its kind.
    pub const fn value(self, value: &'static str) -> Self {
        Self { value, ..self }
    }

    pub const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::BoolValue)
    }
}

/// Why arguments were refused; the texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `-h`, `-help`: no fault, the caller prints its help.
    #[error("flag: help requested")]
    Help,
    #[error("flag provided but not defined: -{0}")]
    Undefined(String),
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(String),
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    #[error("invalid boolean value {value:?} for -{name}: {reason}")]
    BadBool { name: String, value: String, reason: String },
    #[error("invalid value {value:?} for flag -{name}: {reason}")]
    BadValue { name: String, value: String, reason: String },
}

/// The flags that were given, by name, and the arguments after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    given: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    order: Vec<(&'static str, String)>,
    rest: Vec<String>,
}

impl Parsed {
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The last value given, else the flag's default, else "".
    pub fn text(&self, name: &str) -> &str {
        self.given_text(name).or_else(|| self.defaults.get(name).copied()).unwrap_or("")
    }

    /// The last value given.
    pub fn given_text(&self, name: &str) -> Option<&str> {
        self.given.get(name).and_then(|values| values.last()).map(String::as_str)
    }

    /// The last value given to a bool; None when it was not given.
    pub fn given_bool(&self, name: &str) -> Option<bool> {
        self.given_text(name).and_then(to_bool)
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.given_bool(name).unwrap_or(false)
    }

    /// The last value given to an `IntValue`; parsing has already accepted it.
    pub fn given_int(&self, name: &str) -> Option<i64> {
        self.given_text(name).and_then(|text| text.parse().ok())
    }

    /// The value of a `Uint` or a `UintValue`, or 0.
    pub fn uint(&self, name: &str) -> u64 {
        to_uint(self.text(name)).unwrap_or(0)
    }

    /// Every value given to a flag, in order.
    pub fn list(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every flag and value as they were given, for flags whose order among others counts.
    pub fn in_order(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.order.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// What follows the flags.
    pub fn rest(&self) -> &[String] {
        &self.rest
    }
}

/// Reads `arguments` by the rows of all `tables`; stops at the first fault, as Go does.
pub fn parse(tables: &[&'static [Flag]], arguments: &[String]) -> Result<Parsed, Error> {
    let mut parsed = Parsed::default();
    for flag in tables.iter().copied().flatten().filter(|flag| !flag.default.is_empty()) {
        parsed.defaults.insert(flag.name, flag.default);
    }
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
            parsed.rest.push(word.clone());
            break;
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() || body.starts_with('-') || body.starts_with('=') {
            return Err(Error::BadSyntax(word.clone()));
        }
        let (name, mut value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = tables.iter().copied().flatten().find(|flag| flag.name == name) else {
            return Err(if name == "h" || name == "help" { Error::Help } else { Error::Undefined(name.to_owned()) });
        };
        if flag.is_bool() {
            value.get_or_insert_with(|| "true".to_owned());
        }
        let value = value.or_else(|| words.next().cloned()).ok_or_else(|| Error::NeedsArgument(name.to_owned()))?;
        accept(flag, &value)?;
        parsed.order.push((flag.name, value.clone()));
        parsed.given.entry(flag.name).or_default().push(value);
    }
    parsed.rest.extend(words.cloned());
    Ok(parsed)
}

/// Checks a value against its flag's kind.
fn accept(flag: &Flag, value: &str) -> Result<(), Error> {
    let reason = match flag.kind {
        Kind::String | Kind::List => None,
        Kind::Pairs => (!value.contains('=')).then(|| format!("Missing \"=\" value in argument: {value}")),
        Kind::Bool => to_bool(value).is_none().then(|| "parse error".to_owned()),
        Kind::BoolValue => {
            to_bool(value).is_none().then(|| format!("strconv.ParseBool: parsing {value:?}: invalid syntax"))
        }
        Kind::Uint => to_uint(value).err().map(|fault| fault.brief().to_owned()),
        Kind::UintValue => {
            to_uint(value).err().map(|fault| format!("strconv.ParseUint: parsing {value:?}: {}", fault.long()))
        }
        Kind::IntValue => to_int(value).err().map(|fault| format!("strconv.Atoi: parsing {value:?}: {}", fault.long())),
        Kind::Duration => duration::parse(value).err().map(|_| "parse error".to_owned()),
        Kind::DurationValue => duration::parse(value).err().map(|fault| fault.to_string()),
    };
    let Some(reason) = reason else { return Ok(()) };
    let (name, value) = (flag.name.to_owned(), value.to_owned());
    Err(if flag.is_bool() { Error::BadBool { name, value, reason } } else { Error::BadValue { name, value, reason } })
}

/// How a text is no number.
enum NumberFault {
    Syntax,
    Range,
}

impl NumberFault {
    /// In the words of Go's package `flag`.
    fn brief(&self) -> &'static str {
        match self {
            Self::Syntax => "parse error",
            Self::Range => "value out of range",
        }
    }

    /// In the words of Go's package `strconv`.
    fn long(&self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        }
    }
}

fn to_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn to_int(text: &str) -> Result<i64, NumberFault> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberFault::Syntax);
    }
    text.parse().map_err(|_| NumberFault::Range)
}

fn to_uint(text: &str) -> Result<u64, NumberFault> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberFault::Syntax);
    }
    u64::from_str_radix(digits, radix).map_err(|_| NumberFault::Range)
}

/// What Go prints after a flag error: `Usage:` and every flag, by name, one tabbed line of help each.
pub fn usage(tables: &[&'static [Flag]]) -> String {
    let mut text = "Usage:\n".to_owned();
    for flag in sorted(tables) {
        text += &format!("  -{}", flag.name);
        if !flag.value.is_empty() {
            text += &format!(" {}", flag.value);
        }
        text += &format!("\n    \t{}", flag.help.replace('\n', "\n    \t"));
        match (flag.default, flag.kind) {
            ("", _) => {}
            (default, Kind::String) => text += &format!(" (default {default:?})"),
            (default, _) => text += &format!(" (default {default})"),
        }
        text.push('\n');
    }
    text
}

/// What a command's help prints under a title such as `Command Options`; empty without flags.
pub fn options(title: &str, tables: &[&'static [Flag]]) -> String {
    let rows: Vec<String> = sorted(tables)
        .into_iter()
        .map(|flag| {
            let value = if flag.value.is_empty() { String::new() } else { format!("=<{}>", flag.value) };
            format!("  -{}{value}\n{}", flag.name, wrap(flag.help, 67, "     "))
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("{title}\n\n{}", rows.join("\n")) }
}

fn sorted(tables: &[&'static [Flag]]) -> Vec<&'static Flag> {
    let mut rows: Vec<&'static Flag> = tables.iter().copied().flatten().collect();
    rows.sort_by_key(|flag| flag.name);
    rows
}

/// Lines of at most `width` characters, each indented and ended.
fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{indent}{line}\n")
}

#[cfg(test)]
mod tests;
