//! From text to an [`Expression`]: go-bexpr's grammar with `winnow`.
//!
//! Consul tells where it could not go on and all that would have been possible there; so every literal
//! that fails is noted ([`Notes`]). A fault, such as a quote that is never closed, ends the reading
//! whatever else could be tried. Each part is read once, where Consul's reader takes exponential time.

use std::collections::BTreeSet;

use winnow::Parser;
use winnow::combinator::{alt, opt, preceded, repeat};
use winnow::error::EmptyError;
use winnow::stream::{LocatingSlice, Location, Stateful, Stream};
use winnow::token::{literal, one_of, take_till};

use super::{BYTES_MAX, DEPTH_MAX, Error, Expression, Match, Operator, text};

type Input<'a> = Stateful<LocatingSlice<&'a str>, Notes>;
type Parsed<O> = Result<O, EmptyError>;

/// What was looked for and not found.
#[derive(Debug, Default)]
struct Notes {
    /// The farthest place where something was looked for.
    farthest: usize,
    /// What was looked for there, as Consul shows it.
    wanted: BTreeSet<&'static str>,
    /// The end was looked for there as well.
    wanted_end: bool,
    /// Place, rule and fault.
    faults: Vec<(usize, &'static str, String)>,
    depth: usize,
}

impl Notes {
    fn reach(&mut self, at: usize) -> bool {
        if at > self.farthest {
            (self.farthest, self.wanted_end) = (at, false);
            self.wanted.clear();
        }
        at == self.farthest
    }

    fn want(&mut self, at: usize, what: &'static str) {
        if self.reach(at) {
            self.wanted.insert(what);
        }
    }

    fn want_end(&mut self, at: usize) {
        if self.reach(at) {
            self.wanted_end = true;
        }
    }

    fn fault(&mut self, at: usize, rule: &'static str, what: impl Into<String>) -> EmptyError {
        self.faults.push((at, rule, what.into()));
        EmptyError
    }

    fn error(self, text: &str) -> Error {
        if self.faults.is_empty() {
            let mut wanted: Vec<&str> = self.wanted.into_iter().collect();
            if self.wanted_end {
                wanted.push("EOF");
            }
            let last = wanted.pop().unwrap_or_default();
            let list = if wanted.is_empty() { last.to_owned() } else { format!("{} or {last}", wanted.join(", ")) };
            return Error::Syntax(format!("{}: no match found, expected: {list}", place(text, self.farthest)));
        }
        let mut lines: Vec<String> = Vec::new();
        for (at, rule, what) in self.faults {
            let line = format!("{}: rule \"{rule}\": {what}", place(text, at));
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Error::Syntax(lines.join("\n"))
    }
}

/// Line, column in characters, and offset in bytes.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let is_line_end = text.as_bytes().get(at) == Some(&b'\n');
    let line = before.matches('\n').count() + 1 + usize::from(is_line_end);
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    format!("{line}:{} ({at})", if is_line_end { 0 } else { column })
}

pub(super) fn expression(text: &str) -> Result<Expression, Error> {
    if text.len() > BYTES_MAX {
        return Err(Error::TooLong(text.len()));
    }
    let mut input = Stateful { input: LocatingSlice::new(text), state: Notes::default() };
    match whole(&mut input) {
        Ok(expression) if input.state.faults.is_empty() => Ok(expression),
        _ => Err(input.state.error(text)),
    }
}

fn whole(input: &mut Input<'_>) -> Parsed<Expression> {
    let expression = preceded(opt(spaces), any_of).parse_next(input)?;
    opt(spaces).parse_next(input)?;
    if input.eof_offset() == 0 {
        return Ok(expression);
    }
    let at = input.current_token_start();
    input.state.want_end(at);
    Err(EmptyError)
}

/// `and` binds closer than `or`.
fn any_of(input: &mut Input<'_>) -> Parsed<Expression> {
    Ok(flat(chain("\"or\"", "or", all_of, input)?, Expression::Or))
}

fn all_of(input: &mut Input<'_>) -> Parsed<Expression> {
    Ok(flat(chain("\"and\"", "and", negation, input)?, Expression::And))
}

fn flat(mut list: Vec<Expression>, of: fn(Vec<Expression>) -> Expression) -> Expression {
    match list.pop() {
        Some(only) if list.is_empty() => only,
        last => {
            list.extend(last);
            of(list)
        }
    }
}

fn chain<'a>(
    shown: &'static str,
    between: &'static str,
    part: fn(&mut Input<'a>) -> Parsed<Expression>,
    input: &mut Input<'a>,
) -> Parsed<Vec<Expression>> {
    let mut list = vec![part(input)?];
    while let Some(next) = opt(preceded((spaces, word(between, shown), spaces), part)).parse_next(input)? {
        list.push(next);
    }
    Ok(list)
}

fn negation(input: &mut Input<'_>) -> Parsed<Expression> {
    if input.state.depth >= DEPTH_MAX {
        let at = input.current_token_start();
        return Err(input.state.fault(at, "grouping", format!("nested deeper than {DEPTH_MAX} times")));
    }
    input.state.depth += 1;
    let not = preceded((word("not", "\"not\""), spaces), negation).map(|inner| Expression::Not(Box::new(inner)));
    let result = alt((not, group)).parse_next(input);
    input.state.depth -= 1;
    result
}

fn group(input: &mut Input<'_>) -> Parsed<Expression> {
    if opt(word("(", "\"(\"")).parse_next(input)?.is_none() {
        return comparison(input).map(Expression::Match);
    }
    let inner = preceded(opt(spaces), any_of).parse_next(input)?;
    opt(spaces).parse_next(input)?;
    if opt(word(")", "\")\"")).parse_next(input)?.is_some() {
        return Ok(inner);
    }
    let at = input.current_token_start();
    Err(input.state.fault(at, "grouping", "Unmatched parentheses"))
}

fn comparison(input: &mut Input<'_>) -> Parsed<Match> {
    alt((selector_first, emptiness, value_first)).parse_next(input)
}

fn selector_first(input: &mut Input<'_>) -> Parsed<Match> {
    let selector = selector(input)?;
    let operator = alt((
        tight("==", "\"==\"", Operator::Equal),
        tight("!=", "\"!=\"", Operator::NotEqual),
        spaced("contains", "\"contains\"", Operator::In),
        preceded(not_before, spaced("contains", "\"contains\"", Operator::NotIn)),
        spaced("matches", "\"matches\"", Operator::Matches),
        preceded(not_before, spaced("matches", "\"matches\"", Operator::NotMatches)),
    ))
    .parse_next(input)?;
    let value = value(input)?;
    Ok(Match { selector, operator, value })
}

fn emptiness(input: &mut Input<'_>) -> Parsed<Match> {
    let selector = selector(input)?;
    (spaces, word("is", "\"is\""), spaces).parse_next(input)?;
    let not = opt((word("not", "\"not\""), spaces)).parse_next(input)?;
    word("empty", "\"empty\"").parse_next(input)?;
    let operator = if not.is_some() { Operator::IsNotEmpty } else { Operator::IsEmpty };
    Ok(Match { selector, operator, value: String::new() })
}

fn value_first(input: &mut Input<'_>) -> Parsed<Match> {
    let value = value(input)?;
    let operator =
        alt((spaced("in", "\"in\"", Operator::In), preceded(not_before, spaced("in", "\"in\"", Operator::NotIn))))
            .parse_next(input)?;
    let at = input.current_token_start();
    let selector = selector(input).map_err(|_| input.state.fault(at, "match", "Invalid selector"))?;
    Ok(Match { selector, operator, value })
}

/// An operator that needs no blanks around it.
fn tight<'a>(
    text: &'static str,
    shown: &'static str,
    operator: Operator,
) -> impl Parser<Input<'a>, Operator, EmptyError> {
    (opt(spaces), word(text, shown), opt(spaces)).value(operator)
}

fn spaced<'a>(
    text: &'static str,
    shown: &'static str,
    operator: Operator,
) -> impl Parser<Input<'a>, Operator, EmptyError> {
    (spaces, word(text, shown), spaces).value(operator)
}

/// The `not` of `not in` and its like; the blanks behind it belong to what follows.
fn not_before(input: &mut Input<'_>) -> Parsed<()> {
    (spaces, word("not", "\"not\"")).void().parse_next(input)
}

/// `a.b["c"]`
fn selector(input: &mut Input<'_>) -> Parsed<Vec<String>> {
    let first = identifier(input)?;
    let rest: Vec<String> = repeat(0.., alt((preceded(word(".", "\".\""), identifier), index))).parse_next(input)?;
    Ok(std::iter::once(first).chain(rest).collect())
}

fn identifier(input: &mut Input<'_>) -> Parsed<String> {
    let letter = class(|next| next.is_ascii_alphabetic(), "[a-zA-Z]");
    let rest = class(|next| next.is_ascii_alphanumeric() || next == '_', "[a-zA-Z0-9_]");
    let rest = repeat::<_, _, (), _, _>(0.., rest);
    (letter, rest).take().map(str::to_owned).parse_next(input)
}

fn index(input: &mut Input<'_>) -> Parsed<String> {
    (word("[", "\"[\""), opt(spaces)).parse_next(input)?;
    let at = input.current_token_start();
    let name = string(input).map_err(|_| input.state.fault(at, "index", "Invalid index"))?;
    opt(spaces).parse_next(input)?;
    if opt(word("]", "\"]\"")).parse_next(input)?.is_some() {
        return Ok(name);
    }
    let at = input.current_token_start();
    Err(input.state.fault(at, "index", "Unclosed index expression"))
}

fn value(input: &mut Input<'_>) -> Parsed<String> {
    alt((selector.map(|path| path.join(".")), number, string)).parse_next(input)
}

fn number(input: &mut Input<'_>) -> Parsed<String> {
    let digit = || class(|next| next.is_ascii_digit(), "[0-9]");
    let first = class(|next| ('1'..='9').contains(&next), "[1-9]");
    let many = (first, repeat::<_, _, (), _, _>(0.., digit())).void();
    let fraction = (word(".", "\".\""), repeat::<_, _, (), _, _>(1.., digit()));
    let number = (opt(word("-", "\"-\"")), alt((word("0", "\"0\""), many)), opt(fraction)).take();
    let number = number.map(str::to_owned).parse_next(input)?;
    let start = input.checkpoint();
    let at = input.current_token_start();
    let is_last = input.eof_offset() == 0;
    let ends = opt(spaces).parse_next(input)?.is_some() || is_last || {
        input.state.want_end(at);
        opt(word(")", "\")\"")).parse_next(input)?.is_some()
    };
    input.reset(&start);
    if ends { Ok(number) } else { Err(input.state.fault(at, "number", "Invalid number literal")) }
}

fn string(input: &mut Input<'_>) -> Parsed<String> {
    let start = input.current_token_start();
    let quote = alt((word("`", "\"`\"").value('`'), word("\"", "\"\\\"\"").value('"'))).parse_next(input)?;
    let inside: &str = take_till(0.., quote).parse_next(input)?;
    if input.eof_offset() == 0 {
        let at = input.current_token_start();
        return Err(input.state.fault(at, "string", "Unterminated string literal"));
    }
    one_of(quote).parse_next(input)?;
    Ok(text::unquote(quote, inside).unwrap_or_else(|| {
        input.state.fault(start, "string", "invalid syntax");
        String::new()
    }))
}

fn spaces(input: &mut Input<'_>) -> Parsed<()> {
    repeat(1.., class(|next| matches!(next, ' ' | '\t' | '\r' | '\n'), "[ \\t\\r\\n]")).parse_next(input)
}

/// A literal, and how Consul shows it.
fn word<'a>(text: &'static str, shown: &'static str) -> impl Parser<Input<'a>, (), EmptyError> {
    move |input: &mut Input<'a>| noted(literal(text).void(), shown, input)
}

fn class<'a>(holds: fn(char) -> bool, shown: &'static str) -> impl Parser<Input<'a>, (), EmptyError> {
    move |input: &mut Input<'a>| noted(one_of(holds).void(), shown, input)
}

/// Tries it, and notes that it was wanted where it is not there.
fn noted<'a>(
    mut parser: impl Parser<Input<'a>, (), EmptyError>,
    shown: &'static str,
    input: &mut Input<'a>,
) -> Parsed<()> {
    let at = input.current_token_start();
    let start = input.checkpoint();
    let result = parser.parse_next(input);
    if result.is_err() {
        input.reset(&start);
        input.state.want(at, shown);
    }
    result
}
