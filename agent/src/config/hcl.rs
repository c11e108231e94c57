//! HCL as HashiCorp's agents of 2020 read it (version 1), into the same values as JSON.
//!
//! Called by `read.rs` for `.hcl` files and by the loader for `-hcl`. The later HCL 2, which the crates read, refuses
//! what old configurations do: two settings on one line, quoted names, a `${` that is only text.
//! Blocks and objects are one thing; a name given twice collects its objects in a list, and otherwise
//! the later value holds. Depth is bounded, so no text can exhaust the stack.

use serde_json::{Map, Number, Value};

/// Deeper than any key of the table; a bound for the recursion.
const DEPTH_MAX: usize = 64;

/// Where reading stopped, and why, in the parser's own words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("At {line}:{column}: {reason}")]
pub(super) struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

/// Reads a whole text as one object.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, SyntaxError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let object = parser.items(None)?;
    Ok(object)
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of the next character.
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn fail<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, SyntaxError> {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Err(SyntaxError { line, column, reason: reason.into() })
    }

    /// HCL's own parser counts the end as a character.
    fn fail_at_end<T>(&self, reason: impl Into<String>) -> Result<T, SyntaxError> {
        self.fail(self.text.len(), reason).map_err(|fault| SyntaxError { column: fault.column + 1, ..fault })
    }

    /// Blanks and the three kinds of comments.
    fn skip(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => return self.fail(self.text.len(), "comment not terminated"),
                }
            } else if rest.starts_with(|c: char| c.is_whitespace() || c == '\u{feff}') {
                self.bump();
            } else {
                return Ok(());
            }
        }
    }

    /// Items up to `end`, or to the end of the text.
    fn items(&mut self, end: Option<char>) -> Result<Map<String, Value>, SyntaxError> {
        let opened = self.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(opened, "nested too deeply");
        }
        let mut object = Map::new();
        loop {
            self.skip()?;
            match self.peek() {
                None if end.is_none() => break,
                None => return self.fail_at_end("object expected closing RBRACE got: EOF"),
                Some(c) if Some(c) == end => {
                    self.bump();
                    break;
                }
                Some(_) => self.item(&mut object)?,
            }
            self.skip()?;
            if self.peek() == Some(',') {
                self.bump();
            }
        }
        self.depth -= 1;
        Ok(object)
    }

    /// `name = value`, `name { … }` or `name "label" { … }`.
    fn item(&mut self, object: &mut Map<String, Value>) -> Result<(), SyntaxError> {
        let mut names = Vec::new();
        loop {
            self.skip()?;
            let start = self.at;
            match self.peek() {
                Some('"') => names.push(self.string()?),
                Some(c) if is_name_start(c) => names.push(self.name()),
                Some('=') if names.is_empty() => return self.fail(start, "no object keys found!"),
                Some('=') if names.len() > 1 => {
                    return self.fail(start, "nested object expected: LBRACE got: ASSIGN");
                }
                Some('=') => {
                    self.bump();
                    self.skip()?;
                    let value = self.value()?;
                    put(object, names.swap_remove(0), value);
                    return Ok(());
                }
                Some('{') if !names.is_empty() => {
                    self.bump();
                    let mut value = Value::Object(self.items(Some('}'))?);
                    while names.len() > 1 {
                        let label = names.pop().expect("longer than one");
                        value = Value::Object(Map::from_iter([(label, value)]));
                    }
                    put(object, names.swap_remove(0), value);
                    return Ok(());
                }
                Some(c) if token(c).is_none() => return self.fail(start, "illegal char"),
                Some(c) if names.is_empty() => {
                    let token = token(c).unwrap_or_default();
                    return self.fail(start, format!("expected: IDENT | STRING | ASSIGN | LBRACE got: {token}"));
                }
                Some(_) => return self.fail(start, unfinished(&names)),
                None => return self.fail_at_end(unfinished(&names)),
            }
        }
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(is_name_start(c) || c.is_ascii_digit() || c == '-' || c == '.'))
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        name
    }

    fn value(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        match self.peek() {
            Some('"') => Ok(Value::String(self.string()?)),
            Some('{') => {
                self.bump();
                Ok(Value::Object(self.items(Some('}'))?))
            }
            Some('[') => self.list(),
            Some('<') if self.rest().starts_with("<<") => self.heredoc(),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(),
            Some(c) if is_name_start(c) => match self.name().as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word => self.unknown(start, &format!("IDENT {word}")),
            },
            Some(c) => match token(c) {
                Some(token) => self.unknown(start, &format!("{token} {c}")),
                None => self.fail(start, "illegal char"),
            },
            None => self.fail(start, "a value was expected, found the end of the text"),
        }
    }

    fn unknown<T>(&self, at: usize, token: &str) -> Result<T, SyntaxError> {
        self.fail(at, "").map_err(|fault| {
            let reason = format!("Unknown token: {}:{} {token}", fault.line, fault.column);
            SyntaxError { reason, ..fault }
        })
    }

    fn list(&mut self) -> Result<Value, SyntaxError> {
        let opened = self.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(opened, "nested too deeply");
        }
        self.bump();
        let mut values = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                None => return self.fail(self.text.len(), "unexpected token while parsing list: EOF"),
                Some(']') => break,
                Some(_) => values.push(self.value()?),
            }
            self.skip()?;
            match self.peek() {
                Some(',') => {
                    self.bump();
                }
                Some(']') => break,
                Some(c) => {
                    let got = token(c).unwrap_or("ILLEGAL");
                    return self.fail(self.at, format!("error parsing list, expected comma or list end, got: {got}"));
                }
                None => return self.fail(self.text.len(), "unexpected token while parsing list: EOF"),
            }
        }
        self.bump();
        self.depth -= 1;
        Ok(Value::Array(values))
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        let rest = self.rest();
        let end = number_end(rest);
        let text = rest[..end].to_owned();
        self.at += end;
        let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |d| (true, d));
        let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
        let whole = match digits.as_bytes() {
            [b'0', b'x' | b'X', ..] => radix(&digits[2..], 16),
            [b'0', b'0'..=b'9', ..] => radix(&digits[1..], 8),
            _ => digits.parse().ok(),
        };
        if let Some(whole) = whole {
            return Ok(Value::Number((if negative { -whole } else { whole }).into()));
        }
        match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Ok(Value::Number(number)),
            None => self.fail(start, format!("illegal number \"{text}\"")),
        }
    }

    /// A quoted text; what stands in `${ … }` is taken as it is, quotes included.
    fn string(&mut self) -> Result<String, SyntaxError> {
        self.bump();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.bump() {
                None | Some('\n') => return self.fail(at, "literal not terminated"),
                Some('"') => return Ok(text),
                Some('$') if self.peek() == Some('{') => {
                    text.push('$');
                    let mut depth = 0;
                    loop {
                        match self.bump() {
                            None => return self.fail(self.text.len(), "literal not terminated"),
                            Some(c) => {
                                text.push(c);
                                depth += i32::from(c == '{') - i32::from(c == '}');
                                if depth == 0 {
                                    break;
                                }
                            }
                        }
                    }
                }
                Some('\\') => text.push(self.escape(at)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, at: usize) -> Result<char, SyntaxError> {
        let Some(c) = self.bump() else { return self.fail(at, "literal not terminated") };
        let digits = match c {
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'v' => return Ok('\u{b}'),
            '"' | '\\' => return Ok(c),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return self.fail(at + 1, "illegal char escape"),
        };
        let hex: String = self.rest().chars().take(digits).collect();
        let Some(c) = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits).and_then(char::from_u32)
        else {
            return self.fail(at, "illegal char in escape sequence");
        };
        self.at += hex.len();
        Ok(c)
    }

    /// `<<END` or `<<-END` up to a line that holds END alone; `-` takes away the common indent.
    fn heredoc(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        self.at += 2;
        let indented = self.peek() == Some('-');
        if indented {
            self.bump();
        }
        let rest = self.rest();
        let Some((anchor, body)) = rest.split_once('\n') else {
            return self.fail(self.text.len(), "heredoc not terminated");
        };
        let anchor = anchor.trim_end_matches('\r');
        if anchor.is_empty() || !anchor.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return self.fail(start, "heredoc anchor not found");
        }
        let mut lines = Vec::new();
        let mut used = rest.len() - body.len();
        for line in body.split_inclusive('\n') {
            used += line.len();
            if line.trim() == anchor {
                let ending = line.len() - line.trim_end_matches(['\n', '\r']).len();
                let indent = if indented { common_indent(&lines) } else { 0 };
                self.at += used - ending;
                return Ok(Value::String(lines.iter().map(|l| l.get(indent..).unwrap_or("\n")).collect()));
            }
            lines.push(line.to_owned());
        }
        self.fail(self.text.len(), "heredoc not terminated")
    }
}

/// What HCL's own parser calls a character that begins a token; None for one that begins none.
fn token(c: char) -> Option<&'static str> {
    Some(match c {
        '=' => "ASSIGN",
        '{' => "LBRACE",
        '}' => "RBRACE",
        '[' => "LBRACK",
        ']' => "RBRACK",
        ',' => "COMMA",
        '.' => "PERIOD",
        '+' => "ADD",
        '-' => "SUB",
        '"' => "STRING",
        '<' => "HEREDOC",
        c if c.is_ascii_digit() => "NUMBER",
        c if is_name_start(c) => "IDENT",
        _ => return None,
    })
}

/// How far the number at the start of `text` goes.
fn number_end(text: &str) -> usize {
    let signed = text.strip_prefix('-').unwrap_or(text);
    let sign = text.len() - signed.len();
    let digits = |t: &str| t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    if let Some(hex) = signed.strip_prefix("0x").or_else(|| signed.strip_prefix("0X")) {
        return sign + 2 + hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
    }
    let mut end = digits(signed);
    if let Some(fraction) = signed[end..].strip_prefix('.') {
        end += 1 + digits(fraction);
    }
    if let Some(exponent) = signed[end..].strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(unsigned);
        if count > 0 {
            end += 1 + exponent.len() - unsigned.len() + count;
        }
    }
    sign + end
}

fn unfinished(names: &[String]) -> String {
    format!("key '{}' expected start of object ('{{') or assignment ('=')", names.join(" "))
}

fn common_indent(lines: &[String]) -> usize {
    let indents =
        lines.iter().filter(|l| !l.trim().is_empty()).map(|l| l.len() - l.trim_start_matches([' ', '\t']).len());
    indents.min().unwrap_or(0)
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Objects of one name collect; anything else is replaced.
fn put(object: &mut Map<String, Value>, name: String, value: Value) {
    match (object.get_mut(&name), value) {
        (Some(Value::Array(list)), value @ Value::Object(_)) if list.iter().all(Value::is_object) => list.push(value),
        (Some(before @ Value::Object(_)), value @ Value::Object(_)) => {
            *before = Value::Array(vec![before.take(), value])
        }
        (_, value) => {
            object.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(parse(text).map(Value::Object), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(parse(text).map_err(|e| e.to_string()), Err(message.to_owned()), "{text}");
    }

    #[test]
    fn settings_are_read_however_they_are_laid_out() {
        check("a = 1 b = true # c\n// d\n/* e */ \"f\" = \"g\"", json!({"a": 1, "b": true, "f": "g"}));
        check("ports { http = 1, dns = -1 }", json!({"ports": {"http": 1, "dns": -1}}));
        check("ports = { http = 1\n dns = 2.5 }", json!({"ports": {"http": 1, "dns": 2.5}}));
        check("l = [1, \"a\", {b = 2},]", json!({"l": [1, "a", {"b": 2}]}));
        check("l = []", json!({"l": []}));
        check("service \"web\" { port = 0x50 }", json!({"service": {"web": {"port": 80}}}));
        check("a { b = 1 } a { b = 2 } a { b = 3 }", json!({"a": [{"b": 1}, {"b": 2}, {"b": 3}]}));
        check("a = 1 a = 2", json!({"a": 2}));
        check("", json!({}));
    }

    #[test]
    fn texts_keep_what_looks_like_a_template() {
        check(r#"a = "${foo("x")} {{ GetPrivateIP }}""#, json!({"a": "${foo(\"x\")} {{ GetPrivateIP }}"}));
        check(r#"a = "x\n\"\u00e9\\""#, json!({"a": "x\n\"é\\"}));
        check("a = <<END\n x\n  y\nEND\nb = 1", json!({"a": " x\n  y\n", "b": 1}));
        check("a = <<-END\n  x\n   y\n  END\n", json!({"a": "x\n y\n"}));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        refused("a = 1\nserver = \"true", "At 2:15: literal not terminated");
        refused("a = 1\nb = yes", "At 2:5: Unknown token: 2:5 IDENT yes");
        refused("a { b = 1", "At 1:11: object expected closing RBRACE got: EOF");
        refused("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER");
        refused("a = [", "At 1:6: unexpected token while parsing list: EOF");
        refused("/* x", "At 1:5: comment not terminated");
        refused("a", "At 1:3: key 'a' expected start of object ('{') or assignment ('=')");
        refused("a = 1x", "At 1:8: key 'x' expected start of object ('{') or assignment ('=')");
        refused("= a", "At 1:1: no object keys found!");
        refused("}", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE");
        refused("a : 1", "At 1:3: illegal char");
        refused("a b c = 1", "At 1:7: nested object expected: LBRACE got: ASSIGN");
        refused("a = <<E", "At 1:8: heredoc not terminated");
        refused("a = \"\\q\"", "At 1:7: illegal char escape");
        refused(&"a {".repeat(100), "At 1:193: nested too deeply");
    }
}
