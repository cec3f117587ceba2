//! What a file says, without how it is written: enough to find a value, and to see that an edit has changed no other.

use std::collections::HashMap;
use std::ops::Range;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey, UnaryOperator};
use hcl_edit::structure::{Body, Structure};
use serde_json::Value as Json;

use super::OPERATION;
use crate::Result;
use crate::edit::damaged;

/// An argument or a block.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    Argument(String, Node),
    Block(Block),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    pub(super) name: String,
    pub(super) labels: Vec<String>,
    pub(super) body: Vec<Entry>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Scalar(Scalar),
    List(Vec<Node>),
    /// The keys that are plain names or texts; others cannot be named.
    Object(Vec<(Option<String>, Node)>),
    /// What is worked out when the file is read.
    Computed {
        what: &'static str,
        text: String,
    },
}

/// A literal and where it stands. Two are equal when their values are.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) value: Json,
    pub(super) span: Range<usize>,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// The entries of `body`, which begins at the byte `mark` of `text`.
pub(super) fn entries(text: &str, mark: usize, body: &Body) -> Result<Vec<Entry>> {
    body.iter()
        .map(|structure| match structure {
            Structure::Attribute(attribute) => {
                Ok(Entry::Argument(attribute.key.as_str().to_owned(), node(text, mark, &attribute.value)?))
            }
            Structure::Block(block) => Ok(Entry::Block(Block {
                name: block.ident.as_str().to_owned(),
                labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
                body: entries(text, mark, &block.body)?,
            })),
        })
        .collect()
}

fn node(text: &str, mark: usize, expression: &Expression) -> Result<Node> {
    let span = expression.span().map(|span| span.start + mark..span.end + mark);
    let spanned = span.clone().and_then(|span| text.get(span));
    let scalar = |value: Json| {
        let span = span.clone().ok_or_else(|| damaged(OPERATION))?;
        Ok(Node::Scalar(Scalar { value: normal(value), span }))
    };
    let what = match expression {
        Expression::Null(_) => return scalar(Json::Null),
        Expression::Bool(value) => return scalar(Json::Bool(*value.value())),
        Expression::String(value) => return scalar(Json::from(value.value().as_str())),
        Expression::Number(_) => return scalar(number(spanned.unwrap_or_default())),
        Expression::UnaryOp(operation) => match (operation.operator.value(), &operation.expr) {
            (UnaryOperator::Neg, Expression::Number(_)) => return scalar(number(spanned.unwrap_or_default())),
            _ => "an expression",
        },
        Expression::Array(items) => {
            return Ok(Node::List(items.iter().map(|item| node(text, mark, item)).collect::<Result<_>>()?));
        }
        Expression::Object(entries) => {
            let entry = |(key, value): (&ObjectKey, &hcl_edit::expr::ObjectValue)| {
                let name = match key {
                    ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
                    ObjectKey::Expression(Expression::String(name)) => Some(name.value().clone()),
                    ObjectKey::Expression(Expression::Number(name)) => Some(name.value().to_string()),
                    ObjectKey::Expression(_) => None,
                };
                Ok((name, node(text, mark, value.expr())?))
            };
            return Ok(Node::Object(entries.iter().map(entry).collect::<Result<_>>()?));
        }
        Expression::StringTemplate(_) => "a template",
        Expression::HeredocTemplate(_) => "a heredoc",
        Expression::Variable(_) | Expression::Traversal(_) => "a reference",
        Expression::FuncCall(_) => "a call of a function",
        Expression::Parenthesis(_) | Expression::Conditional(_) | Expression::BinaryOp(_) | Expression::ForExpr(_) => {
            "an expression"
        }
    };
    let text = spanned.map_or_else(|| expression.to_string(), str::to_owned);
    Ok(Node::Computed { what, text })
}

/// A number from its digits: the parser makes floats of some.
fn number(text: &str) -> Json {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let whole = digits.parse::<i128>().ok();
    let whole = whole
        .and_then(|whole| i64::try_from(whole).map(Json::from).or_else(|_| u64::try_from(whole).map(Json::from)).ok());
    let float = || digits.parse().ok().and_then(serde_json::Number::from_f64);
    whole.or_else(|| float().map(Json::Number)).unwrap_or(Json::Null)
}

/// A float that is a whole number is that number: `1.0` and `1` are the same in HCL.
pub(super) fn normal(value: Json) -> Json {
    /// From here on whole numbers are no longer kept as such.
    const I64: f64 = 9_223_372_036_854_775_808.0;
    match value.as_f64().filter(|float| value.is_f64() && float.fract() == 0.0) {
        Some(float) if float.abs() < I64 => Json::from(float as i64),
        Some(float) if (I64..2.0 * I64).contains(&float) => Json::from(float as u64),
        _ => value,
    }
}

/// Sets the literals that stand at these bytes.
pub(super) fn assign(entries: &mut [Entry], values: &HashMap<usize, Json>) {
    for entry in entries {
        match entry {
            Entry::Argument(_, node) => assign_in(node, values),
            Entry::Block(block) => assign(&mut block.body, values),
        }
    }
}

fn assign_in(node: &mut Node, values: &HashMap<usize, Json>) {
    match node {
        Node::Scalar(scalar) => {
            if let Some(value) = values.get(&scalar.span.start) {
                scalar.value = value.clone();
            }
        }
        Node::List(items) => items.iter_mut().for_each(|item| assign_in(item, values)),
        Node::Object(entries) => entries.iter_mut().for_each(|(_, item)| assign_in(item, values)),
        Node::Computed { .. } => {}
    }
}
