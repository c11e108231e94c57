//! JSON bodies as Go reads them: names in any case, types checked, unknown names refused, and its words
//! for what is wrong. An endpoint describes what it takes as a [`Go`] and gets an object with exactly
//! those names. Knows no endpoint.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::syntax;

/// The type of a value, with Go's name where a refusal tells it.
pub(super) enum Go {
    Text(&'static str),
    /// A number from the first to the second.
    Whole(&'static str, i64, i64),
    Flag,
    /// A list, its own name, and what is in it.
    List(&'static str, &'static Self),
    /// By any name; null counts as nothing.
    Map(&'static str, &'static Self),
    Object(&'static Object),
    /// Whatever it is.
    Any,
}

pub(super) const TEXT: Go = Go::Text("string");

pub(super) struct Object {
    /// As a refusal of one of its fields tells it.
    pub(super) name: &'static str,
    /// As a refusal of the whole tells it.
    pub(super) whole: &'static str,
    pub(super) fields: &'static [(&'static str, Go)],
    /// Other names are passed over, and refusals name the object rather than the field: Go reads it apart.
    pub(super) apart: bool,
}

/// Reads the first value of the body. What follows it is passed over, as Go does.
pub(super) fn read(body: &[u8], object: &'static Object) -> Result<Map<String, Value>, String> {
    let text = String::from_utf8_lossy(body);
    let value = Value::deserialize(&mut serde_json::Deserializer::from_str(&text))
        .map_err(|error| syntax::fault(&text).unwrap_or_else(|| error.to_string()))?;
    let mut reader = Reader { fault: None };
    let read = reader.object(value, object, &Place { object: None, path: String::new() });
    match (reader.fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Some(Value::Object(read))) => Ok(read),
        // Null is an object of nothing.
        (None, _) => Ok(Map::new()),
    }
}

/// Where a value is: in an object's field, or the whole body.
struct Place {
    object: Option<&'static str>,
    path: String,
}

struct Reader {
    /// The first; the rest is read all the same.
    fault: Option<String>,
}

impl Reader {
    fn value(&mut self, value: Value, of: &'static Go, place: &Place) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        match (of, value) {
            (Go::Any, value) => Some(value),
            (Go::Text(_), value @ Value::String(_)) | (Go::Flag, value @ Value::Bool(_)) => Some(value),
            (Go::Whole(name, least, most), Value::Number(number)) => {
                match number.as_i64().filter(|number| (least..=most).contains(&number)) {
                    Some(number) => Some(number.into()),
                    None => self.mismatch(&format!("number {number}"), name, place),
                }
            }
            (Go::List(_, of), Value::Array(list)) => {
                Some(list.into_iter().filter_map(|one| self.value(one, of, place)).collect())
            }
            (Go::Map(_, of), Value::Object(map)) => {
                let read = map.into_iter().filter_map(|(name, value)| {
                    let value = match (value, of) {
                        (Value::Null, Go::Text(_)) => Value::String(String::new()),
                        (value, _) => self.value(value, of, place)?,
                    };
                    Some((name, value))
                });
                Some(Value::Object(read.collect()))
            }
            (Go::Object(object), value) => self.object(value, object, place),
            (of, value) => {
                let wanted = match of {
                    Go::Text(name) | Go::Whole(name, ..) | Go::List(name, _) | Go::Map(name, _) => *name,
                    Go::Flag => "bool",
                    Go::Object(object) => object.whole,
                    Go::Any => "interface {}",
                };
                self.mismatch(kind(&value), wanted, place)
            }
        }
    }

    fn object(&mut self, value: Value, object: &'static Object, place: &Place) -> Option<Value> {
        let given = match value {
            Value::Object(given) => given,
            Value::Null => return None,
            other => return self.mismatch(kind(&other), object.whole, place),
        };
        let mut read = Map::new();
        for (name, value) in given {
            let exact = object.fields.iter().find(|(field, _)| *field == name);
            let field = exact.or_else(|| object.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(&name)));
            let Some((field, of)) = field else {
                if !object.apart {
                    let hint = if name == "Namespace" { " - Namespaces are a Consul Enterprise feature" } else { "" };
                    self.fault.get_or_insert_with(|| format!("json: unknown field {name:?}{hint}"));
                }
                continue;
            };
            let below = match (object.apart, &*place.path) {
                (true, path) => Place { object: place.object, path: path.to_owned() },
                (false, "") => Place { object: Some(object.name), path: (*field).to_owned() },
                (false, path) => Place { object: Some(object.name), path: format!("{path}.{field}") },
            };
            if let Some(value) = self.value(value, of, &below) {
                read.insert((*field).to_owned(), value);
            }
        }
        Some(Value::Object(read))
    }

    fn mismatch(&mut self, what: &str, wanted: &str, place: &Place) -> Option<Value> {
        self.fault.get_or_insert_with(|| match place.object {
            Some(object) => {
                format!("json: cannot unmarshal {what} into Go struct field {object}.{} of type {wanted}", place.path)
            }
            None => format!("json: cannot unmarshal {what} into Go value of type {wanted}"),
        });
        None
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
