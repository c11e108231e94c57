//! A text in quotation marks as Go's `%q` writes it, for refusals that repeat what was given.

use std::fmt::{self, Write};

pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for one in self.0.chars() {
            match one {
                '"' | '\\' => write!(f, "\\{one}")?,
                '\u{7}' => f.write_str("\\a")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{b}' => f.write_str("\\v")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0'..' ' => write!(f, "\\x{:02x}", u32::from(one))?,
                one if is_printable(one) => f.write_char(one)?,
                '\u{10000}'.. => write!(f, "\\U{:08x}", u32::from(one))?,
                one => write!(f, "\\u{:04x}", u32::from(one))?,
            }
        }
        f.write_char('"')
    }
}

/// What Go calls so: of blanks only the common one.
pub fn is_printable(one: char) -> bool {
    match one {
        ' '..='~' => true,
        one if one.is_ascii() => false,
        // A string's debug form escapes just the others; behind a letter, where a mark that combines is shown.
        one => format!("a{one}").escape_debug().count() == 2,
    }
}

#[cfg(test)]
mod tests {
    use super::Quoted;

    #[test]
    fn texts_are_quoted_as_go_does() {
        let check = |text: &str, expected: &str| assert_eq!(Quoted(text).to_string(), expected);
        check("", r#""""#);
        check("a b'é\"\\", r#""a b'é\"\\""#);
        check("\0\u{7}\u{8}\u{b}\u{c}\n\r\t\u{1f}\u{7f}", r#""\x00\a\b\v\f\n\r\t\x1f\u007f""#);
        check("e\u{301}\u{a0}\u{2028}\u{fffd}\u{e000}", "\"e\u{301}\\u00a0\\u2028\u{fffd}\\ue000\"");
        check("😀\u{10ffff}", r#""😀\U0010ffff""#);
    }
}
