//! Numbers and flags as Go reads them from text, and its words for what is neither.

/// Go's `ParseInt` with base 0: the prefix tells the base, digits may be parted by underscores.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    let fault = |why: &str| format!("strconv.ParseInt: parsing {text:?}: {why}");
    let (is_negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = split_base(rest).ok_or_else(|| fault("invalid syntax"))?;
    let mut size: u128 = 0;
    for digit in digits.bytes().filter(|byte| *byte != b'_') {
        let digit = char::from(digit).to_digit(base).ok_or_else(|| fault("invalid syntax"))?;
        size = (size * u128::from(base) + u128::from(digit)).min(u128::from(u64::MAX));
    }
    let number = i128::try_from(size).map(|size| if is_negative { -size } else { size });
    number.ok().and_then(|number| i64::try_from(number).ok()).ok_or_else(|| fault("value out of range"))
}

/// The base and the digits; none when there are no digits or an underscore parts nothing.
fn split_base(text: &str) -> Option<(u32, &str)> {
    let prefixes = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)];
    let prefixed = prefixes.iter().find_map(|(prefix, base)| Some((*base, text.strip_prefix(prefix)?)));
    let (base, digits) = match prefixed {
        // One is allowed between the prefix and the digits.
        Some((base, rest)) => (base, rest.strip_prefix('_').unwrap_or(rest)),
        None if text.len() > 1 && text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let is_parted = digits.split('_').all(|part| !part.is_empty());
    is_parted.then_some((base, digits))
}

/// Go's `ParseBool`.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        let check = |text: &str, expected: Result<i64, &str>| {
            let expected = expected.map_err(|why| format!("strconv.ParseInt: parsing {text:?}: {why}"));
            assert_eq!(integer(text), expected);
        };
        check("6379", Ok(6379));
        check("-1", Ok(-1));
        check("+6_379", Ok(6379));
        check("0x18eB", Ok(6379));
        check("0b11", Ok(3));
        check("017", Ok(15));
        check("0_17", Ok(15));
        check("0x_1f", Ok(31));
        check("0", Ok(0));
        check("-9223372036854775808", Ok(i64::MIN));
        for bad in ["", "x", "1.5", "06379", "_1", "1_", "1__2", "0x", "-", "1 ", "é"] {
            check(bad, Err("invalid syntax"));
        }
        for long in ["9223372036854775808", "99999999999999999999999999999999999999999999999999"] {
            check(long, Err("value out of range"));
        }
    }
}
