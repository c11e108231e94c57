//! JSON as Go's `encoding/json` takes it: the first value of a body as a tree that keeps numbers and names as
//! they were written, and Go's words for what is none. Called by `body`, which knows what is wanted.

use serde_json::Value;
use shared::quote::Quoted;

/// How deep values may be nested.
const DEPTH_MAX: usize = 128;

#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Flag(bool),
    /// As written: Go's refusals repeat it.
    Number(String),
    Text(String),
    List(Vec<Self>),
    /// In the order written, names again and again included.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Go's word for what it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// As others have it, who care for no letter of it; a number that is too large for that is the fault.
    pub(super) fn plain(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => flag.into(),
            Self::Number(written) => {
                let whole = written.parse::<i64>().ok().map(Value::from);
                let number = whole.or_else(|| real(&written).map(Value::from));
                number.ok_or(written)?
            }
            Self::Text(text) => text.into(),
            Self::List(list) => Value::Array(list.into_iter().map(Self::plain).collect::<Result<_, _>>()?),
            Self::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| Ok((name, value.plain()?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
        })
    }
}

/// None for one that is too large.
pub(super) fn real(written: &str) -> Option<f64> {
    written.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The first value; what follows it is not looked at, as in Go.
pub(super) fn first(body: &[u8]) -> Result<Json, String> {
    if body.trim_ascii().is_empty() {
        return Err("EOF".to_owned());
    }
    Scanner { rest: body, depth: 0 }.value()
}

struct Scanner<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte, which stays where it is.
    fn peek(&self) -> Result<u8, String> {
        self.rest.first().copied().ok_or_else(|| "unexpected EOF".to_owned())
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek()?;
        self.rest = &self.rest[1..];
        Ok(byte)
    }

    /// The next byte that is no blank.
    fn next_mark(&mut self) -> Result<u8, String> {
        loop {
            match self.next()? {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                byte => return Ok(byte),
            }
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        let before = self.rest;
        match self.next_mark()? {
            mark @ (b'{' | b'[') if self.depth == DEPTH_MAX => Err(invalid(mark, "exceeded max depth")),
            b'{' => self.deeper(Self::object),
            b'[' => self.deeper(Self::list),
            b'"' => self.string().map(Json::Text),
            b't' => self.literal("true").map(|()| Json::Flag(true)),
            b'f' => self.literal("false").map(|()| Json::Flag(false)),
            b'n' => self.literal("null").map(|()| Json::Null),
            byte @ (b'-' | b'0'..=b'9') => {
                self.number(byte)?;
                let written = &before[..before.len() - self.rest.len()];
                Ok(Json::Number(String::from_utf8_lossy(written).trim_ascii_start().to_owned()))
            }
            byte => Err(invalid(byte, "looking for beginning of value")),
        }
    }

    fn deeper(&mut self, read: fn(&mut Self) -> Result<Json, String>) -> Result<Json, String> {
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, String> {
        let mut fields = Vec::new();
        let mut mark = self.next_mark()?;
        if mark == b'}' {
            return Ok(Json::Object(fields));
        }
        loop {
            if mark != b'"' {
                return Err(invalid(mark, "looking for beginning of object key string"));
            }
            let name = self.string()?;
            match self.next_mark()? {
                b':' => fields.push((name, self.value()?)),
                byte => return Err(invalid(byte, "after object key")),
            }
            match self.next_mark()? {
                b',' => mark = self.next_mark()?,
                b'}' => return Ok(Json::Object(fields)),
                byte => return Err(invalid(byte, "after object key:value pair")),
            }
        }
    }

    fn list(&mut self) -> Result<Json, String> {
        let mut list = Vec::new();
        let before = self.rest;
        if self.next_mark()? == b']' {
            return Ok(Json::List(list));
        }
        self.rest = before;
        loop {
            list.push(self.value()?);
            match self.next_mark()? {
                b',' => {}
                b']' => return Ok(Json::List(list)),
                byte => return Err(invalid(byte, "after array element")),
            }
        }
    }

    /// What is no text in it, half of a surrogate pair too, becomes U+FFFD.
    fn string(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Ok(String::from_utf8(bytes).unwrap_or_else(|no| lossy(no.as_bytes()))),
                b'\\' => {
                    let one = self.escaped()?;
                    bytes.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
                byte => bytes.push(byte),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        Ok(match self.next()? {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            byte @ (b'\\' | b'/' | b'"') => char::from(byte),
            b'u' => {
                let unit = self.unit()?;
                let before = self.rest;
                if (0xd800..0xdc00).contains(&unit) && self.rest.starts_with(b"\\u") {
                    self.rest = &self.rest[2..];
                    let pair = [unit, self.unit()?];
                    if let Some(Ok(one)) = char::decode_utf16(pair).next() {
                        return Ok(one);
                    }
                    self.rest = before;
                }
                char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            byte => return Err(invalid(byte, "in string escape code")),
        })
    }

    /// Four digits of an escape.
    fn unit(&mut self) -> Result<u16, String> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.next()?;
            let digit = char::from(byte).to_digit(16);
            let digit = digit.and_then(|digit| u16::try_from(digit).ok());
            unit = (unit << 4) | digit.ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?;
        }
        Ok(unit)
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.chars().skip(1) {
            let byte = self.next()?;
            if char::from(byte) != expected {
                return Err(invalid(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), String> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            byte => return Err(invalid(byte, "in numeric literal")),
        }
        if self.rest.first() == Some(&b'.') {
            self.next()?;
            self.digit("after decimal point in numeric literal")?;
        }
        if matches!(self.rest.first(), Some(b'e' | b'E')) {
            self.next()?;
            if matches!(self.peek()?, b'+' | b'-') {
                self.next()?;
            }
            self.digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    /// One digit at least.
    fn digit(&mut self, place: &str) -> Result<(), String> {
        let byte = self.next()?;
        if !byte.is_ascii_digit() {
            return Err(invalid(byte, place));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
    }
}

/// Each bad byte by itself, as Go does.
fn lossy(bytes: &[u8]) -> String {
    let one = |chunk: std::str::Utf8Chunk<'_>| {
        let bad = char::REPLACEMENT_CHARACTER.to_string().repeat(chunk.invalid().len());
        [chunk.valid(), &bad].concat()
    };
    bytes.utf8_chunks().map(one).collect()
}

/// Go shows a byte as the character of that number.
fn invalid(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'"' => "\"".to_owned(),
        byte => Quoted(char::from(byte).encode_utf8(&mut [0; 4])).to_string().trim_matches('"').to_owned(),
    };
    format!("invalid character '{shown}' {place}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Json, first};

    #[test]
    fn faults_are_told_in_gos_words() {
        let check = |text: &str, expected: &str| assert_eq!(first(text.as_bytes()), Err(expected.to_owned()), "{text}");
        check("", "EOF");
        check(" \n", "EOF");
        let cuts = ["{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "[", "[1", "\"a", "\"\\", "\"\\u1", "tru", "-"];
        for cut in cuts.into_iter().chain(["1.", "1e", "\"\\ud800\\u"]) {
            check(cut, "unexpected EOF");
        }
        check("{\"a\":1,}", "invalid character '}' looking for beginning of object key string");
        check("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair");
        check("{\"a\" 1}", "invalid character '1' after object key");
        check("{a:1}", "invalid character 'a' looking for beginning of object key string");
        check("{'a':1}", "invalid character '\\'' looking for beginning of object key string");
        check("[1 2]", "invalid character '2' after array element");
        check("[1,]", "invalid character ']' looking for beginning of value");
        check("nope", "invalid character 'o' in literal null (expecting 'u')");
        check("\"\\x\"", "invalid character 'x' in string escape code");
        check("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape");
        check("\"a\nb\"", "invalid character '\\n' in string literal");
        check("é", "invalid character 'Ã' looking for beginning of value");
        check("\u{0}", "invalid character '\\x00' looking for beginning of value");
        check("\u{7f}", "invalid character '\\u007f' looking for beginning of value");
        check("-x", "invalid character 'x' in numeric literal");
        check("1.x", "invalid character 'x' after decimal point in numeric literal");
        check("1e+x", "invalid character 'x' in exponent of numeric literal");
        check(&"[".repeat(100_000), "invalid character '[' exceeded max depth");
        check(&"{\"a\":".repeat(100_000), "invalid character '{' exceeded max depth");
        assert_eq!(first(b"\xff"), Err("invalid character 'ÿ' looking for beginning of value".to_owned()));
    }

    #[test]
    fn the_first_value_is_read_as_go_reads_it() {
        let check = |text: &[u8], expected: serde_json::Value| {
            assert_eq!(first(text).and_then(Json::plain), Ok(expected), "{}", String::from_utf8_lossy(text));
        };
        check(
            br#" {"a": [1, -0.5e-3, "x\n\/", true, false, null, {}, []]} x"#,
            json!({"a": [1, -0.0005, "x\n/", true,
            false, null, {}, []]}),
        );
        check(b"0", json!(0));
        check(br#""\u00e9\ud83d\ude00""#, json!("é😀"));
        check(br#""\ud800 \ud800\u0041 \ude00""#, json!("\u{fffd} \u{fffd}A \u{fffd}"));
        check(b"\"a\xff\xe2\x82b\"", json!("a\u{fffd}\u{fffd}\u{fffd}b"));
        assert_eq!(first(b"[ 1e3]"), Ok(Json::List(vec![Json::Number("1e3".to_owned())])));
        assert_eq!(first(b"1e999").and_then(Json::plain), Err("1e999".to_owned()));
    }
}
