//! Histories whose verdict is known.

use super::*;

/// One operation a line: `began ended what`, where `?` is no end and what is `r 1`, `r -`, `w 1`,
/// `c 1 2 yes` (2 over 1), `d 1 no`; of what nobody knows `w 1`, `c - 2`, `d 1`.
fn parsed(text: &str) -> Vec<Operation> {
    let held = |word: &str| (word != "-").then(|| word.parse().expect("a value"));
    let line = |(client, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ended = if words[1] == "?" { u64::MAX } else { words[1].parse().expect("an end") };
        let was = |at: usize| words.get(at).map_or(Outcome::Unknown, |word| Outcome::Was(*word == "yes"));
        let (action, outcome) = match words[2] {
            "r" => (Action::Read, Outcome::Found(held(words[3]))),
            "w" if ended == u64::MAX => (Action::Write(words[3].parse().expect("a value")), Outcome::Unknown),
            "w" => (Action::Write(words[3].parse().expect("a value")), Outcome::Done),
            "c" => (Action::Cas { expects: held(words[3]), value: words[4].parse().expect("a value") }, was(5)),
            _ => (Action::Delete { expects: words[3].parse().expect("a value") }, was(4)),
        };
        Operation { client, agent: 0, action, outcome, began: words[0].parse().expect("a beginning"), ended }
    };
    text.split(';').map(str::trim).filter(|text| !text.is_empty()).enumerate().map(line).collect()
}

#[track_caller]
fn good(text: &str) {
    assert_eq!(super::check(&parsed(text)), Verdict::Linearizable, "{text}");
}

#[track_caller]
fn bad(text: &str) {
    assert_eq!(super::check(&parsed(text)), Verdict::Anomaly, "{text}");
}

#[test]
fn what_one_after_the_other_explains_is_right_and_the_rest_is_not() {
    good("0 1 r -; 2 3 w 1; 4 5 r 1; 6 7 w 2; 8 9 r 2");
    bad("0 1 w 1; 2 3 r -");
    // A stale read, and one of what nobody wrote.
    bad("0 1 w 1; 2 3 w 2; 4 5 r 1");
    bad("0 1 w 1; 2 3 r 7");
    // A lost write.
    bad("0 1 w 1; 2 3 r 1; 4 5 r -");
}

#[test]
fn what_overlaps_may_be_in_either_order_but_only_in_one() {
    good("0 10 w 1; 1 2 r -; 3 4 r 1");
    good("0 10 w 1; 1 2 r 1; 3 4 r 1");
    bad("0 10 w 1; 1 2 r 1; 3 4 r -");
    good("0 9 w 1; 0 9 w 2; 10 11 r 1");
    bad("0 9 w 1; 0 9 w 2; 10 11 r 1; 12 13 r 2");
    // Applied twice: 1 comes back after 2 was seen.
    bad("0 20 w 1; 1 2 r 1; 3 4 w 2; 5 6 r 2; 7 8 r 1");
}

#[test]
fn conditions_hold_where_they_say_so() {
    good("0 1 c - 1 yes; 2 3 c 1 2 yes; 4 5 c 1 3 no; 6 7 r 2; 8 9 d 1 no; 10 11 d 2 yes; 12 13 r -; 14 15 d 2 yes");
    bad("0 1 c - 1 yes; 2 3 c - 2 yes");
    bad("0 1 w 1; 2 3 c 1 2 no");
    bad("0 1 w 1; 2 3 d 1 no");
    bad("0 1 w 1; 2 3 d 2 yes");
    // Two that both replaced 1.
    bad("0 1 w 1; 2 9 c 1 2 yes; 2 9 c 1 3 yes");
    good("0 1 w 1; 2 9 c 1 2 yes; 2 9 c 1 3 no");
    // A key that was deleted has nothing to be deleted.
    bad("0 1 w 1; 2 3 d 1 yes; 4 5 d 1 no");
}

#[test]
fn what_nobody_knows_may_happen_at_any_time_or_never_but_only_once() {
    good("0 1 w 1; 2 ? w 2; 3 4 r 1; 100 101 r 2");
    good("0 1 w 1; 2 ? w 2; 3 4 r 1; 100 101 r 1");
    bad("0 1 w 1; 2 ? w 2; 3 4 r 2; 5 6 w 3; 7 8 r 3; 9 10 r 2");
    // Not before it began.
    bad("0 1 w 1; 2 3 r 2; 4 ? w 2");
    good("0 1 w 1; 2 ? c 1 2; 3 4 r 1; 5 6 r 2");
    good("0 1 w 1; 2 ? c 1 2; 3 4 w 3; 5 6 r 3");
    bad("0 1 w 1; 2 ? c 1 2; 3 4 w 3; 5 6 r 3; 7 8 r 2");
    good("0 1 w 1; 2 ? d 1; 3 4 r 1; 5 6 r -");
    bad("0 1 w 1; 2 ? d 1; 3 4 r -; 5 6 r 1");
}

#[test]
fn what_nobody_saw_makes_as_many_conditions_fail_as_there_is_of_it() {
    good("0 1 w 1; 2 ? w 2; 3 4 c 1 3 no");
    good("0 1 w 1; 2 ? c 1 2; 3 4 c 1 3 no; 5 6 d 1 no");
    bad("0 1 w 1; 2 ? c 7 2; 3 4 c 1 3 no");
    bad("0 1 w 1; 2 3 c 1 3 no; 4 ? w 2");
    // It is there once: after 4 was written, nothing explains the second.
    bad("0 1 w 1; 2 ? w 2; 3 4 c 1 3 no; 5 6 w 4; 7 8 c 4 5 no");
    good("0 1 w 1; 2 ? w 2; 3 4 c 1 3 no; 5 6 w 4; 7 ? w 6; 8 9 c 4 5 no");
    good("0 ? c - 2; 1 2 c - 1 no; 3 4 w 5; 5 6 d 5 yes; 7 8 r -");
    bad("0 ? c - 2; 1 2 c - 1 no; 3 4 w 5; 5 6 d 5 yes; 7 8 c - 9 no");
    // What cannot have been written over is there still.
    bad("0 1 w 1; 2 ? w 2; 3 4 c 1 3 no; 5 6 r 1");
}

#[test]
fn a_finding_names_the_key_and_the_fewest_operations() {
    let text = "0 1 w 1; 2 3 r 1; 4 5 w 2; 6 7 r 2; 8 9 r 2; 10 11 w 3; 12 13 r 2; 14 15 r 3; 16 17 w 4; 18 19 r 4";
    let history = History::from([("good".to_owned(), parsed("0 1 w 1")), ("k".to_owned(), parsed(text))]);
    let findings = findings(&history);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.key, "k");
    let said: Vec<_> = finding.window.iter().map(|o| (o.action, o.outcome)).collect();
    let wrote = |value| (Action::Write(value), Outcome::Done);
    assert_eq!(said, [wrote(2), wrote(3), (Action::Read, Outcome::Found(Some(2)))], "{finding}");
}

#[test]
fn a_finding_shows_answers_that_came_later() {
    let history = History::from([("k".to_owned(), parsed("0 1 w 1; 2 30 w 2; 3 4 r 2; 5 6 r 1; 40 41 r 2"))]);
    let shown = findings(&history)[0].to_string();
    assert!(shown.contains("k: no order explains these 4 operations:"), "{shown}");
    assert!(shown.contains("client 1 at agent 0: write 2 -> done") && shown.contains("client 3"), "{shown}");
}

#[test]
fn a_long_history_with_many_unknown_writes_is_decided() {
    let mut lines = Vec::new();
    for n in 0..400_u64 {
        let at = n * 10;
        lines.push(format!("{at} {} w {}", at + 14, n + 1));
        lines.push(format!("{} ? w {}", at + 1, 10_000 + n));
        lines.push(format!("{} ? c {} {}", at + 2, n + 1, 20_000 + n));
        lines.push(format!("{} {} r {}", at + 15, at + 16, n + 1));
    }
    let text = lines.join(";");
    // Each read may have come before the next write took effect.
    good(&text);
    bad(&format!("{text}; 9000 9001 r 17"));
}
