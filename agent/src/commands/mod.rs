//! The verbs over the HTTP API: Consul's names, flags, texts and exit codes.
//!
//! `cli` finds a verb in [`VERBS`], hands it its [`Call`] and prints what it [`Ended`] with. A family of
//! verbs has a file; each says what it prints and reads, and asks an agent through [`shared::http`] only.

mod agent;
mod autopilot;
mod catalog;
mod connection;
mod event;
mod keyring;
mod kv;
mod maint;
mod members;
mod monitor;
mod offline;
mod operator;
mod rtt;
mod services;
mod table;
#[cfg(test)]
mod tests;

use std::pin::Pin;

use shared::http::{Client, Request};

use crate::flags::{self, Flag, Parsed};

pub use offline::version_text;

/// A word of the command line: something to do, or a group of such words.
#[derive(Clone, Copy)]
pub enum Word {
    Verb(&'static Verb),
    Group(&'static Group),
}

/// Something to do.
pub struct Verb {
    /// All words of it: `kv get`.
    pub path: &'static str,
    /// One line, for lists.
    pub synopsis: &'static str,
    /// What follows the words in its usage line.
    pub form: &'static str,
    /// What its help says, two blanks in.
    pub about: &'static str,
    pub flags: &'static [Flag],
    pub reach: Reach,
    pub run: for<'a> fn(&'a Call) -> Work<'a>,
}

/// Words of one family.
pub struct Group {
    pub path: &'static str,
    pub synopsis: &'static str,
    /// What the usage shows after the sub-command.
    pub form: &'static str,
    pub about: &'static str,
    /// Sorted by name.
    pub words: &'static [Word],
}

/// Whom a verb asks, which decides on its flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody.
    Here,
    /// The agent itself.
    Agent,
    /// The servers, through the agent: `-datacenter` and `-stale` mean something.
    Servers,
}

pub type Work<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

/// All verbs, sorted by name; what is not here does not work yet.
pub const VERBS: &[Word] = &[
    Word::Verb(&offline::AGENT),
    Word::Group(&catalog::GROUP),
    Word::Verb(&event::EVENT),
    Word::Verb(&members::FORCE_LEAVE),
    Word::Verb(&agent::INFO),
    Word::Verb(&members::JOIN),
    Word::Verb(&offline::KEYGEN),
    Word::Verb(&keyring::KEYRING),
    Word::Group(&kv::GROUP),
    Word::Verb(&agent::LEAVE),
    Word::Verb(&maint::MAINT),
    Word::Verb(&members::MEMBERS),
    Word::Verb(&monitor::MONITOR),
    Word::Group(&operator::GROUP),
    Word::Verb(&agent::RELOAD),
    Word::Verb(&rtt::RTT),
    Word::Group(&services::GROUP),
    Word::Verb(&offline::VALIDATE),
    Word::Verb(&offline::VERSION_VERB),
];

impl Word {
    /// The last of its words.
    pub fn name(&self) -> &'static str {
        let (Self::Verb(Verb { path, .. }) | Self::Group(Group { path, .. })) = self;
        path.rsplit(' ').next().unwrap_or(path)
    }

    pub fn synopsis(&self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.synopsis,
            Self::Group(group) => group.synopsis,
        }
    }

    pub fn help(&self, program: &str) -> String {
        match self {
            Self::Verb(verb) => verb.help(program),
            Self::Group(group) => group.help(program),
        }
    }
}

impl Verb {
    fn tables(&self) -> Vec<&'static [Flag]> {
        let mut tables = connection::flags(self.reach);
        tables.push(self.flags);
        tables
    }

    pub fn help(&self, program: &str) -> String {
        let line = format!("Usage: {program} {} {}", self.path, self.form);
        let mut parts = vec![line.trim_end().to_owned(), self.about.replace("{program}", program)];
        parts.push(flags::options("HTTP API Options", &connection::flags(self.reach)));
        parts.push(flags::options("Command Options", &[self.flags]));
        let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).filter(|part| !part.is_empty()).collect();
        parts.join("\n\n") + "\n"
    }

    /// Reads the flags and does it.
    pub async fn run(&'static self, program: &str, arguments: &[String]) -> Ended {
        let flags = match flags::parse(&self.tables(), arguments) {
            Ok(flags) => flags,
            Err(flags::Error::Help) => return Ended::said(self.help(program)),
            Err(error) => return Ended::failed(format!("{error}\n{}", flags::usage(&self.tables()))),
        };
        let call = Call { program: program.to_owned(), verb: self, flags };
        (self.run)(&call).await
    }
}

impl Group {
    pub fn help(&self, program: &str) -> String {
        let usage = format!("Usage: {program} {} <subcommand> {}", self.path, self.form);
        let about = self.about.replace("{program}", program);
        format!("{usage}\n\n{about}\n\nSubcommands:\n{}", list(self.words))
    }
}

/// Names and synopses, one to a line.
pub fn list(words: &[Word]) -> String {
    let width = words.iter().map(|word| word.name().len()).max().unwrap_or(0);
    words.iter().map(|word| format!("    {:width$}    {}\n", word.name(), word.synopsis())).collect()
}

/// A verb as it was asked for.
pub struct Call {
    program: String,
    verb: &'static Verb,
    flags: Parsed,
}

impl Call {
    fn help(&self) -> String {
        self.verb.help(&self.program)
    }

    /// The only argument that may follow the flags; more are refused in Consul's words.
    fn at_most_one(&self) -> Result<Option<&str>, Ended> {
        match self.flags.rest() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            more => Err(Ended::failed(format!("Too many arguments (expected 1, got {})", more.len()))),
        }
    }

    fn none(&self) -> Result<(), Ended> {
        match self.flags.rest().len() {
            0 => Ok(()),
            count => Err(Ended::failed(format!("Too many arguments (expected 0, got {count})"))),
        }
    }

    /// The agent that flags and environment name.
    fn client(&self) -> Result<Client, Ended> {
        self.client_or("Error connecting to Consul agent")
    }

    fn client_or(&self, complaint: &str) -> Result<Client, Ended> {
        Client::new(&connection::settings(&self.flags)).map_err(|error| Ended::failed(format!("{complaint}: {error}")))
    }

    /// A question with what `-datacenter` and `-stale` add to it.
    fn scoped<'a>(&self, request: Request<'a>) -> Request<'a> {
        connection::scoped(request, &self.flags)
    }

    /// An order with what `-datacenter` adds to it.
    fn scoped_to_datacenter<'a>(&self, request: Request<'a>) -> Request<'a> {
        connection::to_datacenter(request, &self.flags)
    }
}

/// What a verb has to say, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// For standard output.
    pub out: Vec<u8>,
    /// For standard error.
    pub err: String,
    pub code: u8,
}

impl Ended {
    /// Success, with this text for standard output.
    pub fn said(text: impl Into<Vec<u8>>) -> Self {
        Self { out: text.into(), ..Self::default() }
    }

    /// Success, with a remark for standard error.
    pub fn remarked(text: impl Into<String>) -> Self {
        Self { err: text.into(), ..Self::default() }
    }

    /// Failure, with its text for standard error.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { err: text.into(), code: 1, ..Self::default() }
    }

    /// A verb is a question or a refusal at each step: both end it.
    fn from(result: Result<Self, Self>) -> Self {
        match result {
            Ok(ended) | Err(ended) => ended,
        }
    }
}

/// `complaint: error`, as a verb's end.
fn failing(complaint: &str) -> impl Fn(shared::http::Error) -> Ended {
    move |error| Ended::failed(format!("{complaint}: {error}"))
}
