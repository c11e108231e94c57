//! The notation, its faults and the two kinds of usage.

use super::*;

const TABLE: &[Flag] = &[
    Flag::new("detailed", Kind::Bool, "More."),
    Flag::new("dev", Kind::BoolValue, "Development mode."),
    Flag::new("node", Kind::String, "Name of this node.").default("one"),
    Flag::new("expect", Kind::IntValue, "Servers to wait for."),
    Flag::new("flags", Kind::Uint, "A number kept with the key."),
    Flag::new("wait", Kind::Duration, "How long."),
    Flag::new("meta", Kind::Pairs, "A pair."),
    Flag::new("join", Kind::List, "Address to join.").value("address"),
];

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn check(line: &str, expected: &[(&'static str, &str)], rest: &str) {
    let parsed = parse(&[TABLE], &words(line)).expect(line);
    let given: Vec<(&str, &str)> =
        parsed.given.iter().flat_map(|(name, values)| values.iter().map(|v| (*name, v.as_str()))).collect();
    assert_eq!((given.as_slice(), parsed.rest()), (expected, words(rest).as_slice()), "{line}");
}

#[track_caller]
fn refused(line: &str, message: &str) {
    assert_eq!(parse(&[TABLE], &words(line)).expect_err(line).to_string(), message);
}

#[test]
fn values_follow_a_blank_or_an_equals_sign_after_one_dash_or_two() {
    check("-node a", &[("node", "a")], "");
    check("--node=a=b", &[("node", "a=b")], "");
    check("-node= -detailed", &[("detailed", "true"), ("node", "")], "");
    check("-node -detailed", &[("node", "-detailed")], "");
    check("-join a -join=b", &[("join", "a"), ("join", "b")], "");
}

#[test]
fn a_bool_takes_its_value_only_behind_an_equals_sign() {
    check("-detailed false", &[("detailed", "true")], "false");
    check("-detailed=F -dev=1", &[("detailed", "F"), ("dev", "1")], "");
    let parsed = parse(&[TABLE], &words("-detailed=F -dev")).expect("good flags");
    assert_eq!((parsed.is_on("detailed"), parsed.is_on("dev"), parsed.given_bool("x")), (false, true, None));
}

#[test]
fn flags_end_at_the_first_other_word_or_at_two_dashes() {
    check("-dev x -node y", &[("dev", "true")], "x -node y");
    check("-dev -- -node y", &[("dev", "true")], "-node y");
    check("- -dev", &[], "- -dev");
}

#[test]
fn faults_read_as_gos() {
    refused("-nope", "flag provided but not defined: -nope");
    refused("--nope=3", "flag provided but not defined: -nope");
    refused("-node", "flag needs an argument: -node");
    refused("---node x", "bad flag syntax: ---node");
    refused("-=x", "bad flag syntax: -=x");
    refused("-detailed=z", r#"invalid boolean value "z" for -detailed: parse error"#);
    refused("-dev=z", r#"invalid boolean value "z" for -dev: strconv.ParseBool: parsing "z": invalid syntax"#);
    refused("-flags=-1", r#"invalid value "-1" for flag -flags: parse error"#);
    refused(
        "-flags 18446744073709551616",
        r#"invalid value "18446744073709551616" for flag -flags: value out of range"#,
    );
    refused("-expect 0x1", r#"invalid value "0x1" for flag -expect: strconv.Atoi: parsing "0x1": invalid syntax"#);
    refused("-meta=x", r#"invalid value "x" for flag -meta: Missing "=" value in argument: x"#);
    refused("-wait 5", r#"invalid value "5" for flag -wait: parse error"#);
    assert_eq!(parse(&[TABLE], &words("-dev -help")), Err(Error::Help));
}

#[test]
fn numbers_are_read_in_gos_bases() {
    for (text, number) in [("16", 16), ("0x10", 16), ("010", 8), ("0b11", 3), ("0o7", 7), ("0", 0)] {
        assert_eq!(parse(&[TABLE], &words(&format!("-flags {text}"))).expect(text).uint("flags"), number);
    }
    assert_eq!(parse(&[TABLE], &words("-expect -07")).expect("a number").given_int("expect"), Some(-7));
}

#[test]
fn a_flag_that_is_not_given_answers_its_default() {
    let parsed = parse(&[TABLE], &[]).expect("nothing");
    assert_eq!((parsed.text("node"), parsed.text("join"), parsed.given_text("node")), ("one", "", None));
}

#[test]
fn usage_lists_flags_as_go_does() {
    let text = usage(&[&TABLE[..3], &TABLE[7..]]);
    assert_eq!(
        text,
        "Usage:\n  -detailed\n    \tMore.\n  -dev\n    \tDevelopment mode.\n  -join address\n    \tAddress to join.\n  \
         -node string\n    \tName of this node. (default \"one\")\n"
    );
}

#[test]
fn options_are_wrapped_under_their_title() {
    const LONG: &[Flag] = &[
        Flag::new("b", Kind::Bool, "One two three four five six seven eight nine ten eleven twelve thirteen fourteen."),
        Flag::new("a", Kind::List, "Short.").value("key=value"),
    ];
    assert_eq!(
        options("Command Options", &[LONG]),
        "Command Options\n\n  -a=<key=value>\n     Short.\n\n  -b\n     One two three four five six seven eight nine ten \
         eleven twelve\n     thirteen fourteen.\n"
    );
    assert_eq!(options("Command Options", &[]), "");
}
