//! A compiled expression: a list of operations for the machine, so that evaluating needs no recursion but for closures.

use std::sync::Arc;

use regex::Regex;

use super::environment::{Callee, Environment, Scope};
use super::error::{Error, Fault, FaultKind, Span};
use super::limits::{Limits, Meter};
use super::machine::Machine;
use super::number;
use super::parser::{self, Patterns};
use super::value::Value;

/// What is spent on an expression that somebody looks at and nobody runs.
pub(super) const A_FEW: Limits =
    Limits { source: 16 << 10, nesting: 64, steps: 1000, memory: 64 << 10, regex: 1 << 20 };

/// What was evaluated without a host: nothing where one had to be asked, or a limit was reached.
pub(super) fn known<T>(evaluated: Result<T, Error>) -> Option<Result<T, Error>> {
    match evaluated {
        Err(error) if matches!(error.kind(), FaultKind::Host | FaultKind::Limit) => None,
        known => Some(known),
    }
}

/// An operator with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Range,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    In,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
}

/// A function with a closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loop {
    All,
    None,
    Any,
    One,
    Filter,
    Map,
    Count,
    Sum,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    GroupBy,
    SortBy { ordered: bool },
    Reduce { initial: bool },
}

/// One operation. Places are indexes into the operations; operands are on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Constant(u32),
    Nil,
    Bool(bool),
    Int(i64),
    /// A variable of the scope, by the constant that is its name.
    Variable(u32),
    /// A member of a variable: what `vars.x` becomes, so that reading one member does not touch the others.
    VariableMember(u32, u32),
    /// `$env`.
    Everything,
    Local(u32),
    SetLocal(u32),
    /// `#`, `#index`, `#acc`.
    Item,
    ItemIndex,
    Accumulator,
    Member(u32),
    Index,
    /// Whether there is a start and an end.
    Slice(bool, bool),
    Not,
    Negate,
    Plus,
    Binary(Binary),
    /// As `Binary`, leaving the right operand under the result: for `a < b < c`.
    Chained(Binary),
    /// `matches` with a pattern that is known.
    MatchesRegex(u32),
    /// The operand of `and`, `or`, `not`, `?` must be a bool.
    ExpectBool,
    Pop,
    /// Takes away what is under the top.
    Nip,
    Jump(u32),
    /// The jumps look at the top and leave it there.
    JumpIfFalse(u32),
    JumpIfTrue(u32),
    JumpIfNil(u32),
    JumpIfNotNil(u32),
    List(u32),
    Map(u32),
    Call(u32, u32),
    Method(u32, u32),
    /// A closure over `start..end`; with `start == end` it is `#`.
    Loop(Loop, u32, u32),
}

/// A compiled expression. Compile once, evaluate often.
///
/// ```
/// use kargo_core::expr::{Environment, Program, Scope, Value};
/// use serde_json::json;
///
/// let program = Program::compile("filter(apps, .ready) | map(.name) | join(', ')", &Environment::bare())?;
/// let apps = json!([{"name": "api", "ready": true}, {"name": "web", "ready": false}, {"name": "jobs", "ready": true}]);
/// let scope = Scope::default().variable("apps", Value::from_json(&apps).unwrap()).unwrap();
/// assert_eq!(program.evaluate(&scope)?.value, Value::from("api, jobs"));
/// # Ok::<(), kargo_core::expr::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program(Arc<Code>);

#[derive(Debug)]
pub(super) struct Code {
    /// The whole text that the expression stands in.
    pub(super) source: Arc<str>,
    /// Where in the text the expression begins and ends.
    pub(super) place: (usize, usize),
    pub(super) ops: Vec<Op>,
    pub(super) spans: Vec<Span>,
    pub(super) constants: Vec<Value>,
    pub(super) regexes: Vec<Regex>,
    pub(super) callees: Vec<Callee>,
    pub(super) locals: u32,
    pub(super) limits: Limits,
}

/// What an evaluation gave.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The value.
    pub value: Value,
    /// Whether a secret was read on the way, so that the value must not be shown or stored in clear.
    pub sensitive: bool,
    /// The texts that were read of secrets and made of them.
    pub(super) secrets: Vec<Arc<str>>,
}

impl std::fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Evaluation");
        if self.sensitive {
            shown.field("value", &"(from a secret)")
        } else {
            shown.field("value", &self.value)
        };
        shown.field("sensitive", &self.sensitive).finish()
    }
}

impl Program {
    /// Compiles a bare expression: one without `${{ }}` around it.
    ///
    /// # Errors
    /// When the text is no expression, calls a function that is not known here or with a wrong number of arguments, or
    /// is beyond the [`Limits`].
    pub fn compile(expression: &str, environment: &Environment) -> Result<Self, Error> {
        Self::compile_part(&Arc::from(expression), 0, expression.len(), environment, &mut Patterns::default())
    }

    /// Compiles `source[start..end]`; errors show the line in `source`.
    pub(super) fn compile_part(
        source: &Arc<str>,
        start: usize,
        end: usize,
        environment: &Environment,
        patterns: &mut Patterns,
    ) -> Result<Self, Error> {
        let limit = environment.limits.source;
        if end - start > limit {
            let fault = Fault::limit(format!("The expression has {} bytes; at most {limit} are allowed.", end - start));
            return Err(fault.at(source, Span::new(start, start + 1)));
        }
        parser::compile(source, start, end, environment, patterns).map(|code| Self(Arc::new(code)))
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// When a value is not of the kind that an operator or a function takes, a limit is reached, or the host cannot
    /// answer a question.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Evaluation, Error> {
        self.evaluate_within(scope, &mut Meter::new(self.0.limits))
    }

    /// Evaluates with what is left of the limits.
    pub(super) fn evaluate_within(&self, scope: &Scope<'_>, meter: &mut Meter) -> Result<Evaluation, Error> {
        Machine::new(&self.0, scope, meter).run()
    }

    /// Evaluates an expression that answers yes or no: criteria, filters, conditions. A value whose text reads as a
    /// bool is one too, as in Kargo: `"true"`, `1`.
    ///
    /// # Errors
    /// As [`Program::evaluate`], and when the result is neither.
    pub fn evaluate_bool(&self, scope: &Scope<'_>) -> Result<bool, Error> {
        let value = self.evaluate(scope)?.value;
        let text = match &value {
            Value::Bool(value) => return Ok(*value),
            Value::Int(value @ (0 | 1)) => return Ok(*value == 1),
            Value::Float(value) if matches!(*value, 0.0 | 1.0) => return Ok(*value == 1.0),
            other => other.as_str(),
        };
        text.and_then(number::parse_bool).ok_or_else(|| {
            let fault = Fault::kind(format!("The result must be a bool, and it is {}; compare it.", value.kind()));
            self.fault_of_whole(fault)
        })
    }

    /// What the expression gives whatever it is evaluated with, or how it always fails. None when that depends on something, or takes more
    /// than a few steps.
    pub(crate) fn constant(&self) -> Option<Result<Value, Error>> {
        if self.depends() {
            return None;
        }
        known(self.evaluate_within(&Scope::default(), &mut Meter::new(A_FEW)).map(|evaluation| evaluation.value))
    }

    /// Whether it reads a variable or the clock, or calls a function of the host's.
    pub(super) fn depends(&self) -> bool {
        let reads = |op: &Op| matches!(op, Op::Variable(_) | Op::VariableMember(..) | Op::Everything);
        let outside = |callee: &Callee| match callee {
            Callee::Native(definition) => definition.name == "now",
            Callee::Custom(_) => true,
        };
        self.0.ops.iter().any(reads) || self.0.callees.iter().any(outside)
    }

    /// A fault of the result, such as one that cannot become text.
    pub(super) fn fault_of_whole(&self, fault: Fault) -> Error {
        fault.at(&self.0.source, self.0.spans.last().copied().unwrap_or_default())
    }

    pub(super) fn code(&self) -> &Code {
        &self.0
    }

    /// The variables that the expression reads, each once.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let mut seen = std::collections::BTreeSet::new();
        self.0.ops.iter().filter_map(move |op| match op {
            Op::Variable(name) | Op::VariableMember(name, _) => {
                self.0.constants[*name as usize].as_str().filter(|name| seen.insert(*name))
            }
            _ => None,
        })
    }
}
