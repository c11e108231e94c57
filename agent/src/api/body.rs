//! JSON bodies as Go reads them into Consul's structs: names in any case, types checked, unknown names refused,
//! and its words for the first thing that is wrong. An endpoint describes what it takes as an [`Object`] and
//! gets [`Fields`] by exactly those names. Knows no endpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use shared::quote::Quoted;

use super::error::Error;
use super::extract::Call;
use super::syntax::{self, Json};
use crate::config;

/// The type of a value, with Go's name where a refusal tells it.
pub(super) enum Go {
    Text(&'static str),
    /// A number from the first to the second.
    Whole(&'static str, i128, i128),
    Real,
    Flag,
    /// A list, its own name, and what is in it.
    List(&'static str, &'static Self),
    /// By any name.
    Map(&'static str, &'static Self),
    Object(&'static Object),
    /// A text in Go's notation or nanoseconds, which is what comes out; anything else is none at all. Looked at
    /// when the rest of its object is known to be right.
    Span,
    /// The same, looked at at once; anything else is refused.
    StrictSpan,
    /// Whatever it is.
    Any,
}

pub(super) const TEXT: Go = Go::Text("string");
pub(super) const INT: Go = Go::Whole("int", i64::MIN as i128, i64::MAX as i128);
pub(super) const INDEX: Go = Go::Whole("uint64", 0, u64::MAX as i128);
pub(super) const TEXTS: Go = Go::List("[]string", &TEXT);
pub(super) const TEXT_MAP: Go = Go::Map("map[string]string", &TEXT);
pub(super) const LISTS: Go = Go::Map("map[string][]string", &TEXTS);

pub(super) struct Object {
    /// As a refusal of one of its fields tells it.
    pub(super) name: &'static str,
    /// As a refusal of the whole tells it.
    pub(super) whole: &'static str,
    pub(super) fields: &'static [Field],
    pub(super) way: Way,
}

/// How Go reads an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// With what it is in.
    Along,
    /// By itself: its refusals come before those of what it is in, and name it rather than its fields.
    Apart,
    /// By itself, and names that nobody knows are passed over.
    Loose,
}

pub(super) struct Field {
    pub(super) name: &'static str,
    /// Other names, which count where nothing is said under the first.
    also: &'static [&'static str],
    of: Go,
}

pub(super) const fn field(name: &'static str, of: Go) -> Field {
    Field { name, also: &[], of }
}

pub(super) const fn also(name: &'static str, also: &'static [&'static str], of: Go) -> Field {
    Field { name, also, of }
}

/// What was read; what was null or left out is not there.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

/// Takes the body of a call and reads it.
pub(super) async fn take(call: &mut Call, bytes_max: usize, object: &'static Object) -> Result<Fields, Error> {
    let body = call.take_body(bytes_max).await.map_err(|error| match error {
        Error::ValueTooLarge { .. } | Error::BodyTooLarge(_) => Error::DefinitionTooLarge(bytes_max),
        other => other,
    })?;
    read(&body, object).map_err(Error::Decode)
}

/// Reads the first value of a body. What follows it is passed over, as Go does.
pub(super) fn read(body: &[u8], object: &'static Object) -> Result<Fields, String> {
    let json = syntax::first(body)?;
    let nowhere = Place { object: None, path: String::new() };
    match Reader::apart(json, object, &nowhere)? {
        Some(Value::Object(read)) => Ok(Fields(read)),
        // Null is an object of nothing.
        _ => Ok(Fields::default()),
    }
}

/// Where a value is: in an object's field, or the whole body.
struct Place {
    object: Option<&'static str>,
    path: String,
}

#[derive(Default)]
struct Reader {
    /// The first; the rest is read all the same.
    fault: Option<String>,
}

/// An error ends the reading and is told in place of any fault. None: nothing came of it.
type Read = Result<Option<Value>, String>;

impl Reader {
    fn apart(json: Json, object: &'static Object, place: &Place) -> Read {
        let mut own = Self::default();
        let read = own.fields(json, object, place)?;
        own.fault.map_or(Ok(read), Err)
    }

    fn value(&mut self, json: Json, of: &'static Go, place: &Place) -> Read {
        Ok(match (of, json) {
            (_, Json::Null) => None,
            (Go::Text(_), Json::Text(text)) => Some(text.into()),
            (Go::Flag, Json::Flag(flag)) => Some(flag.into()),
            (Go::Whole(name, least, most), Json::Number(written)) => {
                let number = written.parse().ok().filter(|number| (least..=most).contains(&number));
                number.and_then(whole).or_else(|| self.mismatch(&format!("number {written}"), name, place))
            }
            (Go::Real | Go::Span, Json::Number(written)) => match syntax::real(&written) {
                Some(number) if matches!(of, Go::Span) => Some(nanos(number).into()),
                Some(number) => Some(number.into()),
                None => self.mismatch(&format!("number {written}"), "float64", place),
            },
            // Read by its object.
            (Go::Span, Json::Text(text)) => Some(text.into()),
            (Go::Span, _) => None,
            (Go::StrictSpan, json) => Some(strict_span(json)?.into()),
            (Go::Any, json) => {
                json.plain().map_or_else(|large| self.mismatch(&format!("number {large}"), "float64", place), Some)
            }
            (Go::List(_, of), Json::List(list)) => {
                let read = list.into_iter().map(|one| self.element(one, of, place));
                Some(Value::Array(read.collect::<Result<_, _>>()?))
            }
            (Go::Map(_, of), Json::Object(map)) => {
                let read = map.into_iter().map(|(name, one)| Ok((name, self.element(one, of, place)?)));
                Some(Value::Object(read.collect::<Result<_, String>>()?))
            }
            (Go::Object(object), json) if object.way == Way::Along => self.fields(json, object, place)?,
            (Go::Object(object), json) => Self::apart(json, object, place)?,
            (of, json) => self.mismatch(json.kind(), of.name(), place),
        })
    }

    /// Go leaves what it has for nothing.
    fn element(&mut self, json: Json, of: &'static Go, place: &Place) -> Result<Value, String> {
        Ok(self.value(json, of, place)?.unwrap_or_else(|| match of {
            Go::Text(_) => Value::String(String::new()),
            Go::Real => 0.0.into(),
            _ => Value::Null,
        }))
    }

    fn fields(&mut self, json: Json, object: &'static Object, place: &Place) -> Read {
        let given = match json {
            Json::Object(given) => given,
            Json::Null => return Ok(None),
            other => return Ok(self.mismatch(other.kind(), object.whole, place)),
        };
        let mut read = Map::new();
        for (written, json) in given {
            let Some((name, of)) = object.find(&written) else {
                if object.way != Way::Loose {
                    self.fault.get_or_insert_with(|| format!("json: unknown field {}", Quoted(&written)));
                }
                continue;
            };
            let below = match (object.way, &*place.path) {
                (_, "") => Place { object: Some(object.name), path: name.to_owned() },
                (Way::Along, path) => Place { object: Some(object.name), path: format!("{path}.{name}") },
                (_, path) => Place { object: place.object, path: path.to_owned() },
            };
            if let Some(value) = self.value(json, of, &below)? {
                read.insert(name.to_owned(), value);
            }
        }
        for field in object.fields {
            field.settle(&mut read, self.fault.is_none())?;
        }
        Ok(Some(Value::Object(read)))
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

impl Go {
    fn name(&self) -> &'static str {
        match self {
            Self::Text(name) | Self::Whole(name, ..) | Self::List(name, _) | Self::Map(name, _) => name,
            Self::Real => "float64",
            Self::Flag => "bool",
            Self::Object(object) => object.whole,
            Self::Span | Self::StrictSpan | Self::Any => "interface {}",
        }
    }
}

impl Object {
    /// The name as it is meant, and what it holds.
    fn find(&self, written: &str) -> Option<(&'static str, &'static Go)> {
        let names = || {
            let all = |field: &'static Field| [field.name].into_iter().chain(field.also.iter().copied());
            self.fields.iter().flat_map(move |field| all(field).map(move |name| (name, &field.of)))
        };
        let exact = names().find(|(name, _)| *name == written);
        exact.or_else(|| names().find(|(name, _)| folded(name).eq(folded(written))))
    }
}

/// Two letters beyond ASCII are others of it in Go's eyes: the long s, and the sign of Kelvin.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|one| match one {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        one => one.to_ascii_lowercase(),
    })
}

impl Field {
    /// Puts it under its first name, and reads a span.
    fn settle(&self, read: &mut Map<String, Value>, is_right: bool) -> Result<(), String> {
        for other in self.also {
            let Some(value) = read.remove(*other) else { continue };
            if read.get(self.name).is_none_or(config::is_off) {
                read.insert(self.name.to_owned(), value);
            }
        }
        if is_right
            && matches!(self.of, Go::Span)
            && let Some(Value::String(text)) = read.get(self.name)
        {
            let nanos = span(text)?;
            read.insert(self.name.to_owned(), nanos.into());
        }
        Ok(())
    }
}

fn whole(number: i128) -> Option<Value> {
    i64::try_from(number).map(Value::from).or_else(|_| u64::try_from(number).map(Value::from)).ok()
}

/// Go drops what is behind the point; what is too large becomes the least there is.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a fraction is to be dropped")]
fn nanos(number: f64) -> i64 {
    if number.abs() < i64::MAX as f64 { number as i64 } else { i64::MIN }
}

/// Nanoseconds of a text in Go's notation.
fn span(text: &str) -> Result<i64, String> {
    let (sign, size) = text.strip_prefix('-').map_or((1, text), |size| (-1, size));
    let invalid = || format!("time: invalid duration \"{text}\"");
    if sign < 0 && (size.is_empty() || size.starts_with('+')) {
        return Err(invalid());
    }
    // Its fault names the text, which has no sign there.
    let size = shared::duration::parse(size)
        .map_err(|fault| fault.to_string().replace(&format!("{size:?}"), &format!("\"{text}\"")))?;
    i64::try_from(size.as_nanos()).map(|nanos| sign * nanos).map_err(|_| invalid())
}

fn strict_span(json: Json) -> Result<i64, String> {
    let (written, why) = match json {
        Json::Text(text) => return span(&text),
        Json::Number(written) => match syntax::real(&written) {
            Some(number) => return Ok(nanos(number)),
            None => (written, "value out of range"),
        },
        other => (other.plain().map_or_else(|large| large, |value| value.to_string()), "invalid syntax"),
    };
    Err(format!("strconv.ParseFloat: parsing {}: {why}", Quoted(&written)))
}

impl Fields {
    pub(super) fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Nothing when it is not there or `N` cannot be that.
    pub(super) fn number<N: TryFrom<i128> + Default>(&self, name: &str) -> N {
        let number = self.0.get(name);
        let number = number.and_then(|number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)));
        number.and_then(|number| number.try_into().ok()).unwrap_or_default()
    }

    pub(super) fn real(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or_default()
    }

    pub(super) fn reals(&self, name: &str) -> Vec<f64> {
        self.list(name).filter_map(Value::as_f64).collect()
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.0.get(name).map(texts).unwrap_or_default()
    }

    /// What is below zero is none at all.
    pub(super) fn duration(&self, name: &str) -> Duration {
        Duration::from_nanos(self.number(name))
    }

    pub(super) fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        self.map(name).map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    pub(super) fn lists(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        self.map(name).map(|(key, value)| (key.clone(), texts(value))).collect()
    }

    pub(super) fn object(&self, name: &str) -> Option<Self> {
        self.0.get(name).and_then(Value::as_object).cloned().map(Self)
    }

    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        self.list(name).filter_map(Value::as_object).cloned().map(Self).collect()
    }

    pub(super) fn named_objects(&self, name: &str) -> Vec<(String, Self)> {
        self.map(name).map(|(key, one)| (key.clone(), Self(one.as_object().cloned().unwrap_or_default()))).collect()
    }

    /// Whether some number or duration is below zero.
    pub(super) fn is_some_negative(&self) -> bool {
        self.0.values().any(|value| value.as_i64().is_some_and(|number| number < 0))
    }

    /// Whether it asks for something.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !config::is_off(value))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten()
    }

    fn map(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(name).and_then(Value::as_object).into_iter().flatten()
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    static WEIGHTS: Object =
        Object { name: "Weights", whole: "structs.Weights", way: Way::Along, fields: &[field("Deep", TEXT)] };
    static APART: Object = Object {
        name: "Check",
        whole: "structs.Check",
        way: Way::Apart,
        fields: &[field("Deep", TEXT), field("Interval", Go::Span), field("TTL", Go::Span)],
    };
    static LOOSE: Object =
        Object { name: "Connect", whole: "structs.Connect", way: Way::Loose, fields: &[field("Native", Go::Flag)] };
    static T: Object = Object {
        name: "T",
        whole: "agent.T",
        way: Way::Along,
        fields: &[
            field("Name", TEXT),
            also("Args", &["script_args", "Arg"], TEXTS),
            also("Skip", &["skip_it"], Go::Flag),
            field("Port", INT),
            field("Index", INDEX),
            field("Kind", Go::Text("structs.Kind")),
            field("Meta", TEXT_MAP),
            field("Header", LISTS),
            field("TTL", Go::Span),
            field("After", Go::StrictSpan),
            field("Vec", Go::List("[]float64", &Go::Real)),
            field("Any", Go::Any),
            field("Check", Go::Object(&APART)),
            field("Checks", Go::List("structs.Checks", &Go::Object(&APART))),
            field("Weights", Go::Object(&WEIGHTS)),
            field("Tagged", Go::Map("map[string]structs.Weights", &Go::Object(&WEIGHTS))),
            field("Connect", Go::Object(&LOOSE)),
        ],
    };

    #[track_caller]
    fn good(body: &str) -> Fields {
        read(body.as_bytes(), &T).unwrap_or_else(|why| panic!("{why}: {body}"))
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let expected = expected.parse::<Value>().expect("JSON");
        assert_eq!(Value::Object(good(body).0), expected, "{body}");
    }

    #[track_caller]
    fn refused(body: &str, expected: &str) {
        assert_eq!(read(body.as_bytes(), &T), Err(expected.to_owned()), "{body}");
    }

    #[test]
    fn a_body_comes_out_by_the_names_of_its_fields() {
        check("null", "{}");
        check(r#"{"nAME":"a","NAME":"b","Name":null} rest"#, r#"{"Name":"b"}"#);
        check("{\"\u{17f}kip\":true,\"\u{212a}ind\":\"x\"}", r#"{"Skip":true,"Kind":"x"}"#);
        check(r#"{"Script_Args":["a"]}"#, r#"{"Args":["a"]}"#);
        check(r#"{"arg":["b"],"args":["a"]}"#, r#"{"Args":["a"]}"#);
        check(r#"{"arg":["b"],"args":[]}"#, r#"{"Args":["b"]}"#);
        check(r#"{"skip_it":true,"skip":false}"#, r#"{"Skip":true}"#);
        check(r#"{"Args":["a",null],"Vec":[1,null]}"#, r#"{"Args":["a",""],"Vec":[1.0,0.0]}"#);
        check(
            r#"{"Meta":{"k":null},"Header":{"h":null,"i":[null]}}"#,
            r#"{"Meta":{"k":""},"Header":{"h":null,"i":[""]}}"#,
        );
        check(r#"{"Index":18446744073709551615,"Port":-1}"#, r#"{"Index":18446744073709551615,"Port":-1}"#);
        check(r#"{"Any":[1,{"a":null},2.5]}"#, r#"{"Any":[1,{"a":null},2.5]}"#);
        check(r#"{"Connect":{"Bogus":1,"native":true}}"#, r#"{"Connect":{"Native":true}}"#);
        check(r#"{"Name":"\ud800"}"#, "{\"Name\":\"\u{fffd}\"}");
    }

    #[test]
    fn fields_are_asked_by_name() {
        let fields = good(r#"{"Port":70000,"Checks":[{"Deep":"x"},null],"Tagged":{"lan":null},"Vec":[0.5]}"#);
        let (none, whole): (u16, i64) = (fields.number("Port"), fields.number("Port"));
        assert_eq!((none, whole, fields.reals("Vec")), (0, 70_000, vec![0.5]));
        assert_eq!(fields.objects("Checks").iter().map(|one| one.text("Deep")).collect::<Vec<_>>(), ["x"]);
        assert_eq!(fields.named_objects("Tagged"), [("lan".to_owned(), Fields::default())]);
        assert!(fields.object("Check").is_none() && !fields.asks("Name") && fields.asks("Port"));
    }

    #[test]
    fn durations_are_texts_or_nanoseconds() {
        let check = |value: &str, nanos: i64| {
            for field in ["TTL", "After"] {
                let fields = good(&format!(r#"{{"{field}":{value}}}"#));
                assert_eq!(fields.number::<i64>(field), nanos, "{value}");
                assert_eq!(fields.duration(field).as_nanos(), nanos.max(0).unsigned_abs().into(), "{value}");
                assert_eq!(fields.is_some_negative(), nanos < 0, "{value}");
            }
        };
        check(r#""1.5s""#, 1_500_000_000);
        check(r#""+5s""#, 5_000_000_000);
        check(r#""-5s""#, -5_000_000_000);
        check("2000000", 2_000_000);
        check("5.9", 5);
        check("-5", -5);
        check("1e30", i64::MIN);
        assert_eq!(good(r#"{"TTL":true}"#), Fields::default());
        for bad in ["soon", "-", "-+5s", "--5s", ""] {
            for field in ["TTL", "After"] {
                refused(&format!(r#"{{"{field}":"{bad}"}}"#), &format!("time: invalid duration \"{bad}\""));
            }
        }
        refused(r#"{"TTL":"-5"}"#, r#"time: missing unit in duration "-5""#);
        refused(r#"{"TTL":"-5x"}"#, r#"time: unknown unit "x" in duration "-5x""#);
        refused(r#"{"TTL":1e999}"#, "json: cannot unmarshal number 1e999 into Go struct field T.TTL of type float64");
        refused(r#"{"After":1e999}"#, r#"strconv.ParseFloat: parsing "1e999": value out of range"#);
        refused(r#"{"After":["a"]}"#, r#"strconv.ParseFloat: parsing "[\"a\"]": invalid syntax"#);
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        refused("", "EOF");
        refused("{", "unexpected EOF");
        refused("[]", "json: cannot unmarshal array into Go value of type agent.T");
        refused(r#"{"Bo\"gus\u2028":1}"#, r#"json: unknown field "Bo\"gus\u2028""#);
        let wrong = |body: &str, what: &str, place: &str, kind: &str| {
            refused(body, &format!("json: cannot unmarshal {what} into Go struct field {place} of type {kind}"));
        };
        wrong(r#"{"name":5}"#, "number", "T.Name", "string");
        wrong(r#"{"Port":"80"}"#, "string", "T.Port", "int");
        wrong(r#"{"Port":80.0}"#, "number 80.0", "T.Port", "int");
        wrong(r#"{"Port":1e3}"#, "number 1e3", "T.Port", "int");
        wrong(r#"{"Port":99999999999999999999}"#, "number 99999999999999999999", "T.Port", "int");
        wrong(r#"{"Index":-1}"#, "number -1", "T.Index", "uint64");
        wrong(r#"{"Skip":1e999}"#, "number", "T.Skip", "bool");
        wrong(r#"{"script_args":5}"#, "number", "T.script_args", "[]string");
        wrong(r#"{"Args":[{}]}"#, "object", "T.Args", "string");
        wrong(r#"{"Meta":{"a":1}}"#, "number", "T.Meta", "string");
        wrong(r#"{"Header":{"a":"b"}}"#, "string", "T.Header", "[]string");
        wrong(r#"{"Any":[1e999]}"#, "number 1e999", "T.Any", "float64");
        wrong(r#"{"Checks":{}}"#, "object", "T.Checks", "structs.Checks");
        wrong(r#"{"Checks":[1]}"#, "number", "T.Checks", "structs.Check");
        wrong(r#"{"Check":{"Deep":5}}"#, "number", "T.Check", "string");
        wrong(r#"{"Connect":{"Native":5}}"#, "number", "T.Connect", "bool");
        wrong(r#"{"Weights":{"Deep":5}}"#, "number", "Weights.Weights.Deep", "string");
        wrong(r#"{"Tagged":{"lan":{"Deep":5}}}"#, "number", "Weights.Tagged.Deep", "string");
        refused(r#"{"Weights":{"Bogus":5}}"#, r#"json: unknown field "Bogus""#);
    }

    #[test]
    fn of_several_faults_the_one_is_told_that_go_tells() {
        let name = "json: cannot unmarshal number into Go struct field T.Name of type string";
        refused(r#"{"Name":5,"Bogus":1}"#, name);
        refused(r#"{"Bogus":1,"Name":5}"#, r#"json: unknown field "Bogus""#);
        refused(r#"{"Name":5,"Weights":{"Bogus":1}}"#, name);
        // What is read apart comes first, and its durations last.
        refused(r#"{"Name":5,"Check":{"Bogus":1}}"#, r#"json: unknown field "Bogus""#);
        refused(r#"{"Name":5,"Check":{"TTL":"soon"}}"#, r#"time: invalid duration "soon""#);
        refused(r#"{"TTL":"soon","Name":5}"#, name);
        refused(r#"{"Check":{"TTL":"soon","Bogus":1}}"#, r#"json: unknown field "Bogus""#);
        refused(r#"{"Check":{"TTL":"soon","Interval":"later"}}"#, r#"time: invalid duration "later""#);
        refused(r#"{"Name":5,"After":"soon"}"#, r#"time: invalid duration "soon""#);
    }
}
