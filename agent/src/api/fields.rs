//! Bodies of registrations, read as Go's decoder reads them into Consul's structs: names of fields in any
//! case and in one word, some also with underscores; an unknown one and a value of the wrong kind are told in
//! Go's words. What comes out has each field under one name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::Error;
use super::extract::Call;
use super::syntax;
use crate::config;

/// Far more than a definition needs; every server keeps what is registered.
const BYTES_MAX: usize = 1024 * 1024;

/// What Go reads apart from what it is in.
pub(super) const CHECK_TYPE: &str = "structs.CheckType";

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// A text with a type of its own at the reference.
    Named(&'static str),
    Int,
    Bool,
    Texts,
    /// Texts by name.
    Map,
    /// Lists of texts by name.
    Lists,
    Duration,
    /// Its inside is not looked at.
    Any,
    Block(&'static str, &'static [Field]),
    Blocks(&'static str, &'static [Field]),
    /// Blocks by name.
    NamedBlocks(&'static str, &'static [Field]),
}

/// A field: how Go calls it, and what else it answers to.
pub(super) struct Field {
    name: &'static str,
    also: &'static [&'static str],
    kind: Kind,
}

pub(super) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, also: &[], kind }
}

pub(super) const fn also(name: &'static str, also: &'static [&'static str], kind: Kind) -> Field {
    Field { name, also, kind }
}

/// The fields of a body by Go's names; what is null or left out is not there.
pub(super) struct Fields(Map<String, Value>);

/// Reads the body of a call.
pub(super) async fn take(call: &mut Call, known: &'static [Field], go_type: &str) -> Result<Fields, Error> {
    let body = call.take_body(BYTES_MAX).await.map_err(|error| match error {
        Error::ValueTooLarge { .. } | Error::BodyTooLarge(_) => Error::DefinitionTooLarge(BYTES_MAX),
        other => other,
    })?;
    decode(&body, known, go_type).map_err(Error::Decode)
}

/// The first value of a body; what follows it is not looked at, as in Go.
fn decode(body: &[u8], known: &'static [Field], go_type: &str) -> Result<Fields, String> {
    if body.trim_ascii().is_empty() {
        return Err("EOF".to_owned());
    }
    let text = String::from_utf8_lossy(body);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let value = Value::deserialize(&mut reader).map_err(|fault| match fault.is_eof() {
        true => "unexpected EOF".to_owned(),
        false => syntax::fault(&text).unwrap_or_else(|| fault.to_string()),
    })?;
    match value {
        Value::Null => Ok(Fields(Map::new())),
        Value::Object(object) => block(object, known, &Place::Top).map(Fields).map_err(|why| {
            // Go names a struct that has a name; those it reads definitions into have none.
            let of = go_type.strip_prefix("agent.").unwrap_or_default();
            why.replacen("struct field .", &format!("struct field {of}."), 1)
        }),
        other => Err(format!("json: cannot unmarshal {} into Go value of type {go_type}", go_kind(&other))),
    }
}

/// Where a field is, as Go tells it.
enum Place {
    Top,
    /// In a block that it reads apart: it names the block in the field's stead.
    Apart(String),
    /// In a block that it reads along, with the name of its type and the way there.
    Along(String),
}

impl Place {
    fn of(&self, field: &str) -> String {
        match self {
            Self::Top => format!(".{field}"),
            Self::Apart(block) => block.clone(),
            Self::Along(block) => format!("{block}.{field}"),
        }
    }

    /// Inside the block at `place` (`.Weights`) of that type.
    fn inside(place: &str, go_type: &str) -> Self {
        match go_type {
            CHECK_TYPE => Self::Apart(place.to_owned()),
            other => Self::Along(format!("{}{place}", other.trim_start_matches("structs."))),
        }
    }
}

fn block(object: Map<String, Value>, known: &'static [Field], place: &Place) -> Result<Map<String, Value>, String> {
    let mut read = Map::new();
    for (written, value) in object {
        let lower = written.to_lowercase();
        let other_name = |field: &Field| field.also.iter().find(|name| **name == lower).copied();
        let is_it = |field: &&Field| field.name.eq_ignore_ascii_case(&lower) || other_name(field).is_some();
        let field = known.iter().find(is_it).ok_or_else(|| format!("json: unknown field {written:?}"))?;
        if !value.is_null() {
            let fit = fit(value, field.kind, &place.of(other_name(field).unwrap_or(field.name)))?;
            read.insert(field.name.to_owned(), fit);
        }
    }
    Ok(read)
}

fn fit(value: Value, kind: Kind, place: &str) -> Result<Value, String> {
    let wrong = |value: &Value, go_type: &str| {
        let found = match value {
            Value::Number(number) if matches!(kind, Kind::Int) => format!("number {number}"),
            other => go_kind(other).to_owned(),
        };
        Err(format!("json: cannot unmarshal {found} into Go struct field {place} of type {go_type}"))
    };
    let text = |value: Value| match value {
        Value::String(text) => Ok(Value::String(text)),
        // Go leaves what it has for nothing.
        Value::Null => Ok(Value::String(String::new())),
        other => wrong(&other, "string"),
    };
    let texts = |list: Vec<Value>| list.into_iter().map(text).collect::<Result<_, _>>().map(Value::Array);
    match (kind, value) {
        (Kind::Any, value) => Ok(value),
        (Kind::Text | Kind::Named(_), value @ Value::String(_)) | (Kind::Bool, value @ Value::Bool(_)) => Ok(value),
        (Kind::Int, Value::Number(number)) if number.is_i64() => Ok(number.into()),
        (Kind::Duration, value) => duration(&value),
        (Kind::Texts, Value::Array(list)) => texts(list),
        (Kind::Map, Value::Object(map)) => {
            let one = |(key, one)| Ok::<_, String>((key, text(one)?));
            map.into_iter().map(one).collect::<Result<_, _>>().map(Value::Object)
        }
        (Kind::Lists, Value::Object(map)) => {
            let one = |(key, one)| match one {
                Value::Array(list) => Ok((key, texts(list)?)),
                Value::Null => Ok((key, Value::Null)),
                other => Err(wrong(&other, "[]string").err().unwrap_or_default()),
            };
            map.into_iter().map(one).collect::<Result<_, String>>().map(Value::Object)
        }
        (Kind::Block(of, known), Value::Object(object)) => {
            block(object, known, &Place::inside(place, of)).map(Value::Object)
        }
        (Kind::Blocks(of, known), Value::Array(list)) => {
            let one = |one| fit(one, Kind::Block(of, known), place);
            list.into_iter().filter(|one| !one.is_null()).map(one).collect::<Result<_, _>>().map(Value::Array)
        }
        (Kind::NamedBlocks(of, known), Value::Object(map)) => {
            let one = |(tag, one)| Ok::<_, String>((tag, fit(one, Kind::Block(of, known), place)?));
            map.into_iter().map(one).collect::<Result<_, _>>().map(Value::Object)
        }
        (kind, value) => wrong(&value, &go_type(kind)),
    }
}

fn go_type(kind: Kind) -> String {
    match kind {
        Kind::Int => "int".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::Texts => "[]string".to_owned(),
        Kind::Map => "map[string]string".to_owned(),
        Kind::Lists => "map[string][]string".to_owned(),
        Kind::Named(of) | Kind::Block(of, _) => of.to_owned(),
        Kind::Blocks(CHECK_TYPE, _) => format!("{CHECK_TYPE}s"),
        Kind::Blocks(of, _) => format!("[]{of}"),
        Kind::NamedBlocks(of, _) => format!("map[string]{of}"),
        Kind::Text | Kind::Duration | Kind::Any => "string".to_owned(),
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A text in Go's notation, or nanoseconds; anything else is none at all.
fn duration(value: &Value) -> Result<Value, String> {
    let nanos = match value {
        Value::String(text) => {
            let (sign, span) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
            let span = shared::duration::parse(span).map_err(|fault| fault.to_string())?;
            sign * i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
        }
        Value::Number(number) => number.as_i64().unwrap_or(0),
        _ => 0,
    };
    Ok(nanos.into())
}

impl Fields {
    pub(super) fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(super) fn int(&self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.0.get(name).map(texts).unwrap_or_default()
    }

    /// What is below zero is none at all.
    pub(super) fn duration(&self, name: &str) -> Duration {
        Duration::from_nanos(self.0.get(name).and_then(Value::as_u64).unwrap_or(0))
    }

    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let map = self.0.get(name).and_then(Value::as_object).into_iter().flatten();
        map.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    pub(super) fn lists(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let map = self.0.get(name).and_then(Value::as_object).into_iter().flatten();
        map.map(|(key, value)| (key.clone(), texts(value))).collect()
    }

    pub(super) fn block(&self, name: &str) -> Option<Self> {
        self.0.get(name).and_then(Value::as_object).cloned().map(Self)
    }

    pub(super) fn blocks(&self, name: &str) -> Vec<Self> {
        let list = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_object).cloned().map(Self).collect()
    }

    pub(super) fn named_blocks(&self, name: &str) -> Vec<(String, Self)> {
        let map = self.0.get(name).and_then(Value::as_object).into_iter().flatten();
        map.filter_map(|(tag, one)| Some((tag.clone(), Self(one.as_object()?.clone())))).collect()
    }

    /// Whether some number or duration is below zero.
    pub(super) fn is_some_negative(&self) -> bool {
        self.0.values().any(|value| value.as_i64().is_some_and(|number| number < 0))
    }

    /// Whether it asks for something.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !config::is_off(value))
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Field] = &[field("Deep", Kind::Text)];
    const KNOWN: &[Field] = &[
        field("Name", Kind::Text),
        also("ServiceID", &["service_id"], Kind::Text),
        field("Port", Kind::Int),
        field("Tags", Kind::Texts),
        field("Meta", Kind::Map),
        field("Header", Kind::Lists),
        field("TTL", Kind::Duration),
        field("Check", Kind::Block(CHECK_TYPE, INNER)),
        field("Checks", Kind::Blocks(CHECK_TYPE, INNER)),
        field("Weights", Kind::Block("structs.Weights", INNER)),
        field("Tagged", Kind::NamedBlocks("structs.ServiceAddress", INNER)),
        also("ScriptArgs", &["args"], Kind::Texts),
    ];

    #[track_caller]
    fn refused(body: &str, expected: &str) {
        assert_eq!(decode(body.as_bytes(), KNOWN, "T").map(|fields| fields.0), Err(expected.to_owned()), "{body}");
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let body = r#"{"name":"a","service_ID":"b","ttl":"90s","CHECKS":[{"deep":"x"},null],"Tags":null} rest"#;
        let fields = decode(body.as_bytes(), KNOWN, "T").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((fields.text("Name"), fields.text("ServiceID")), ("a".to_owned(), "b".to_owned()));
        assert_eq!(fields.duration("TTL"), Duration::from_secs(90));
        assert_eq!(fields.blocks("Checks")[0].text("Deep"), "x");
        assert!(fields.texts("Tags").is_empty() && fields.block("Check").is_none());
    }

    #[test]
    fn null_among_texts_is_an_empty_one() {
        let body = r#"{"Tags":["a",null],"Meta":{"k":null},"Header":{"h":null,"i":[null]}}"#;
        let fields = decode(body.as_bytes(), KNOWN, "T").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((fields.texts("Tags"), fields.map("Meta")["k"].as_str()), (vec!["a".to_owned(), String::new()], ""));
        assert_eq!(fields.lists("Header")["i"], [""]);
    }

    #[test]
    fn durations_are_texts_or_nanoseconds() {
        let check = |body: &str, millis: u64| {
            let fields = decode(body.as_bytes(), KNOWN, "T").unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(fields.duration("TTL"), Duration::from_millis(millis), "{body}");
            assert_eq!(fields.is_some_negative(), body.contains('-'), "{body}");
        };
        check(r#"{"TTL":"1.5s"}"#, 1500);
        check(r#"{"TTL":2000000}"#, 2);
        check(r#"{"TTL":"-5s"}"#, 0);
        check(r#"{"TTL":-5}"#, 0);
        check(r#"{"TTL":true}"#, 0);
        refused(r#"{"TTL":"soon"}"#, r#"time: invalid duration "soon""#);
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        refused("", "EOF");
        refused("{", "unexpected EOF");
        refused("[]", "json: cannot unmarshal array into Go value of type T");
        refused("nope", "invalid character 'o' in literal null (expecting 'u')");
        refused(r#"{"Name":"x",}"#, "invalid character '}' looking for beginning of object key string");
        refused(r#"{"Bogus":1}"#, r#"json: unknown field "Bogus""#);
        refused(r#"{"Name":5}"#, "json: cannot unmarshal number into Go struct field .Name of type string");
        refused(r#"{"Port":"80"}"#, "json: cannot unmarshal string into Go struct field .Port of type int");
        refused(r#"{"Port":80.5}"#, "json: cannot unmarshal number 80.5 into Go struct field .Port of type int");
        refused(r#"{"Tags":"a"}"#, "json: cannot unmarshal string into Go struct field .Tags of type []string");
        refused(r#"{"Tags":[1]}"#, "json: cannot unmarshal number into Go struct field .Tags of type string");
        refused(r#"{"Meta":{"a":1}}"#, "json: cannot unmarshal number into Go struct field .Meta of type string");
        refused(
            r#"{"Header":{"a":"b"}}"#,
            "json: cannot unmarshal string into Go struct field .Header of type []string",
        );
        refused(r#"{"Check":{"Deep":5}}"#, "json: cannot unmarshal number into Go struct field .Check of type string");
        refused(r#"{"Check":{"Bogus":5}}"#, r#"json: unknown field "Bogus""#);
        let of = |place: &str, kind: &str| {
            format!("json: cannot unmarshal number into Go struct field {place} of type {kind}")
        };
        refused(r#"{"Weights":{"Deep":5}}"#, &of("Weights.Weights.Deep", "string"));
        refused(r#"{"Tagged":{"lan":{"Deep":5}}}"#, &of("ServiceAddress.Tagged.Deep", "string"));
        refused(r#"{"Args":5}"#, &of(".args", "[]string"));
        refused(r#"{"ScriptArgs":5}"#, &of(".ScriptArgs", "[]string"));
        refused(r#"{'Name':"x"}"#, r"invalid character '\'' looking for beginning of object key string");
        refused("\u{0}", r"invalid character '\x00' looking for beginning of value");
        refused(&"[".repeat(20_000), "exceeded max depth");
        refused(
            r#"{"Checks":{}}"#,
            "json: cannot unmarshal object into Go struct field .Checks of type structs.CheckTypes",
        );
    }
}
