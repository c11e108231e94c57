//! Arguments as typed: which verb, or the agent itself; what it ended with is printed here.
//!
//! Called by `main` alone (and by the console's bundled agent). Knows no flag of any verb.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::commands::{Ended, VERBS, Word, list, version_text};

/// What a shell says of a command it does not know; Consul ends with it too.
const UNKNOWN: u8 = 127;

/// Runs the program named `program` (for usage texts) with its arguments, and says how it ended.
/// Without a verb, or with the verb `agent`, it runs the agent.
pub fn main(program: &str, arguments: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let ended = match choose(program, &words) {
        Choice::Agent(arguments) => return crate::agent::run(arguments).unwrap_or_else(|refused| refuse(&refused)),
        Choice::Ended(ended) => ended,
        Choice::Verb(verb, arguments) => match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(verb.run(program, arguments)),
            Err(error) => Ended::failed(format!("start the runtime: {error}")),
        },
    };
    show(&ended)
}

enum Choice<'a> {
    Agent(&'a [String]),
    Verb(&'static crate::commands::Verb, &'a [String]),
    Ended(Ended),
}

/// Finds what the words ask for. Help is asked for anywhere before `--`, as Consul has it.
fn choose<'a>(program: &str, words: &'a [String]) -> Choice<'a> {
    let wants_help = words.iter().take_while(|word| *word != "--").any(|word| is_help(word));
    let agent = |arguments| match wants_help {
        true => Choice::Ended(Ended::said(crate::config::help())),
        false => Choice::Agent(arguments),
    };
    let Some(first) = words.first() else { return agent(words) };
    match first.as_str() {
        "agent" => return agent(&words[1..]),
        "-v" | "-version" | "--version" => return Choice::Ended(Ended::said(version_text())),
        word if is_help(word) => return Choice::Ended(Ended::said(commands(program))),
        word if word.starts_with('-') => return agent(words),
        _ => {}
    }
    let mut known = VERBS;
    let mut group = None;
    for (at, word) in words.iter().enumerate() {
        match known.iter().find(|one| one.name() == word) {
            Some(Word::Verb(verb)) if wants_help => return Choice::Ended(Ended::said(verb.help(program))),
            Some(Word::Verb(verb)) => return Choice::Verb(verb, &words[at + 1..]),
            Some(Word::Group(inner)) => {
                group = Some(inner);
                known = inner.words;
            }
            None => break,
        }
    }
    Choice::Ended(match group {
        Some(group) if wants_help => Ended::said(group.help(program)),
        Some(group) => Ended::failed(group.help(program)),
        None => Ended { code: UNKNOWN, err: commands(program), ..Ended::default() },
    })
}

fn is_help(word: &str) -> bool {
    matches!(word, "-h" | "-help" | "--help")
}

/// The list of verbs.
fn commands(program: &str) -> String {
    format!(
        "Usage: {program} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n{}\n\
         Without a command it runs an agent.\n",
        list(VERBS)
    )
}

/// Writes to standard output; an error is that nobody reads it.
pub(crate) fn print(text: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Writes a line to standard error. Nobody reading it must not change how the program ends.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.strip_suffix('\n').unwrap_or(text));
}

fn refuse(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}

fn show(ended: &Ended) -> ExitCode {
    let printed = print(&ended.out);
    if !ended.err.is_empty() {
        complain(&ended.err);
    }
    // A reader that went away has what it wanted; a disk that is full has not.
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe && ended.code == 0 => ExitCode::FAILURE,
        _ => ExitCode::from(ended.code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command line comes to: the agent's arguments, a verb and its arguments, or an end.
    fn chosen(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match choose("agent", &words) {
            Choice::Agent(rest) => format!("agent {}", rest.join(" ")),
            Choice::Verb(verb, rest) => format!("verb {}: {}", verb.path, rest.join(" ")),
            Choice::Ended(Ended { out, err, code }) => {
                let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
                format!("{code} {}{}", first(&String::from_utf8_lossy(&out)), first(&err))
            }
        }
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(chosen(line).trim_end(), expected, "{line}");
    }

    #[test]
    fn without_a_verb_it_is_the_agent() {
        check("", "agent");
        check("-server -data-dir d", "agent -server -data-dir d");
        check("agent -server", "agent -server");
        check("-server -h", "0 Usage: agent agent [options]");
        check("agent --help", "0 Usage: agent agent [options]");
    }

    #[test]
    fn verbs_are_found_by_all_their_words() {
        check("members -wan x", "verb members: -wan x");
        check("operator raft list-peers -stale", "verb operator raft list-peers: -stale");
        check("kv put -- -h", "verb kv put: -- -h");
        check("kv get a -h", "0 Usage: agent kv get [options] [KEY_OR_PREFIX]");
    }

    #[test]
    fn what_is_no_verb_ends_as_consul_ends_it() {
        check("nope", "127 Usage: agent [--version] [--help] <command> [<args>]");
        check("--help", "0 Usage: agent [--version] [--help] <command> [<args>]");
        check("kv", "1 Usage: agent kv <subcommand> [options]");
        check("kv nope", "1 Usage: agent kv <subcommand> [options]");
        check("operator raft -stale", "1 Usage: agent operator raft <subcommand> [options]");
        check("operator raft -h", "0 Usage: agent operator raft <subcommand> [options]");
        assert!(chosen("-version").starts_with("0 Quorate v"), "{}", chosen("-version"));
    }
}
