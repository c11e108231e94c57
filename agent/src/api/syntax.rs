//! What is wrong with a text that is no JSON, in the words of Go's `encoding/json`.

/// How deep values may be nested; serde's own limit.
const DEPTH_MAX: usize = 128;

/// The first fault; none when the text is JSON.
pub(super) fn fault(text: &str) -> Option<String> {
    if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
        return Some("EOF".to_owned());
    }
    Scanner { rest: text.as_bytes(), depth: 0 }.value().err()
}

struct Scanner<'a> {
    rest: &'a [u8],
    depth: usize,
}

type Step = Result<(), String>;

impl Scanner<'_> {
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

    fn value(&mut self) -> Step {
        if self.depth == DEPTH_MAX {
            return Err("exceeded max depth".to_owned());
        }
        self.depth += 1;
        let result = match self.next_mark()? {
            b'{' => self.object(),
            b'[' => self.list(),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            byte @ (b'-' | b'0'..=b'9') => self.number(byte),
            byte => Err(invalid(byte, "looking for beginning of value")),
        };
        self.depth -= 1;
        result
    }

    fn object(&mut self) -> Step {
        let mut mark = self.next_mark()?;
        if mark == b'}' {
            return Ok(());
        }
        loop {
            if mark != b'"' {
                return Err(invalid(mark, "looking for beginning of object key string"));
            }
            self.string()?;
            match self.next_mark()? {
                b':' => self.value()?,
                byte => return Err(invalid(byte, "after object key")),
            }
            match self.next_mark()? {
                b',' => mark = self.next_mark()?,
                b'}' => return Ok(()),
                byte => return Err(invalid(byte, "after object key:value pair")),
            }
        }
    }

    fn list(&mut self) -> Step {
        let before = self.rest;
        if self.next_mark()? == b']' {
            return Ok(());
        }
        self.rest = before;
        loop {
            self.value()?;
            match self.next_mark()? {
                b',' => {}
                b']' => return Ok(()),
                byte => return Err(invalid(byte, "after array element")),
            }
        }
    }

    fn string(&mut self) -> Step {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next()?;
                            if !byte.is_ascii_hexdigit() {
                                return Err(invalid(byte, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    byte => return Err(invalid(byte, "in string escape code")),
                },
                byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Step {
        for expected in word.chars().skip(1) {
            let byte = self.next()?;
            if char::from(byte) != expected {
                return Err(invalid(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Step {
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
    fn digit(&mut self, place: &str) -> Step {
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

/// Go shows a byte as the character of that number.
fn invalid(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'"' => "\"".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        11 => "\\v".to_owned(),
        12 => "\\f".to_owned(),
        b'\n' | b'\r' | b'\t' | b'\\' => char::from(byte).escape_default().to_string(),
        0..0x20 | 0x7f => format!("\\x{byte:02x}"),
        0x80..0xa1 | 0xad => format!("\\u{byte:04x}"),
        byte => char::from(byte).to_string(),
    };
    format!("invalid character '{shown}' {place}")
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn faults_are_told_in_gos_words() {
        let check = |text: &str, expected: &str| assert_eq!(fault(text).as_deref(), Some(expected), "{text:?}");
        check("", "EOF");
        check(" \n", "EOF");
        for cut in [
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "[",
            "[1",
            "\"a",
            "\"\\",
            "\"\\u1",
            "tru",
            "-",
            "1.",
            "1e",
        ] {
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
        check("-x", "invalid character 'x' in numeric literal");
        check("1.x", "invalid character 'x' after decimal point in numeric literal");
        check("1e+x", "invalid character 'x' in exponent of numeric literal");
        check(&"[".repeat(200), "exceeded max depth");
        for good in ["{}", "[]", "[ ]", " {\"a\": [1, -0.5e-3, \"\\u00e9\\n\", true, false, null, {}]} x", "0"] {
            assert_eq!(fault(good), None, "{good}");
        }
    }
}
