//! The command line: addresses, token, colours, and the verbs beside the screen.
//! Flags are read as Consul's programs read them: `-x v`, `-x=v`, `--x`.

use std::io::Write;
use std::process::ExitCode;

use color_eyre::eyre::{Result, bail, eyre};
use shared::http::{ADDRESS_DEFAULT, Settings};

use crate::model::Colors;
use crate::runtime::{self, Closed, Launch};
use crate::terminal;

const HELP: &str = "\
console: a live view of a Consul-style cluster

usage: console [flags]              show the cluster of an agent
       console demo [flags]         start three servers and two clients on this machine, show
                                    them, and let you kill, part and start them
       console status [flags]       print leader, quorum and members, once; exits with 0 when all
                                    is well, 1 on an error, 2 when degraded, 3 without a quorum
       console impact NODE...       tell what a crash and a leave of these would do, all of them at once;
                                    exits with 0 when one more may be lost after it, 1 on an error,
                                    2 when none may, 3 when the quorum is lost
       console agent ...            run the bundled agent (see: console agent -help)

  --addr HOST:PORT   an agent's HTTP address; again for more agents, each of which
                     stands in when another is away  [$CONSUL_HTTP_ADDR, 127.0.0.1:8500]
  --token TOKEN      ACL token  [$CONSUL_HTTP_TOKEN]
  --color WHEN       auto, always, never, 16 or 256  [auto]
  --read-only        no key changes the cluster
  --ascii            draw without Unicode characters
  --json             of status and impact: as JSON
  --version, --help

CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY
work as with consul. Closing the console changes nothing; ? shows its keys.
";

/// Runs the program with its arguments and says how it ended: 0 fine, 1 not.
pub fn main(arguments: Vec<std::ffi::OsString>) -> ExitCode {
    #[cfg(feature = "demo")]
    if arguments.first().is_some_and(|verb| verb == "agent") {
        return crate::demo::agent(arguments);
    }
    let words = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match run(words) {
        Ok(code) => code,
        Err(error) => {
            say_error(&format!("console: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<ExitCode> {
    let (verb, words) = match words.split_first() {
        Some((verb, rest)) if !verb.starts_with('-') => (verb.clone(), rest.to_vec()),
        _ => (String::new(), words),
    };
    let options = parse(&words)?;
    if let Some(word) = options.nodes.first().filter(|_| verb != "impact") {
        bail!("{word:?} is not expected here; see console --help");
    }
    if options.help {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    if options.version {
        say(&format!("console {}\n", env!("CARGO_PKG_VERSION")));
        return Ok(ExitCode::SUCCESS);
    }
    match verb.as_str() {
        "" => {
            let closed = runtime::run(options.launch(Settings::from_environment()), None)?;
            say(&farewell(&closed));
            Ok(ExitCode::SUCCESS)
        }
        "status" => crate::status::run(&options.places(Settings::from_environment()), options.json),
        "impact" => crate::impact::run(&options.places(Settings::from_environment()), &options.nodes, options.json),
        #[cfg(feature = "demo")]
        "demo" => crate::demo::run(&options),
        #[cfg(not(feature = "demo"))]
        "demo" | "agent" => bail!("this console was built without the agent (feature `demo`)"),
        _ => bail!("there is no verb {verb:?}; see console --help"),
    }
}

/// The last line, when the screen is gone.
pub fn farewell(closed: &Closed) -> String {
    let Closed { address, was_live } = closed;
    let address = shown(address);
    if *was_live {
        format!("console closed; the agent at {address} keeps running\n")
    } else {
        format!("console closed; the agent at {address} did not answer last\n")
    }
}

/// An address as it is told: host and port. What else was typed with it may be a password.
fn shown(address: &str) -> String {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = address.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    place.chars().filter(|c| !c.is_control()).collect()
}

/// What was typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub addresses: Vec<String>,
    pub token: Option<String>,
    pub colors: Option<Colors>,
    pub ascii: bool,
    pub read_only: bool,
    pub json: bool,
    /// Of impact: whose loss.
    pub nodes: Vec<String>,
    pub help: bool,
    pub version: bool,
}

impl Options {
    pub fn launch(&self, settings: Settings) -> Launch {
        Launch {
            places: self.places(settings),
            look: terminal::look(self.colors, self.ascii),
            read_only: self.read_only,
        }
    }

    /// One place for each address, with the rest of what `settings` says; one as `settings` says when none
    /// was typed.
    pub fn places(&self, settings: Settings) -> Vec<Settings> {
        let settings = Settings { token: self.token.clone().or(settings.token.clone()), ..settings };
        // A token that was typed wins over a file that the environment names.
        let token_file = if self.token.is_some() { None } else { settings.token_file.clone() };
        let settings = Settings { token_file, ..settings };
        let place = |address: &String| Settings { address: with_port(address), ..settings.clone() };
        match self.addresses.as_slice() {
            [] => vec![place(&settings.address)],
            addresses => addresses.iter().take(usize::from(u8::MAX)).map(place).collect(),
        }
    }
}

/// An agent's port, where none was said.
fn with_port(address: &str) -> String {
    let (scheme, host) = match address.split_once("://") {
        Some((scheme, host)) => (format!("{scheme}://"), host),
        None => (String::new(), address),
    };
    let is_bare_v6 = host.matches(':').count() > 1 && !host.starts_with('[');
    let is_portless = if host.starts_with('[') { host.ends_with(']') } else { !host.contains(':') };
    match () {
        () if is_bare_v6 => format!("{scheme}[{host}]:8500"),
        // A scheme has a port of its own.
        () if is_portless && scheme.is_empty() => format!("{host}:8500"),
        () => address.to_owned(),
    }
}

fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())
        else {
            options.nodes.push(word.clone());
            continue;
        };
        let (name, given) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let mut value =
            || given.clone().or_else(|| words.next().cloned()).ok_or_else(|| eyre!("--{name} needs a value"));
        match name {
            "addr" | "http-addr" => options.addresses.push(address(name, value()?)?),
            "token" => options.token = Some(value()?),
            "color" => options.colors = colors(&value()?)?,
            "ascii" => options.ascii = switch(name, given.as_deref())?,
            "read-only" => options.read_only = switch(name, given.as_deref())?,
            "json" => options.json = switch(name, given.as_deref())?,
            "h" | "help" => options.help = true,
            "version" => options.version = true,
            _ => bail!("there is no flag --{name}; see console --help"),
        }
    }
    Ok(options)
}

fn address(name: &str, typed: String) -> Result<String> {
    let is_empty = typed.trim().is_empty() || typed.ends_with("://");
    if is_empty {
        bail!("--{name} is an agent's HTTP address such as {ADDRESS_DEFAULT}, not {typed:?}");
    }
    Ok(typed)
}

fn switch(name: &str, given: Option<&str>) -> Result<bool> {
    match given {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => bail!("--{name} is true or false, not {other:?}"),
    }
}

fn colors(word: &str) -> Result<Option<Colors>> {
    Ok(match word {
        "auto" => None,
        "never" => Some(Colors::None),
        "16" => Some(Colors::Sixteen),
        "always" | "256" => Some(Colors::Indexed),
        _ => bail!("--color is auto, always, never, 16 or 256, not {word:?}"),
    })
}

/// Writes to standard output; a reader that went away is no fault of ours.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn say_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: std::result::Result<Options, &str>) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = parse(&words).map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{line}"),
            (Err(found), Err(part)) => assert!(found.contains(part), "{line}: {found}"),
            (found, expected) => panic!("{line}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn flags_are_read_as_consul_reads_them() {
        let none = Options::default;
        check("", Ok(none()));
        let addresses = vec!["a:1".to_owned(), "b:2".to_owned()];
        check("-addr a:1 --addr=b:2", Ok(Options { addresses, ..none() }));
        check("--ascii", Ok(Options { ascii: true, ..none() }));
        check("--color never", Ok(Options { colors: Some(Colors::None), ..none() }));
        check("--color pink", Err("--color is auto"));
        check("--addr", Err("--addr needs a value"));
        check("--addr=", Err("--addr is an agent's HTTP address such as 127.0.0.1:8500, not \"\""));
        check("--addr=http://", Err("not \"http://\""));
        check("--colour x", Err("there is no flag --colour"));
        check("srv-1 --json srv-2", Ok(Options { json: true, nodes: vec!["srv-1".into(), "srv-2".into()], ..none() }));
    }

    #[test]
    fn the_last_line_tells_a_place_and_nothing_else_that_was_typed() {
        for (typed, expected) in [
            ("h:1", "h:1"),
            ("http://h:1/", "h:1"),
            ("https://user:secret@h:1/x?y", "h:1"),
            ("[::1]:8500", "[::1]:8500"),
            ("h\x1b[2J:1", "h[2J:1"),
        ] {
            let closed = Closed { address: typed.to_owned(), was_live: true };
            assert_eq!(farewell(&closed), format!("console closed; the agent at {expected} keeps running\n"));
        }
    }

    #[test]
    fn an_address_without_a_port_gets_the_agents() {
        for (typed, expected) in [
            ("h", "h:8500"),
            ("h:1", "h:1"),
            ("::1", "[::1]:8500"),
            ("[::1]", "[::1]:8500"),
            ("[::1]:2", "[::1]:2"),
            ("https://h", "https://h"),
        ] {
            assert_eq!(with_port(typed), expected);
        }
    }
}
