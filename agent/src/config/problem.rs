//! What is refused, in Consul's words, each with the key, the value and the place below it.
//!
//! Built by every step of the loader; `commands` prints [`Errors`] as it is and exits with 1.

use std::fmt;

/// How Consul prints a problem that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `==> TEXT`
    Bare,
    /// `==> 1 error occurred:` and `* TEXT`, as values are refused that do not convert.
    Listed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The key at fault; "" when it is none.
    pub key: String,
    pub text: String,
    pub form: Form,
    /// Ours, on a line below: what was written where, or what may have been meant. "" is none.
    pub detail: String,
}

/// What is wrong inside one file, before its values are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadFile {
    pub name: String,
    /// It is no JSON, no HCL.
    pub syntax: Option<String>,
    /// Values of the wrong type, `'KEY' expected type …`.
    pub types: Vec<String>,
    /// Keys that do not exist, and the nearest that does.
    pub unknown: Vec<(String, Option<&'static str>)>,
}

impl BadFile {
    pub(super) fn new(name: &str) -> BadFile {
        BadFile { name: name.to_owned(), syntax: None, types: Vec::new(), unknown: Vec::new() }
    }

    pub(super) fn is_good(&self) -> bool {
        self.syntax.is_none() && self.types.is_empty() && self.unknown.is_empty()
    }

    fn messages(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(syntax) = &self.syntax {
            all.push(format!("failed to parse {}: {syntax}", self.name));
        }
        if !self.types.is_empty() {
            // Go sorts them.
            let mut types = self.types.clone();
            types.sort();
            let lines: String = types.iter().map(|t| format!("\n* {t}")).collect();
            all.push(format!("failed to parse {}: {} error(s) decoding:\n{lines}", self.name, self.types.len()));
        }
        if !self.unknown.is_empty() {
            let texts: Vec<String> = self.unknown.iter().map(|(key, _)| format!("invalid config key {key}")).collect();
            let mut text = format!("failed to parse {}: {}", self.name, listed(&texts));
            for (key, nearest) in &self.unknown {
                if let Some(nearest) = nearest {
                    text += &format!("    {key}: did you mean {nearest}?\n");
                }
            }
            all.push(text);
        }
        all
    }
}

/// Why an agent does not start, or what was asked instead of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errors {
    /// `-h`: the help, for standard output and exit code 0.
    Help(String),
    /// A flag that cannot be read, and the list of flags, for standard error and exit code 1.
    Usage(String),
    /// Everything wrong with files and values, for standard error and exit code 1.
    Refused(Refusal),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    pub(super) files: Vec<BadFile>,
    pub(super) problems: Vec<Problem>,
}

impl Refusal {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.problems.is_empty()
    }

    /// Without Consul's arrow, as `validate` prints it after `Config validation failed: `.
    pub fn messages(&self) -> Vec<String> {
        let mut all: Vec<String> = self.files.iter().flat_map(BadFile::messages).collect();
        let mut text = match self.problems.as_slice() {
            [] => return all,
            [one] if one.form == Form::Bare => format!("{}\n", one.text),
            many => listed(&many.iter().map(|p| p.text.clone()).collect::<Vec<_>>()),
        };
        for problem in self.problems.iter().filter(|p| !p.detail.is_empty()) {
            text += &format!("    {}\n", problem.detail);
        }
        all.push(text.trim_end_matches('\n').to_owned() + if self.problems.len() > 1 { "\n" } else { "" });
        all
    }
}

/// Go's multierror: a count and a list.
pub(super) fn listed(texts: &[String]) -> String {
    let plural = if texts.len() == 1 { "error" } else { "errors" };
    let lines: String = texts.iter().map(|t| format!("\t* {t}\n")).collect();
    format!("{} {plural} occurred:\n{lines}\n", texts.len())
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Errors::Help(text) | Errors::Usage(text) => f.write_str(text),
            Errors::Refused(refusal) => {
                let lines: Vec<String> = refusal.messages().iter().map(|m| format!("==> {m}")).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for Errors {}
