//! Regular expressions, and Go's words for the commonest ways to get one wrong.

use regex_lite::{Regex, RegexBuilder};

/// What one compiled expression may take.
const BYTES_MAX: usize = 256 << 10;

/// The error is the sentence that Go says.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let told = |reason: String| format!("error parsing regexp: {reason}");
    if let Some(reason) = fault(pattern) {
        return Err(told(reason));
    }
    let built = RegexBuilder::new(pattern).size_limit(BYTES_MAX).build();
    built.map_err(|error| told(error.to_string().replace('\n', " ")))
}

/// What a repetition would repeat.
enum Before {
    Nothing,
    Thing,
    /// Another one, that begins there.
    Repetition(usize),
}

/// What Go refuses, in its words; none when it is right, or wrong in a rarer way.
fn fault(pattern: &str) -> Option<String> {
    let (mut open, mut at, mut before) = (0_usize, 0, Before::Nothing);
    while let Some(next) = pattern[at..].chars().next() {
        let rest = &pattern[at..];
        if let Some(length) = repetition(rest) {
            match before {
                Before::Nothing => {
                    return Some(format!("missing argument to repetition operator: `{}`", &rest[..length]));
                }
                Before::Repetition(from) => {
                    return Some(format!("invalid nested repetition operator: `{}`", &pattern[from..at + length]));
                }
                Before::Thing if !is_count(&rest[..length]) => {
                    return Some(format!("invalid repeat count: `{}`", &rest[..length]));
                }
                Before::Thing => before = Before::Repetition(at),
            }
            at += length;
            continue;
        }
        before = if matches!(next, '(' | '|') { Before::Nothing } else { Before::Thing };
        at += match next {
            '\\' => match escape(rest) {
                Ok(length) => length,
                Err(reason) => return Some(reason),
            },
            '[' => match class(rest) {
                Some(length) => length,
                None => return Some(format!("missing closing ]: `{rest}`")),
            },
            '(' if rest.starts_with("(?<") => return Some("invalid or unsupported Perl syntax: `(?<`".to_owned()),
            '(' => {
                let (length, is_open) = group(rest);
                open += usize::from(is_open);
                length
            }
            ')' if open == 0 => return Some(format!("unexpected ): `{pattern}`")),
            ')' => {
                open -= 1;
                1
            }
            other => other.len_utf8(),
        };
    }
    (open > 0).then(|| format!("missing closing ): `{pattern}`"))
}

/// How long the repetition is that `text` begins with. Braces without a count are Go's for themselves.
fn repetition(text: &str) -> Option<usize> {
    let length = match text.as_bytes().first()? {
        b'*' | b'+' | b'?' => 1,
        b'{' => {
            let end = text.find('}')?;
            let (least, most) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
            let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if least.is_empty() || !are_digits(least) || !are_digits(most) {
                return None;
            }
            end + 1
        }
        _ => return None,
    };
    Some(length + usize::from(text[length..].starts_with('?')))
}

/// Whether a repetition, if it counts, counts as far as Go does.
fn is_count(repetition: &str) -> bool {
    let Some(counts) = repetition.trim_end_matches('?').strip_prefix('{') else { return true };
    let (least, most) = counts.trim_end_matches('}').split_once(',').unwrap_or((counts.trim_end_matches('}'), ""));
    let number = |text: &str| text.parse::<u32>().ok().filter(|count| *count <= 1000);
    match (number(least), most) {
        (None, _) => false,
        (Some(_), "") => true,
        (Some(least), most) => number(most).is_some_and(|most| least <= most),
    }
}

/// How long the escape is that `text` begins with.
fn escape(text: &str) -> Result<usize, String> {
    match text.chars().nth(1) {
        None => Err("trailing backslash at end of expression: ``".to_owned()),
        Some(letter) if letter.is_ascii_alphanumeric() && !"aAbBdDfnpPQrsStvwWxz01234567".contains(letter) => {
            Err(format!("invalid escape sequence: `\\{letter}`"))
        }
        Some(letter) => Ok(1 + letter.len_utf8()),
    }
}

/// How long the class is that `text` begins with; none when it does not end.
fn class(text: &str) -> Option<usize> {
    // A bracket that comes first stands for itself.
    let mut at = 1 + usize::from(text[1..].starts_with('^'));
    at += usize::from(text[at..].starts_with(']'));
    loop {
        let rest = &text[at..];
        at += match rest.chars().next()? {
            ']' => return Some(at + 1),
            '\\' => 1 + rest.chars().nth(1)?.len_utf8(),
            '[' if rest.starts_with("[:") => rest.find(":]").map_or(1, |end| end + 2),
            other => other.len_utf8(),
        };
    }
}

/// How long the beginning of a group is, and whether it is one that ends: flags alone are none.
fn group(text: &str) -> (usize, bool) {
    let end = match text {
        named if named.starts_with("(?P<") => named.find('>'),
        flags if flags.starts_with("(?") => flags.find([':', ')']),
        _ => Some(0),
    };
    let end = end.unwrap_or(1);
    (end + 1, !text[end..].starts_with(')'))
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn what_is_no_expression_is_told_in_gos_words() {
        let check = |pattern: &str, reason: &str| {
            assert_eq!(compile(pattern).map(|_| ()), Err(format!("error parsing regexp: {reason}")));
        };
        check("(", "missing closing ): `(`");
        check("[]a](b", "missing closing ): `[]a](b`");
        check("a[b", "missing closing ]: `[b`");
        check("a)", "unexpected ): `a)`");
        check("*", "missing argument to repetition operator: `*`");
        check("a|+", "missing argument to repetition operator: `+`");
        check("a\\", "trailing backslash at end of expression: ``");
        check("a**", "invalid nested repetition operator: `**`");
        check("a*?+", "invalid nested repetition operator: `*?+`");
        check("a{2}{3}", "invalid nested repetition operator: `{2}{3}`");
        check("a{1}??", "invalid nested repetition operator: `{1}??`");
        check("a{1001}", "invalid repeat count: `{1001}`");
        check("a{2,1}", "invalid repeat count: `{2,1}`");
        check("{2}", "missing argument to repetition operator: `{2}`");
        check("(?<n>a)", "invalid or unsupported Perl syntax: `(?<`");
        check("\\8", "invalid escape sequence: `\\8`");
        for good in [
            "",
            "^a.*[()]$",
            "(?i)A|\\(",
            "[]]",
            "[^]]",
            "a??",
            "a{2,3}?b*",
            "(?:a+)+",
            "(?P<n>a)*",
            "[\\](]",
            "[[:alpha:](]",
            "\\d+\\**",
            "é?(a|b)+",
        ] {
            assert!(compile(good).is_ok(), "{good}");
        }
    }
}
