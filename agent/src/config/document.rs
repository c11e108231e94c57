//! One source of settings held against the table: known keys with values of their kind come out,
//! everything else is named. Sources are then laid over each other.
//!
//! Called by the loader for each file, each `-hcl` and the flags as a whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::definitions;
use super::keys::{self, Found, Key, Kind};
use super::problem::BadFile;

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Hcl,
}

/// A text that was read, or a file that could not be.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// As it was named: what messages call it.
    pub name: String,
    pub format: Format,
    pub text: String,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub value: Value,
    pub place: String,
}

/// Everything written so far, by the paths of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    values: BTreeMap<&'static str, Given>,
}

impl Written {
    pub(super) fn get(&self, path: &str) -> Option<&Given> {
        self.values.get(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.values.iter().map(|(path, given)| (*path, given))
    }

    /// Lays a later value over an earlier one: lists add up, maps merge, anything else is replaced.
    pub(super) fn put(&mut self, key: &'static Key, value: Value, place: &str) {
        let place = place.to_owned();
        let Some(before) = self.values.get_mut(key.path) else {
            self.values.insert(key.path, Given { value, place });
            return;
        };
        match (&mut before.value, value) {
            (Value::Array(list), Value::Array(more)) => list.extend(more),
            (Value::Object(map), Value::Object(more)) => map.extend(more),
            (slot, value) => *slot = value,
        }
        before.place = place;
    }

    pub(super) fn replace(&mut self, key: &'static Key, value: Value, place: &str) {
        self.values.insert(key.path, Given { value, place: place.to_owned() });
    }

    /// Reads a source and lays it over what is there; what is wrong with it is the answer.
    pub(super) fn add(&mut self, source: &Source) -> Result<(), BadFile> {
        let mut bad = BadFile::new(&source.name);
        match parse(source) {
            Ok(object) => self.walk("", &object, source, &mut bad),
            Err(syntax) => bad.syntax = Some(syntax),
        }
        if bad.is_good() { Ok(()) } else { Err(bad) }
    }

    fn walk(&mut self, prefix: &str, object: &Map<String, Value>, source: &Source, bad: &mut BadFile) {
        for (name, value) in object {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match keys::find(&path) {
                _ if value.is_null() => {}
                Found::Key(key) if definitions::gathered(key.path).is_some() => {
                    let all = definitions::read(&path, value, source.format, bad);
                    let gathered = definitions::gathered(key.path).unwrap_or_default();
                    if let (false, Found::Key(key)) = (all.is_empty(), keys::find(gathered)) {
                        self.put(key, Value::Array(all), &source.name);
                    }
                }
                Found::Unknown => bad.unknown.push((path.clone(), keys::nearest(&path))),
                Found::Key(key) => match fit(key.kind, value, &path, source.format) {
                    Ok(value) => self.put(key, value, &source.name),
                    Err(mut faults) => bad.types.append(&mut faults),
                },
                Found::Block => match single(value) {
                    Value::Object(inner) => self.walk(&path, inner, source, bad),
                    Value::Array(_) => bad.types.push(format!("'{path}' expected a map, got 'slice'")),
                    other => {
                        bad.types.push(format!("'{path}' expected a map, got '{}'", go_type(other, source.format)))
                    }
                },
            }
        }
    }
}

fn parse(source: &Source) -> Result<Map<String, Value>, String> {
    if source.text.is_empty() {
        return Ok(Map::new());
    }
    // HCL that begins with a brace is JSON, to Consul too.
    let is_json = source.format == Format::Json || source.text.trim_start().starts_with('{');
    match if is_json { Format::Json } else { Format::Hcl } {
        Format::Hcl => super::hcl::parse(&source.text).map_err(|e| e.to_string()),
        Format::Json => match serde_json::from_str(&source.text) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::Null) => Ok(Map::new()),
            Ok(other) => {
                let kind = if other.is_array() { "array" } else { go_type(&other, Format::Json) };
                let kind = if kind == "float64" { "number" } else { kind };
                Err(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
            }
            Err(fault) => Err(json_fault(&source.text, &fault)),
        },
    }
}

/// A list of one block is that block: both notations write blocks so.
pub(super) fn single(value: &Value) -> &Value {
    match value {
        Value::Array(list) => match list.as_slice() {
            [one] if !one.is_array() => one,
            _ => value,
        },
        _ => value,
    }
}

/// What Go calls the type of a value.
pub(super) fn go_type(value: &Value, format: Format) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(n) if format == Format::Hcl && n.is_i64() => "int",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) if format == Format::Hcl => "[]map[string]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The value as its kind wants it, or Consul's words for why it is not.
pub(super) fn fit(kind: Kind, value: &Value, path: &str, format: Format) -> Result<Value, Vec<String>> {
    let wrong = |expected: &str| {
        let found = go_type(value, format);
        Err(vec![format!("'{path}' expected type '{expected}', got unconvertible type '{found}'")])
    };
    let inner = if kind == Kind::Map { single(value) } else { value };
    match (kind, inner) {
        (Kind::Any, value) => Ok(value.clone()),
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text | Kind::Duration, Value::String(_))
        | (Kind::Float, Value::Number(_)) => Ok(value.clone()),
        // Go turns 1.5 into 1 in silence; we do not start with a number that nobody wrote.
        (Kind::Int, Value::Number(n)) => match whole(n) {
            Some(n) if n < 0 && go_integer(path).starts_with('u') => {
                Err(vec![format!("cannot parse '{path}', {n} overflows uint")])
            }
            Some(n) => Ok(n.into()),
            None => wrong(go_integer(path)),
        },
        (Kind::Texts, Value::Array(list)) => {
            let faults: Vec<String> = (list.iter().enumerate().filter(|(_, v)| !v.is_string()))
                .map(|(i, v)| {
                    let found = go_type(v, format);
                    format!("'{path}[{i}]' expected type 'string', got unconvertible type '{found}'")
                })
                .collect();
            if faults.is_empty() { Ok(value.clone()) } else { Err(faults) }
        }
        (Kind::Texts, Value::Object(_)) => {
            let found = go_type(&Value::Object(Map::new()), Format::Json);
            Err(vec![format!("'{path}[0]' expected type 'string', got unconvertible type '{found}'")])
        }
        (Kind::Texts, other) => {
            let found = go_type(other, format);
            Err(vec![format!("'{path}': source data must be an array or slice, got {found}")])
        }
        (Kind::Map, Value::Object(map)) => {
            let faults: Vec<String> = (map.iter().filter(|(_, v)| !v.is_string()))
                .map(|(name, v)| {
                    let found = go_type(v, format);
                    format!("'{path}[{name}]' expected type 'string', got unconvertible type '{found}'")
                })
                .collect();
            if faults.is_empty() { Ok(Value::Object(map.clone())) } else { Err(faults) }
        }
        (Kind::Map, Value::Array(_)) => Err(vec![format!("'{path}' expected a map, got 'slice'")]),
        (Kind::Map, other) => Err(vec![format!("'{path}' expected a map, got '{}'", go_type(other, format))]),
        (Kind::Bool, _) => wrong("bool"),
        (Kind::Int, _) => wrong(go_integer(path)),
        (Kind::Float, _) => wrong("float64"),
        (Kind::Text | Kind::Duration, _) => wrong("string"),
    }
}

/// What Go calls the whole number that a key takes.
fn go_integer(path: &str) -> &'static str {
    match path {
        "autopilot.min_quorum" => "uint",
        "limits.kv_max_value_size" | "limits.txn_max_req_len" => "uint64",
        path if path.starts_with("dns_config.soa.") => "uint32",
        _ => "int",
    }
}

fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = || number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15);
    number.as_i64().or_else(|| float().map(|f| f as i64))
}

/// A fault of JSON in the words of Go's decoder, with the place that Go leaves out.
fn json_fault(text: &str, fault: &serde_json::Error) -> String {
    if fault.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = text.lines().nth(fault.line().saturating_sub(1)).unwrap_or("");
    let said = fault.to_string();
    let said = said.split(" at line ").next().unwrap_or("");
    // serde_json counts bytes, and points at the character it did not want or at the one before it.
    let found = line.get(fault.column().saturating_sub(1)..).and_then(|rest| rest.chars().next()).unwrap_or('\n');
    if let Some(wanted) = literal(line, fault, said) {
        return format!("invalid character '{found}' {wanted} (line {}, column {})", fault.line(), fault.column());
    }
    let wanted = match said {
        "trailing comma" if found == '}' => "looking for beginning of object key string",
        "trailing comma" | "expected value" => "looking for beginning of value",
        "key must be a string" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        other => return format!("{other} (line {}, column {})", fault.line(), fault.column()),
    };
    format!("invalid character '{found}' {wanted} (line {}, column {})", fault.line(), fault.column())
}

/// What was wanted inside `true`, `false` or `null`.
fn literal(line: &str, fault: &serde_json::Error, said: &str) -> Option<String> {
    let upto = line.get(..fault.column().saturating_sub(1)).filter(|_| said == "expected ident")?;
    let begun = &upto[upto.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len()..];
    let word = ["true", "false", "null"].into_iter().find(|word| !begun.is_empty() && word.starts_with(begun))?;
    let next = word[begun.len()..].chars().next()?;
    Some(format!("in literal {word} (expecting '{next}')"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(format: Format, text: &str) -> Result<Written, BadFile> {
        let mut written = Written::default();
        written.add(&Source { name: "f".to_owned(), format, text: text.to_owned() }).map(|()| written)
    }

    #[track_caller]
    fn check(format: Format, text: &str, expected: &[(&str, Value)]) {
        let written = read(format, text).expect("a good document");
        let found: Vec<_> = written.iter().map(|(path, given)| (path, given.value.clone())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[track_caller]
    fn syntax(text: &str, expected: &str) {
        assert_eq!(read(Format::Json, text).expect_err("a bad document").syntax.as_deref(), Some(expected));
    }

    #[track_caller]
    fn types(format: Format, text: &str, expected: &str) {
        assert_eq!(read(format, text).expect_err("a bad document").types, [expected]);
    }

    #[test]
    fn both_notations_give_the_same_values() {
        let expected = [("ports.http", json!(1)), ("server", json!(true))];
        check(Format::Json, r#"{"Server":true,"ports":[{"http":1.0}],"node_name":null}"#, &expected);
        check(Format::Hcl, "SERVER = true ports { http = 1 }", &expected);
        check(Format::Hcl, "ports = { http = 1 } server = true", &expected);
        check(Format::Hcl, " { \"server\": true, \"ports\": { \"http\": 1 } }", &expected);
        check(Format::Json, "", &[]);
    }

    #[test]
    fn syntax_is_refused_in_gos_words() {
        syntax(
            "{\n\"bootstrap\": true,\n}",
            "invalid character '}' looking for beginning of object key string (line 3, column 1)",
        );
        syntax(r#"{"a":[1,]}"#, "invalid character ']' looking for beginning of value (line 1, column 9)");
        syntax(r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair (line 1, column 8)");
        syntax(r#"{"a" 1}"#, "invalid character '1' after object key (line 1, column 6)");
        syntax(r#"{"a":tru}"#, "invalid character '}' in literal true (expecting 'e') (line 1, column 9)");
        syntax(r#"{"a":}"#, "invalid character '}' looking for beginning of value (line 1, column 6)");
        syntax("{a:1}", "invalid character 'a' looking for beginning of object key string (line 1, column 2)");
        syntax("{} x", "invalid character 'x' after top-level value (line 1, column 4)");
        syntax("{", "unexpected end of JSON input");
        syntax("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}");
    }

    #[test]
    fn wrong_types_are_refused_in_consuls_words() {
        use Format::{Hcl, Json};
        types(Json, r#"{"server":"true"}"#, "'server' expected type 'bool', got unconvertible type 'string'");
        types(Json, r#"{"node_name":5}"#, "'node_name' expected type 'string', got unconvertible type 'float64'");
        types(Hcl, "server = 1", "'server' expected type 'bool', got unconvertible type 'int'");
        types(Json, r#"{"retry_join":"a"}"#, "'retry_join': source data must be an array or slice, got string");
        types(Hcl, "retry_join = [1]", "'retry_join[0]' expected type 'string', got unconvertible type 'int'");
        types(Json, r#"{"ports":5}"#, "'ports' expected a map, got 'float64'");
        types(Hcl, "ports {} ports {}", "'ports' expected a map, got 'slice'");
        types(
            Json,
            r#"{"node_meta":{"a":1}}"#,
            "'node_meta[a]' expected type 'string', got unconvertible type 'float64'",
        );
        types(
            Hcl,
            "limits { rpc_rate = \"x\" }",
            "'limits.rpc_rate' expected type 'float64', got unconvertible type 'string'",
        );
        types(
            Hcl,
            "bootstrap_expect = 1.5",
            "'bootstrap_expect' expected type 'int', got unconvertible type 'float64'",
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let bad = read(Format::Json, r#"{"bootstrap_expct":1,"ports":{"htp":1},"zzz":1,"datadir":"x"}"#)
            .expect_err("unknown keys");
        assert_eq!(
            bad.unknown,
            [
                ("bootstrap_expct".to_owned(), Some("bootstrap_expect")),
                ("ports.htp".to_owned(), Some("ports.http")),
                ("zzz".to_owned(), None),
                ("datadir".to_owned(), Some("data_dir")),
            ]
        );
    }

    #[test]
    fn lists_add_up_maps_merge_and_later_values_win() {
        let mut written = Written::default();
        for text in [
            r#"{"retry_join":["a"],"node_meta":{"a":"1","b":"1"},"node_name":"x","ports":{"http":1,"dns":1}}"#,
            r#"{"retry_join":["b"],"node_meta":{"b":"2"},"node_name":"y","ports":{"http":2}}"#,
        ] {
            let source = Source { name: "f".to_owned(), format: Format::Json, text: text.to_owned() };
            written.add(&source).expect("a good document");
        }
        let value = |path| written.get(path).map(|given| given.value.clone());
        assert_eq!(value("retry_join"), Some(json!(["a", "b"])));
        assert_eq!(value("node_meta"), Some(json!({"a": "1", "b": "2"})));
        assert_eq!(value("node_name"), Some(json!("y")));
        assert_eq!((value("ports.http"), value("ports.dns")), (Some(json!(2)), Some(json!(1))));
    }
}
