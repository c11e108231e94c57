//! Texts between quotes, as Go reads them: escapes between `"`, none between backquotes.

/// What stands between the quotes; none when an escape is damaged or a line ends within.
pub(super) fn unquote(quote: char, text: &str) -> Option<String> {
    if quote == '`' {
        return Some(text.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\n' => return None,
            '\\' => rest = escape(rest, &mut bytes)?,
            next => bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Reads one escape behind its backslash; what is left of the text.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let digits = |count: usize, text: &'a str, base: u32| -> Option<(u32, &'a str)> {
        let digits = text.get(..count).filter(|digits| digits.chars().all(|digit| digit.is_digit(base)))?;
        Some((u32::from_str_radix(digits, base).ok()?, &text[count..]))
    };
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        't' => b'\t',
        'n' => b'\n',
        'v' => 11,
        'f' => 12,
        'r' => b'\r',
        '\\' | '"' => u8::try_from(kind).ok()?,
        'x' | '0'..='7' => {
            let (byte, rest) = if kind == 'x' { digits(2, rest, 16)? } else { digits(3, text, 8)? };
            bytes.push(u8::try_from(byte).ok()?);
            return Some(rest);
        }
        'u' | 'U' => {
            let (code, rest) = digits(if kind == 'u' { 4 } else { 8 }, rest, 16)?;
            bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::unquote;

    #[test]
    fn escapes_are_gos() {
        let check = |quote: char, text: &str, expected: Option<&str>| {
            assert_eq!(unquote(quote, text).as_deref(), expected, "{quote}{text}{quote}");
        };
        check('"', r"a\n\x41\u00e9\U0001F600\101\\", Some("a\nAé😀A\\"));
        check('"', r"\xff", Some("\u{fffd}"));
        check('`', "a\\q\r\n", Some("a\\q\n"));
        for bad in [r"\q", r"\", r"\x4", r"\xé", r"\u12", r"\ud800", r"\400", r"\18", r"\'", "a\nb"] {
            check('"', bad, None);
        }
    }
}
