//! PURE: `?filter=`, the expressions that choose rows of an answer (Consul's go-bexpr).
//!
//! [`Filter::compile`] reads an expression and holds it against the [`Shape`] of the rows: which
//! selectors there are and what may be asked of each. [`Filter::holds`] asks one row, as its JSON is.
//! Knows no endpoint; `shape` has the rows of Consul's answers.

mod number;
pub mod pattern;
mod read;
mod shape;
#[cfg(test)]
mod tests;
mod text;

use regex_lite::Regex;
use serde_json::Value;

pub use self::shape::{CHECK, INSTANCE, NODE, SERVICE, SERVICE_NODE, Shape};

/// Bytes of one expression: what a person or a program writes is far shorter.
pub const BYTES_MAX: usize = 16 << 10;
/// How deep parentheses and `not` may be nested.
pub const DEPTH_MAX: usize = 64;

/// Why an expression is none, in Consul's words as far as it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Where the reading ended, and what would have been possible there.
    #[error("{0}")]
    Syntax(String),
    #[error("the expression has {0} bytes, the limit is {BYTES_MAX}")]
    TooLong(usize),
    #[error("Selector {0:?} is not valid")]
    Selector(String),
    #[error("Invalid match operator {operator:?} for selector {selector:?}")]
    Operator { operator: &'static str, selector: String },
    #[error("Failed to coerce value {value:?} for selector {selector:?}: {reason}")]
    Value { value: String, selector: String, reason: String },
    #[error("Failed to compile regular expression {pattern:?}: {reason}")]
    Pattern { pattern: String, reason: String },
}

impl Error {
    /// Whether the expression could not even be read.
    pub fn is_syntax(&self) -> bool {
        matches!(self, Self::Syntax(_) | Self::TooLong(_))
    }
}

/// An expression as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    Not(Box<Self>),
    /// Two at least.
    And(Vec<Self>),
    /// Two at least.
    Or(Vec<Self>),
    Match(Match),
}

/// One question to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Match {
    /// One at least.
    selector: Vec<String>,
    operator: Operator,
    /// Empty where the operator takes none.
    value: String,
}

/// `contains` is `in` with its sides changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Operator {
    fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "Not Equal",
            Self::In => "In",
            Self::NotIn => "Not In",
            Self::IsEmpty => "Is Empty",
            Self::IsNotEmpty => "Is Not Empty",
            Self::Matches => "Matches",
            Self::NotMatches => "Not Matches",
        }
    }

    fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotIn | Self::IsNotEmpty | Self::NotMatches)
    }
}

/// An expression that fits the rows it was made for.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Node,
    shape: &'static Shape,
}

#[derive(Clone, Debug)]
enum Node {
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Test(Test),
}

/// A question whose value has the type that the selector has.
#[derive(Clone, Debug)]
struct Test {
    selector: Vec<String>,
    operator: Operator,
    value: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Nothing,
    Text(String),
    Number(i64),
    Flag(bool),
    Pattern(Box<Regex>),
}

impl Filter {
    pub fn compile(text: &str, shape: &'static Shape) -> Result<Self, Error> {
        Ok(Self { root: node(read::expression(text)?, shape)?, shape })
    }

    /// Whether the row is one of those asked for.
    pub fn holds(&self, row: &Value) -> bool {
        self.root.holds(row, self.shape)
    }
}

fn node(expression: Expression, shape: &'static Shape) -> Result<Node, Error> {
    let all = |list: Vec<Expression>| list.into_iter().map(|one| node(one, shape)).collect::<Result<_, _>>();
    Ok(match expression {
        Expression::Not(inner) => Node::Not(Box::new(node(*inner, shape)?)),
        Expression::And(list) => Node::And(all(list)?),
        Expression::Or(list) => Node::Or(all(list)?),
        Expression::Match(question) => Node::Test(test(question, shape)?),
    })
}

fn test(question: Match, shape: &'static Shape) -> Result<Test, Error> {
    let Match { selector, operator, value } = question;
    let shown = || selector.join(".");
    let at = shape.find(&selector).ok_or_else(|| Error::Selector(astray(&selector, shape)))?;
    if !at.allows(operator) {
        return Err(Error::Operator { operator: operator.name(), selector: shown() });
    }
    let bad = |reason: String| Error::Value { value: value.clone(), selector: shown(), reason };
    let value = match (operator, at) {
        (Operator::IsEmpty | Operator::IsNotEmpty, _) => Wanted::Nothing,
        (Operator::Matches | Operator::NotMatches, _) => Wanted::Pattern(Box::new(expression(value)?)),
        (_, Shape::Number) => Wanted::Number(number::integer(&value).map_err(bad)?),
        (_, Shape::Flag) => Wanted::Flag(number::flag(&value).map_err(bad)?),
        _ => Wanted::Text(value),
    };
    Ok(Test { selector, operator, value })
}

/// The shortest part of a selector that leads nowhere.
fn astray(selector: &[String], shape: &'static Shape) -> String {
    let mut parts = (1..selector.len()).map(|length| &selector[..length]);
    parts.find(|part| shape.find(part).is_none()).unwrap_or(selector).join(".")
}

fn expression(text: String) -> Result<Regex, Error> {
    pattern::compile(&text).map_err(|reason| Error::Pattern { pattern: text, reason })
}

impl Node {
    fn holds(&self, row: &Value, shape: &Shape) -> bool {
        match self {
            Self::Not(inner) => !inner.holds(row, shape),
            Self::And(all) => all.iter().all(|one| one.holds(row, shape)),
            Self::Or(any) => any.iter().any(|one| one.holds(row, shape)),
            Self::Test(test) => test.holds(row, shape, &test.selector),
        }
    }
}

impl Test {
    /// `path` is what of the selector lies below `value`.
    fn holds(&self, value: &Value, shape: &Shape, path: &[String]) -> bool {
        let Some((first, rest)) = path.split_first() else { return self.of(value, shape) };
        match shape {
            // What is not told is empty, as Go writes it.
            Shape::Fields(fields) => fields
                .iter()
                .find(|(name, _)| name == first)
                .is_some_and(|(name, shape)| self.holds(value.get(*name).unwrap_or(&Value::Null), shape, rest)),
            Shape::Map(shape) => match value.get(first.as_str()) {
                Some(value) => self.holds(value, shape, rest),
                // Consul: a name that is not there equals nothing and is in nothing; the rest holds of it.
                None => !matches!(self.operator, Operator::Equal | Operator::In | Operator::IsNotEmpty),
            },
            // One that holds is enough, also of `!=`.
            Shape::List(shape) => {
                value.as_array().is_some_and(|all| all.iter().any(|one| self.holds(one, shape, path)))
            }
            _ => false,
        }
    }

    fn of(&self, value: &Value, shape: &Shape) -> bool {
        let text = || value.as_str().unwrap_or("");
        let holds = match &self.value {
            Wanted::Nothing => match value {
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => true,
            },
            Wanted::Number(number) => value.as_i64().unwrap_or(0) == *number,
            Wanted::Flag(flag) => value.as_bool().unwrap_or(false) == *flag,
            Wanted::Pattern(pattern) => pattern.is_match(text()),
            Wanted::Text(wanted) => match (shape, self.operator) {
                (Shape::Map(_), _) => value.get(wanted.as_str()).is_some(),
                (Shape::Texts, _) => {
                    value.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(wanted)))
                }
                (_, Operator::In | Operator::NotIn) => text().contains(wanted.as_str()),
                _ => text() == wanted,
            },
        };
        holds != self.operator.is_negative()
    }
}
