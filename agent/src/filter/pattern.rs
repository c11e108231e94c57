//! Regular expressions, and Go's words for the commonest ways to get one wrong.

use regex_lite::{Regex, RegexBuilder};

/// What one compiled expression may take.
const BYTES_MAX: usize = 256 << 10;

/// The error is the sentence that Go says.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(BYTES_MAX).build().map_err(|error| {
        let reason = reason(pattern).unwrap_or_else(|| error.to_string().replace('\n', " "));
        format!("error parsing regexp: {reason}")
    })
}

/// What Go would say; none when it is something rarer.
fn reason(pattern: &str) -> Option<String> {
    let mut open = 0_usize;
    let mut can_repeat = false;
    let mut chars = pattern.char_indices();
    while let Some((at, next)) = chars.next() {
        match next {
            '\\' if chars.next().is_none() => return Some("trailing backslash at end of expression: ``".to_owned()),
            '[' => {
                // A bracket that comes first stands for itself.
                let body = &pattern[at + 1..];
                let first = body.len() - body.trim_start_matches('^').trim_start_matches(']').len();
                let Some(end) = body[first..].find(']') else {
                    return Some(format!("missing closing ]: `{}`", &pattern[at..]));
                };
                let end = at + 1 + first + end;
                while chars.clone().next().is_some_and(|(at, _)| at <= end) {
                    chars.next();
                }
            }
            '(' => open += 1,
            ')' if open == 0 => return Some(format!("unexpected ): `{pattern}`")),
            ')' => open -= 1,
            '*' | '+' if !can_repeat => return Some(format!("missing argument to repetition operator: `{next}`")),
            _ => {}
        }
        can_repeat = !matches!(next, '(' | '|');
    }
    (open > 0).then(|| format!("missing closing ): `{pattern}`"))
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
        for good in ["", "^a.*[()]$", "(?i)A|\\(", "[]]", "[^]]"] {
            assert!(compile(good).is_ok(), "{good}");
        }
    }
}
