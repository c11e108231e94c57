//! JSON as Go's `encoding/json` writes it: `<`, `>`, `&`, U+2028 and U+2029 escaped, numbers in Go's
//! notation, four blanks of indentation when it shall be pretty. Called by `reply`; knows no endpoint.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// The bytes Consul would send: with indentation and a line's end when `pretty`, with neither otherwise.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, pretty: bool) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256);
    if pretty {
        value.serialize(&mut Serializer::with_formatter(&mut bytes, Go(PrettyFormatter::with_indent(b"    "))))?;
        bytes.push(b'\n');
    } else {
        value.serialize(&mut Serializer::with_formatter(&mut bytes, Go(CompactFormatter)))?;
    }
    Ok(bytes)
}

struct Go<F>(F);

/// Where the next character is that Go escapes and serde does not, and what stands for it.
fn next_escape(text: &str) -> Option<(usize, usize, &'static [u8])> {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().find_map(|(at, byte)| match byte {
        b'<' => Some((at, 1, &b"\\u003c"[..])),
        b'>' => Some((at, 1, &b"\\u003e"[..])),
        b'&' => Some((at, 1, &b"\\u0026"[..])),
        0xe2 => match bytes.get(at + 1..at + 3) {
            Some([0x80, 0xa8]) => Some((at, 3, &b"\\u2028"[..])),
            Some([0x80, 0xa9]) => Some((at, 3, &b"\\u2029"[..])),
            _ => None,
        },
        _ => None,
    })
}

/// Go writes the shortest decimals that read back the same, without an exponent from 1e-6 to 1e21.
fn write_float<W: ?Sized + Write>(writer: &mut W, value: f64) -> io::Result<()> {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return write!(writer, "{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, power)) if !power.starts_with('-') => write!(writer, "{digits}e+{power}"),
        _ => writer.write_all(text.as_bytes()),
    }
}

impl<F: Formatter> Formatter for Go<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, width, escape)) = next_escape(rest) {
            writer.write_all(&rest.as_bytes()[..at])?;
            writer.write_all(escape)?;
            rest = &rest[at + width..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            other => self.0.write_char_escape(writer, other),
        }
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, value)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_key(writer)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::encode;

    #[track_caller]
    fn check(value: &Value, compact: &str) {
        assert_eq!(String::from_utf8(encode(value, false).expect("JSON")).expect("text"), compact);
    }

    #[test]
    fn strings_and_numbers_look_as_go_writes_them() {
        check(
            &json!("<b>&é\u{2028}\u{2029}€\u{8}\u{c}\n\u{1}\u{7f}\"\\"),
            "\"\\u003cb\\u003e\\u0026é\\u2028\\u2029€\\u0008\\u000c\\n\\u0001\u{7f}\\\"\\\\\"",
        );
        check(
            &json!({"<": [1.0, 0.00001, 1e-7, 1e21, 1.5e300, 0.0, -2.5]}),
            r#"{"\u003c":[1,0.00001,1e-7,1e+21,1.5e+300,0,-2.5]}"#,
        );
    }

    #[test]
    fn pretty_is_four_blanks_and_a_line_end() {
        let text = encode(&json!({"a": [], "b": {}, "c": [1, {"d": null}]}), true).expect("JSON");
        let expected = "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1,\n        {\n            \"d\": null\n        }\n    ]\n}\n";
        assert_eq!(String::from_utf8(text).expect("text"), expected);
    }
}
