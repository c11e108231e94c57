//! The loader: arguments and files in, one configuration or every refusal out.
//!
//! `commands` calls [`load`] for the agent and [`validate`] for the verb of that name; a reload calls
//! [`load`] again with the same arguments and compares (`reload.rs`).

use std::fmt;

use super::arguments::{self, Arguments};
use super::document::{Format, Given, Source, Written};
use super::keys::{self, Found, Standing};
use super::problem::{Errors, Form, Problem, Refusal};
use super::values::Values;
use super::{Checks, Config, Host, Service, defined, meant, read, table};

/// A configuration and what is worth saying about how it was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub notices: Vec<Notice>,
    /// `-bootstrap-expect 1` was written, which Consul warns of by that name.
    pub(super) expects_one: bool,
    /// What Consul warns of while it reads: files left alone, keys that its free edition does not have.
    pub(super) remarks: Vec<String>,
}

/// One line for the log, of the logger `agent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// False: worth knowing. True: something that was asked for will not happen.
    pub is_warning: bool,
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads the agent's arguments (without program and verb) and the files they name.
pub fn load(arguments: &[String], host: &Host) -> Result<Loaded, Errors> {
    let said = arguments::parse(arguments)?;
    assemble(said, host)
}

/// Reads files and directories as `load` does, without any flag; for the verb `validate`.
pub fn validate(paths: &[String], format: Option<&str>, host: &Host) -> Result<Loaded, Errors> {
    let said = Arguments { paths: paths.to_vec(), format: format.map(str::to_owned), ..Arguments::default() };
    assemble(said, host)
}

/// The services that files and directories define, as `load` reads them; for the verbs `services …`. Scripts
/// are let pass: the agent that is asked decides on them.
pub fn services(paths: &[String]) -> Result<Vec<Service>, Errors> {
    let mut refusal = Refusal::default();
    let reading = read::paths(paths, None);
    for text in reading.faults {
        refusal.problems.push(Problem { key: String::new(), text, form: Form::Bare, detail: String::new() });
    }
    let mut written = Written::default();
    for source in &reading.sources {
        refusal.files.extend(written.add(source).err());
    }
    let mut v = Values { written: &written, host: &Host::default(), problems: Vec::new() };
    let settings = Checks { enable_local_script: true, ..Checks::default() };
    let (services, _) = defined::meant(&mut v, &settings);
    refusal.problems.append(&mut v.problems);
    if refusal.is_empty() { Ok(services) } else { Err(Errors::Refused(refusal)) }
}

fn assemble(said: Arguments, host: &Host) -> Result<Loaded, Errors> {
    let mut refusal = Refusal::default();
    let mut refuse = |text: &str| {
        let text = text.to_owned();
        refusal.problems.push(Problem { key: String::new(), text, form: Form::Bare, detail: String::new() });
    };
    let format = match said.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Format::Json),
        Some("hcl") => Some(Format::Hcl),
        Some(_) => {
            refuse("config: -config-format must be either 'hcl' or 'json'");
            None
        }
    };
    let reading = read::paths(&said.paths, format);
    for fault in &reading.faults {
        refuse(fault);
    }
    let mut written = Written::default();
    let fragments = said.hcl.iter().enumerate().map(|(i, text)| {
        // Consul's name for a text given by -hcl.
        Source { name: format!("flags-{i}.hcl"), format: Format::Hcl, text: text.clone() }
    });
    for source in reading.sources.into_iter().chain(fragments) {
        if let Err(bad) = written.add(&source) {
            refusal.files.push(bad);
        }
    }
    // What could not be read may hold what now seems to be missing: no use in looking further.
    if !refusal.is_empty() {
        return Err(Errors::Refused(refusal));
    }
    lay_flags(&said, &mut written);
    let (config, problems) = meant::build(&written, said.dev, host);
    if !problems.is_empty() {
        return Err(Errors::Refused(Refusal { files: Vec::new(), problems }));
    }
    let expects_one = written.get("bootstrap_expect").is_some_and(|given| given.value == 1);
    let remarks = reading.skipped.into_iter().chain(remarks(&written)).collect();
    Ok(Loaded { config, notices: notices(&said, &written), expects_one, remarks })
}

/// Flags over files. Consul: a flag's list comes before those of the files.
fn lay_flags(said: &Arguments, written: &mut Written) {
    for (path, Given { value, place }) in said.settings.iter() {
        let Found::Key(key) = keys::find(path) else { continue };
        match (value, written.get(path).map(|before| before.value.clone())) {
            (serde_json::Value::Array(first), Some(serde_json::Value::Array(then))) => {
                let both = first.iter().cloned().chain(then).collect();
                written.replace(key, both, place);
            }
            _ => written.put(key, value.clone(), place),
        }
    }
}

/// Keys that Consul itself says have no effect, in its words.
fn remarks(written: &Written) -> Vec<String> {
    let said = written.iter().filter_map(|(path, _)| match keys::find(path) {
        Found::Key(key) if key.standing == Standing::Harmless(table::ENTERPRISE) => {
            Some(format!("{path:?} is a Consul Enterprise configuration and will have no effect"))
        }
        Found::Key(key) if key.standing == Standing::Harmless(table::DEPRECATED) => {
            Some(format!("config key {path:?} is deprecated and should be removed"))
        }
        _ => None,
    });
    said.collect()
}

fn notices(said: &Arguments, written: &Written) -> Vec<Notice> {
    let mut all = Vec::new();
    if !said.atlas.is_empty() {
        let flags: Vec<String> = said.atlas.iter().map(|name| format!("-{name}")).collect();
        let have = if flags.len() == 1 { "has" } else { "have" };
        let text = format!("Atlas has ended and {} {have} no effect: name members with -retry-join", flags.join(", "));
        all.push(Notice { is_warning: true, text });
    }
    for (path, given) in written.iter() {
        let Found::Key(key) = keys::find(path) else { continue };
        if let Standing::Partly(why) = key.standing
            && !keys::is_off(&given.value)
        {
            all.push(Notice { is_warning: false, text: format!("{path}: {why}: place={:?}", given.place) });
        }
        if let Standing::Harmless(why) = key.standing {
            // What asks for nothing deserves no word.
            if !keys::is_off(&given.value) && ![table::ENTERPRISE, table::DEPRECATED].contains(&why) {
                let text = format!("{path} changes nothing here: {why}: place={:?}", given.place);
                all.push(Notice { is_warning: why == table::ATLAS, text });
            }
        }
    }
    all
}
