//! Expressions that Consul was asked, with its answers; and laws that hold of any expression.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn what_is_refused_is_refused_in_consuls_words() {
    // An expression and the text of the refusal on each line, as JSON; asked of nodes.
    for line in include_str!("refused.txt").lines() {
        let (text, refusal) = line.split_once('\t').expect("two columns");
        let text: String = serde_json::from_str(text).expect("an expression");
        let refusal: String = serde_json::from_str(refusal).expect("a text");
        let told = Filter::compile(&text, &NODE).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(told, Err(refusal), "{text:?}");
    }
}

#[test]
fn a_value_must_be_of_the_selectors_type() {
    let check = |text: &str, expected: &str| {
        let told = Filter::compile(text, &INSTANCE).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(told, Err(expected.to_owned()), "{text}");
    };
    check(
        "Service.Port == 1.5",
        r#"Failed to coerce value "1.5" for selector "Service.Port": strconv.ParseInt: parsing "1.5": invalid syntax"#,
    );
    check(
        "Service.Connect.Native != no",
        r#"Failed to coerce value "no" for selector "Service.Connect.Native": strconv.ParseBool: parsing "no": invalid syntax"#,
    );
    check("Service.Tags == v1", r#"Invalid match operator "Equal" for selector "Service.Tags""#);
    check("Service.Tags not matches v1", r#"Invalid match operator "Not Matches" for selector "Service.Tags""#);
    check("x in Checks", r#"Invalid match operator "In" for selector "Checks""#);
    check("Node == x", r#"Invalid match operator "Equal" for selector "Node""#);
    check(
        "Service.TaggedAddresses.lan == x",
        r#"Invalid match operator "Equal" for selector "Service.TaggedAddresses.lan""#,
    );
    check("Checks.Nope == 1", r#"Selector "Checks.Nope" is not valid"#);
    check("Checks.Nope.x == 1", r#"Selector "Checks.Nope" is not valid"#);
    check("Nope.a.b == 1", r#"Selector "Nope" is not valid"#);
    check("Checks.Status.x == 1", r#"Selector "Checks.Status.x" is not valid"#);
}

/// Two instances as Consul showed them.
fn rows() -> [Value; 2] {
    let check = |name: &str, status: &str, tags: Value| json!({"Name": name, "Status": status, "ServiceTags": tags});
    [
        json!({
            "Node": {"Node": "ext1", "Meta": {"kind": "db", "n": "5", "Weird Key": "v"}, "TaggedAddresses": null},
            "Service": {
                "ID": "r1", "Service": "redis", "Tags": ["primary", "v1"], "Port": 6379, "Meta": {"ver": "5"},
                "TaggedAddresses": {"lan": {"Address": "1.1.1.1", "Port": 80}}, "EnableTagOverride": false,
                "Weights": {"Passing": 1, "Warning": 1}, "Proxy": {"MeshGateway": {}, "Expose": {}}, "Connect": {},
            },
            "Checks": [check("c", "passing", json!(["primary", "v1"]))],
        }),
        json!({
            "Node": {"Node": "ext2", "Meta": null},
            "Service": {"ID": "r2", "Service": "redis", "Tags": ["Secondary"], "Port": 6380, "Meta": null},
            "Checks": [check("b", "passing", json!([])), check("a", "critical", json!(["Secondary"]))],
        }),
    ]
}

#[test]
fn rows_are_chosen_as_consul_chooses_them() {
    let rows = rows();
    // 1 for the first, 2 for the second, 3 for both.
    let check = |text: &str, expected: u8| {
        let filter = Filter::compile(text, &INSTANCE).unwrap_or_else(|error| panic!("{text}: {error}"));
        let chosen = u8::from(filter.holds(&rows[0])) + 2 * u8::from(filter.holds(&rows[1]));
        assert_eq!(chosen, expected, "{text}");
    };
    check("Checks.Status == critical", 2);
    check("Checks.Status != critical", 3);
    check("not Checks.Status == critical", 1);
    check("Checks.Status != passing", 2);
    check("Checks is empty", 0);
    check("Checks is not empty", 3);
    check("crit in Checks.Status", 2);
    check("crit not in Checks.Status", 3);
    check("Checks.ServiceTags is empty", 2);
    check("Checks.ServiceTags is not empty", 3);
    check("v1 in Checks.ServiceTags", 1);
    check("v1 not in Checks.ServiceTags", 2);
    check("Service.Tags contains v1", 1);
    check("Service.Tags not contains v1", 2);
    check("v in Service.Tags", 0);
    check("secondary in Service.Tags", 0);
    check("Service.Port == 6379", 1);
    check("Service.Port != 6379", 2);
    check("Service.Port == \"0x18eb\"", 1);
    check("Service.EnableTagOverride == F", 3);
    check("Service.Meta.ver == 5", 1);
    check("Service.Meta.nope == x", 0);
    check("Service.Meta.nope != x", 3);
    check("Service.Meta.nope matches `x`", 3);
    check("Service.Meta.nope not matches `x`", 3);
    check("x in Service.Meta.nope", 0);
    check("x not in Service.Meta.nope", 3);
    check("\"\" in Service.Meta", 0);
    check("Service.TaggedAddresses.lan.Port == 80", 1);
    check("Service.TaggedAddresses.lan.Port != 80", 2);
    check("Service.TaggedAddresses.lan.Address matches `^1`", 3);
    check("lan in Service.TaggedAddresses", 1);
    check("Service.TaggedAddresses is empty", 2);
    check("Service.Kind == \"\"", 3);
    check("Service.Kind != \"\"", 0);
    check("Service.Proxy.Upstreams is empty", 3);
    check("Service.Proxy.Upstreams.DestinationName != x", 0);
    check("Service.Connect.Native == false", 3);
    check("Service.Proxy.LocalServicePort == 0", 3);
    check("Node.Meta[\"Weird Key\"] == v", 1);
    check("Node.Meta[`kind`]!=db", 2);
    check("Node.Meta is empty", 2);
    check("Service.Service matches `(?i)^RED.s$`", 3);
    check("Service.ID == r1 or Service.ID == r2 and Service.Port == 1", 1);
    check("(Service.ID == r1 or Service.ID == r2) and Service.Port == 6380", 2);
    check("not (Service.ID == r1 or Service.ID == nope)", 2);
    check("not Service.ID == r1 and Service.ID == r2", 2);
    check(" ( ( Service.ID==r1 ) )\n", 1);
    check("r in Service.ID", 3);
    check("not not Service.ID == r1", 1);
}

#[test]
fn length_and_depth_have_limits() {
    let compile = |text: &str| Filter::compile(text, &NODE).map(|_| ()).map_err(|error| error.to_string());
    let nested = |times: usize| format!("{}Node == a{}", "(".repeat(times), ")".repeat(times));
    assert_eq!(compile(&nested(DEPTH_MAX - 1)), Ok(()));
    assert!(compile(&nested(DEPTH_MAX)).expect_err("too deep").ends_with("nested deeper than 64 times"));
    assert!(compile(&"not ".repeat(4000)).expect_err("too deep").contains("nested deeper than 64 times"));
    assert!(compile(&"(".repeat(BYTES_MAX)).expect_err("too deep").contains("nested deeper than 64 times"));
    let long = vec!["Node == a"; BYTES_MAX / 16].join(" and ");
    assert_eq!(compile(&long), Ok(()));
    assert_eq!(
        compile(&" ".repeat(BYTES_MAX + 1)),
        Err("the expression has 16385 bytes, the limit is 16384".to_owned())
    );
}

/// The expression as text.
fn print(expression: &Expression) -> String {
    let list = |all: &[Expression], between: &str| {
        all.iter().map(|one| format!("({})", print(one))).collect::<Vec<_>>().join(between)
    };
    match expression {
        Expression::Not(inner) => format!("not ({})", print(inner)),
        Expression::And(all) => list(all, " and "),
        Expression::Or(all) => list(all, " or "),
        Expression::Match(Match { selector, operator, value }) => {
            let mut path = selector[0].clone();
            selector[1..].iter().for_each(|name| path.push_str(&format!("[{}]", quote(name))));
            let value = quote(value);
            match operator {
                Operator::Equal => format!("{path}=={value}"),
                Operator::NotEqual => format!("{path} != {value}"),
                Operator::In => format!("{value} in {path}"),
                Operator::NotIn => format!("{path} not contains {value}"),
                Operator::IsEmpty => format!("{path} is empty"),
                Operator::IsNotEmpty => format!("{path} is not empty"),
                Operator::Matches => format!("{path} matches {value}"),
                Operator::NotMatches => format!("{path} not matches {value}"),
            }
        }
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\x22").replace('\n', "\\n"))
}

fn expressions() -> impl Strategy<Value = Expression> {
    let operators = prop_oneof![
        Just(Operator::Equal),
        Just(Operator::NotEqual),
        Just(Operator::In),
        Just(Operator::NotIn),
        Just(Operator::IsEmpty),
        Just(Operator::IsNotEmpty),
        Just(Operator::Matches),
        Just(Operator::NotMatches),
    ];
    let leaf = ("[a-zA-Z][a-zA-Z0-9_]{0,4}", proptest::collection::vec(".{0,4}", 0..3), operators, ".{0,6}").prop_map(
        |(first, rest, operator, value)| {
            let selector = std::iter::once(first).chain(rest).collect();
            let takes_value = !matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
            Expression::Match(Match { selector, operator, value: if takes_value { value } else { String::new() } })
        },
    );
    leaf.prop_recursive(5, 24, 3, |inner| {
        let many = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|one| Expression::Not(Box::new(one))),
            many().prop_map(Expression::And),
            many().prop_map(Expression::Or),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_the_same(expression in expressions()) {
        prop_assert_eq!(read::expression(&print(&expression)), Ok(expression));
    }

    #[test]
    fn no_text_breaks_the_reader(text in ".{0,80}") {
        let _ = Filter::compile(&text, &INSTANCE);
    }

    #[test]
    fn no_heap_of_words_breaks_the_reader(
        words in proptest::collection::vec(
            prop_oneof![
                Just("("), Just(")"), Just("not"), Just("and"), Just("or"), Just("in"), Just("is"), Just("empty"),
                Just("contains"), Just("matches"), Just("=="), Just("!="), Just("Checks.Status"), Just("["), Just("]"),
                Just("\""), Just("`"), Just("\\"), Just("5"), Just("-"), Just("."), Just(" "), Just(" "), Just(" "),
                Just("é"), Just("Service.Port"),
            ],
            0..40,
        ),
    ) {
        if let Ok(filter) = Filter::compile(&words.concat(), &INSTANCE) {
            for row in rows() {
                filter.holds(&row);
            }
            filter.holds(&Value::Null);
        }
    }
}
