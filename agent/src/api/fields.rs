//! Bodies of registrations, read as Go's decoder reads them into Consul's structs: names of fields in any
//! case and in one word, some also with underscores; an unknown one and a value of the wrong kind are told in
//! Go's words. What comes out has each field under one name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::Error;
use super::extract::Call;
use crate::config;

/// Far more than a definition needs; every server keeps what is registered.
const BYTES_MAX: usize = 1024 * 1024;

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
        false => config::json_fault(&text, &fault),
    })?;
    match value {
        Value::Null => Ok(Fields(Map::new())),
        Value::Object(object) => block(object, known, None).map(Fields).map_err(|why| {
            // Go names a struct that has a name; those it reads definitions into have none.
            let of = go_type.strip_prefix("agent.").unwrap_or_default();
            why.replacen("struct field .", &format!("struct field {of}."), 1)
        }),
        other => Err(format!("json: cannot unmarshal {} into Go value of type {go_type}", go_kind(&other))),
    }
}

/// `outer`: Go names the block in a field's stead, which it reads apart.
fn block(
    object: Map<String, Value>,
    known: &'static [Field],
    outer: Option<&str>,
) -> Result<Map<String, Value>, String> {
    let mut read = Map::new();
    for (written, value) in object {
        let lower = written.to_lowercase();
        let is_it = |field: &&Field| field.name.eq_ignore_ascii_case(&lower) || field.also.contains(&lower.as_str());
        let field = known.iter().find(is_it).ok_or_else(|| format!("json: unknown field {written:?}"))?;
        if !value.is_null() {
            let fit = fit(value, field.kind, outer.unwrap_or(field.name))?;
            read.insert(field.name.to_owned(), fit);
        }
    }
    Ok(read)
}

fn fit(value: Value, kind: Kind, name: &str) -> Result<Value, String> {
    let wrong = |value: &Value, go_type: &str| {
        let found = match value {
            Value::Number(number) if matches!(kind, Kind::Int) => format!("number {number}"),
            other => go_kind(other).to_owned(),
        };
        Err(format!("json: cannot unmarshal {found} into Go struct field .{name} of type {go_type}"))
    };
    let texts = |list: &[Value]| match list.iter().find(|one| !one.is_string()) {
        Some(one) => wrong(one, "string").map(drop),
        None => Ok(()),
    };
    match (kind, value) {
        (Kind::Any, value) => Ok(value),
        (Kind::Text | Kind::Named(_), value @ Value::String(_)) | (Kind::Bool, value @ Value::Bool(_)) => Ok(value),
        (Kind::Int, Value::Number(number)) if number.is_i64() => Ok(number.into()),
        (Kind::Duration, value) => duration(&value),
        (Kind::Texts, Value::Array(list)) => texts(&list).map(|()| Value::Array(list)),
        (Kind::Map, Value::Object(map)) => match map.values().find(|one| !one.is_string()) {
            Some(one) => wrong(one, "string"),
            None => Ok(Value::Object(map)),
        },
        (Kind::Lists, Value::Object(map)) => {
            for one in map.values() {
                match one {
                    Value::Array(list) => texts(list)?,
                    Value::Null => {}
                    other => return wrong(other, "[]string"),
                }
            }
            Ok(Value::Object(map))
        }
        (Kind::Block(_, known), Value::Object(object)) => block(object, known, Some(name)).map(Value::Object),
        (Kind::Blocks(of, known), Value::Array(list)) => {
            let one = |one| fit(one, Kind::Block(of, known), name);
            list.into_iter().filter(|one| !one.is_null()).map(one).collect::<Result<_, _>>().map(Value::Array)
        }
        (Kind::NamedBlocks(of, known), Value::Object(map)) => {
            let one = |(tag, one)| Ok::<_, String>((tag, fit(one, Kind::Block(of, known), name)?));
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
        Kind::Blocks("structs.CheckType", _) => "structs.CheckTypes".to_owned(),
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

/// A text in Go's notation, or nanoseconds; anything else is none at all, and so is what is below zero.
fn duration(value: &Value) -> Result<Value, String> {
    let nanos = match value {
        Value::String(text) => match text.strip_prefix('-') {
            Some(rest) => shared::duration::parse(rest).map(|_| 0),
            None => shared::duration::parse(text).map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        }
        .map_err(|fault| fault.to_string())?,
        Value::Number(number) => number.as_u64().unwrap_or(0),
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
        field("Check", Kind::Block("structs.CheckType", INNER)),
        field("Checks", Kind::Blocks("structs.CheckType", INNER)),
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
    fn durations_are_texts_or_nanoseconds() {
        let check = |body: &str, millis: u64| {
            let fields = decode(body.as_bytes(), KNOWN, "T").unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(fields.duration("TTL"), Duration::from_millis(millis), "{body}");
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
        refused(
            r#"{"Checks":{}}"#,
            "json: cannot unmarshal object into Go struct field .Checks of type structs.CheckTypes",
        );
    }
}
