//! What a file says, without how it is written: enough to find a value, and to see that an edit has changed no other.

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
    let scalar = |value: Json| {
        let span = span.clone().ok_or_else(|| damaged(OPERATION))?;
        Ok(Node::Scalar(Scalar { value: normal(value), span }))
    };
    let what = match expression {
        Expression::Null(_) => return scalar(Json::Null),
        Expression::Bool(value) => return scalar(Json::Bool(*value.value())),
        Expression::String(value) => return scalar(Json::from(value.value().as_str())),
        Expression::Number(value) => return scalar(number(value.value(), false)),
        Expression::UnaryOp(operation) => match (operation.operator.value(), &operation.expr) {
            (UnaryOperator::Neg, Expression::Number(value)) => return scalar(number(value.value(), true)),
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
    let text = span.and_then(|span| text.get(span)).map_or_else(|| expression.to_string(), str::to_owned);
    Ok(Node::Computed { what, text })
}

fn number(number: &hcl_edit::Number, negative: bool) -> Json {
    let sign = if negative { -1.0 } else { 1.0 };
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), _, _) if negative => Json::from(-whole),
        (_, Some(whole), _) if !negative => Json::from(whole),
        (_, _, Some(float)) => serde_json::Number::from_f64(sign * float).map_or(Json::Null, Json::Number),
        _ => Json::Null,
    }
}

/// A float that is a whole number is that number: `1.0` and `1` are the same in HCL.
pub(super) fn normal(value: Json) -> Json {
    /// Up to here every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.as_f64() {
        Some(float) if value.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => Json::from(float as i64),
        _ => value,
    }
}

/// Sets the literal that stands at the byte `start`.
pub(super) fn assign(entries: &mut [Entry], start: usize, value: &Json) {
    for entry in entries {
        match entry {
            Entry::Argument(_, node) => assign_in(node, start, value),
            Entry::Block(block) => assign(&mut block.body, start, value),
        }
    }
}

fn assign_in(node: &mut Node, start: usize, value: &Json) {
    match node {
        Node::Scalar(scalar) if scalar.span.start == start => scalar.value = value.clone(),
        Node::List(items) => items.iter_mut().for_each(|item| assign_in(item, start, value)),
        Node::Object(entries) => entries.iter_mut().for_each(|(_, item)| assign_in(item, start, value)),
        Node::Scalar(_) | Node::Computed { .. } => {}
    }
}
