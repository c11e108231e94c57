//! The demo in a terminal of ours: its nodes killed, paused, started and cut off, an election watched, the
//! leadership handed over, and the way out without a quorum.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::pty::{Console, Start, console, eventually};

/// The directory of the demo that this process started.
fn directory(console: &Console) -> PathBuf {
    std::env::temp_dir().join(format!("quorate-demo-{}", console.child.process_id().expect("it runs")))
}

#[test]
fn the_demo_shows_an_election_and_leaves_nothing_behind() {
    let mut console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    console.press("2");
    console.shows("5 of 5   alive 5");
    let directory = directory(&console);
    assert_eq!(processes_with(&directory), 5);
    console.press("3");
    console.shows("▸★ srv-");
    // The first row is the leader's.
    console.press("K");
    console.shows("was killed: B starts it again");
    assert_eq!(processes_with(&directory), 4);
    console.shows("2 of 3 voters up");
    // Two, or more where votes were split.
    console.until("a second election", |screen| {
        let contents = screen.contents();
        let count = contents.split_once("Elections ").and_then(|(_, rest)| rest.split_whitespace().next());
        count.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count >= 2)
    });
    // Its line among all that an election makes others say.
    console.press("5/election\r");
    console.shows("election won: term");
    console.press("\x03");
    assert_eq!(console.ends(), 0);
    console.shows("console closed; the demo has ended");
    assert!(!directory.exists());
}

/// Its part of the screen's text, as `leads term 2`: whoever leads by then, in a term of at least this.
fn leads_since(contents: &str, term: u64) -> bool {
    let terms = contents.split("leads term ").skip(1);
    terms
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .any(|seen: u64| seen >= term)
}

#[test]
fn a_leader_of_the_demo_is_cut_off_another_is_elected_and_it_comes_back() {
    let mut console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    console.press("3g");
    console.shows("▸★ srv-");
    console.press("C");
    console.shows("is cut off from all others: C joins it again");
    let contents = console.contents();
    let (before, _) = contents.split_once(" is cut off").expect("it was shown");
    let node = before.split_whitespace().last().expect("a name").to_owned();
    // Two terms at least, or more where votes were split; or told of it by another than the one in use.
    console.until("another leader", |screen| leads_since(&screen.contents(), 2));
    console.press(&format!("2/{node}\r"));
    console.shows("1 of 5");
    console.shows(&format!("In this demo: {node} is cut off (C)"));
    console.press("C");
    console.shows(&format!("{node} is reached again"));
    console.press("3");
    console.shows("[3 Raft]");
    // It may have lost its seat meanwhile, and gets it back.
    console.shows("3 of 3 voters up");
    console.shows_not("CUT OFF");
    console.press("\x03");
    assert_eq!(console.ends(), 0);
}

#[test]
fn the_leadership_is_handed_over_and_a_peer_removed_by_their_keys() {
    let mut console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    console.press("3g");
    console.shows("▸★ srv-");
    console.press("T");
    console.shows("(•) who is furthest");
    console.shows("[ Transfer  enter ]");
    console.press("\r");
    console.shows("POST /v1/operator/raft/transfer-leader");
    console.until("another leader", |screen| screen.contents().contains(" now, after "));
    console.press("\x1b");
    // A letter behind it at once would be another key.
    console.shows_not("[ Close  esc ]");
    console.until("a later term", |screen| leads_since(&screen.contents(), 2));
    let asked = || {
        console.shows("Remove (locked)");
        let contents = console.contents();
        let (_, rest) = contents.split_once("Remove from Raft   ").expect("its title");
        rest.split(':').next().expect("a name").to_owned()
    };
    console.press("GR");
    let mut node = asked();
    // The one in use would not be told what becomes of the others without it.
    if node == "srv-1" {
        console.press("\x1b");
        console.shows_not("Remove (locked)");
        console.press("kR");
        node = asked();
    }
    console.press(&node);
    console.shows("[ Remove  enter ]");
    console.press("\r");
    console.shows("gone from Raft: 2 voters, 2 needed, 2 up");
    console.press("\x1b");
    console.shows_not("[ Close  esc ]");
    console.shows("2 of 2 voters up");
    for (keys, shown) in [("++++", "Leadership  last 100ms"), ("-", "Leadership  last 1s"), ("i", "CRASH OF")] {
        console.press(keys);
        console.shows(shown);
    }
    console.press("\x03");
    assert_eq!(console.ends(), 0);
}

#[test]
fn services_of_the_demo_pass_warn_and_fail_and_one_is_taken_out_and_back() {
    let mut console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    let directory = directory(&console);
    console.press("4");
    for row in ["● web", "▲ files", "✖ redis", "✖ batch"] {
        console.shows(row);
    }
    console.press("/files\r");
    console.shows("Services 1 of ");
    console.shows("script, every 5s, timeout 3s");
    console.press("\tM");
    console.shows("that is web-1: it is asked itself");
    console.press("\r");
    console.shows("files on web-1 is in maintenance: no name leads to it");
    console.press("\x1b");
    console.shows_not("[ Close  esc ]");
    console.shows("maint");
    console.press("M");
    console.shows("that is web-1: it is asked itself");
    console.press("\r");
    console.shows("files on web-1 is out of maintenance");
    // As when its terminal goes away.
    console.signal(Signal::HUP);
    eventually("its end", || processes_with(&directory) == 0);
    eventually("its directory gone", || !directory.exists());
    console.ends();
}

#[test]
fn without_a_quorum_the_demo_shows_the_way_out_and_saves_its_file() {
    let place = tempfile::tempdir().expect("a directory");
    let mut console = Start { arguments: &["demo"], environment: &[], star: 1, place: place.path() }.run();
    console.shows("3 of 3 voters up");
    // The agent in use is the first server's: the others are killed.
    for node in ["srv-2", "srv-3"] {
        console.press(&format!("2/\x15{node}\r"));
        console.shows(&format!("/ {node} "));
        console.shows("1 of 5");
        console.press("K");
        console.shows(&format!("{node} was killed"));
    }
    console.press("3");
    console.shows("NO QUORUM");
    console.press("o");
    console.shows("raft/peers.json");
    console.press("w");
    console.shows("saved as ");
    let text = std::fs::read_to_string(place.path().join("peers.json")).expect("the file");
    assert_eq!((text.matches("\"id\"").count(), text.contains(":8300")), (1, true), "{text}");
    console.press("\x03");
    assert_eq!(console.ends(), 0);
}

#[test]
fn a_node_of_the_demo_hangs_goes_on_and_comes_back() {
    let console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    console.press("2/web-1\r");
    console.shows("/ web-1");
    console.shows("1 of 5");
    for (key, said) in [
        ("B", "web-1 runs already"),
        ("H", "web-1 hangs: H lets it go on"),
        ("H", "web-1 goes on"),
        ("K", "web-1 was killed"),
        ("H", "web-1 does not run: B starts it"),
        ("B", "web-1 was started again"),
    ] {
        console.press(key);
        console.shows(said);
    }
}

#[test]
fn the_demo_ends_with_a_console_that_is_killed() {
    let console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    let directory = directory(&console);
    let of_demo = || processes_with(&directory);
    assert_eq!(of_demo(), 5);
    // The child's own kill asks first, with a hang-up.
    console.signal(Signal::KILL);
    eventually("the nodes' end", || of_demo() == 0);
    eventually("its directory gone", || !directory.exists());
}

/// Agents that have this path among their arguments; scripts of checks have it too.
fn processes_with(path: &Path) -> usize {
    let path = path.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("a list of processes").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(&path) && line.contains("\0agent\0")).count()
}
