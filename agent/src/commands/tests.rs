//! The table of verbs, and verbs that ask nobody.

use super::*;

fn every(words: &'static [Word], visit: &mut dyn FnMut(&'static Word, &'static [Word])) {
    for word in words {
        visit(word, words);
        if let Word::Group(group) = word {
            every(group.words, visit);
        }
    }
}

#[test]
fn verbs_are_sorted_and_say_what_they_do() {
    every(VERBS, &mut |word, siblings| {
        let names: Vec<&str> = siblings.iter().map(Word::name).collect();
        assert!(names.is_sorted(), "{names:?}");
        let help = word.help("agent");
        assert!(help.starts_with("Usage: agent "), "{help}");
        assert!(help.lines().all(|line| line.len() <= 80 && line.trim_end() == line), "{help}");
        assert!(!word.synopsis().is_empty() && !help.contains("{program}"), "{help}");
    });
}

#[test]
fn no_flag_is_defined_twice() {
    every(VERBS, &mut |word, _| {
        if let Word::Verb(verb) = word {
            let tables = verb.tables();
            let mut names: Vec<&str> = tables.iter().copied().flatten().map(|flag| flag.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: {names:?}", verb.path);
        }
    });
}

#[track_caller]
fn run(verb: &'static Verb, line: &str) -> Ended {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(verb.run("agent", &words))
}

#[track_caller]
fn refused(verb: &'static Verb, line: &str, first: &str) {
    let ended = run(verb, line);
    assert_eq!((ended.err.lines().next(), ended.code), (Some(first), 1), "{line}");
}

#[test]
fn wrong_arguments_are_refused_before_anybody_is_asked() {
    refused(&members::JOIN, "", "At least one address to join must be specified.");
    refused(&members::FORCE_LEAVE, "a b", "A single node name must be specified to force leave.");
    refused(&members::MEMBERS, "-nope", "flag provided but not defined: -nope");
    refused(&agent::LEAVE, "x y", "Error found unexpected args: [x y]");
    refused(&offline::VALIDATE, "", "Must specify at least one config file or directory");
    refused(&offline::VERSION_VERB, "-format=x", "Unknown format: x");
    refused(&rtt::RTT, "", "One or two node names must be specified");
    refused(&rtt::RTT, "a b c", "One or two node names must be specified");
    let client = "Error connecting to Consul agent: both client cert and client key must be provided";
    refused(&agent::INFO, "-client-cert=/nope", client);
}

#[test]
fn a_new_key_is_32_bytes_and_never_the_same() {
    let keys = [run(&offline::KEYGEN, ""), run(&offline::KEYGEN, "")];
    assert!(keys.iter().all(|key| key.out.len() == 45 && key.out.ends_with(b"=\n")), "{keys:?}");
    assert_ne!(keys[0], keys[1]);
}
