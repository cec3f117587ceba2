//! What an expression may refer to: functions, which are fixed when it is compiled, and variables and outside data, which
//! are given when it is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::builtin;
use super::error::Fault;
use super::host::{Host, Nobody};
use super::kargo;
use super::limits::{Limits, Meter};
use super::traces::Traces;
use super::value::{Map, Value};

/// What a parameter of a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parameter {
    /// Anything.
    Any,
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// An array.
    List,
    /// A map.
    Map,
}

impl Parameter {
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::String => matches!(value, Value::String(_)),
            Self::Int => matches!(value, Value::Int(_)),
            Self::Number => matches!(value, Value::Int(_) | Value::Float(_)),
            Self::List => matches!(value, Value::List(_)),
            Self::Map => matches!(value, Value::Map(_)),
        }
    }

    fn described(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::String => "a string",
            Self::Int => "an int",
            Self::Number => "a number",
            Self::List => "an array",
            Self::Map => "a map",
        }
    }
}

/// What a call can use beside its arguments.
pub(super) struct Call<'c> {
    pub(super) scope: &'c Scope<'c>,
    pub(super) meter: &'c mut Meter,
    /// To be told when the call has touched a secret.
    pub(super) traces: &'c mut Traces,
}

/// How many arguments a function takes, and of which kinds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) parameters: &'static [Parameter],
    pub(super) required: usize,
    /// Whether the last parameter may be repeated.
    pub(super) variadic: bool,
}

impl Shape {
    pub(super) fn fault_of_count(&self, name: &str, count: usize) -> Option<String> {
        let most = self.parameters.len();
        if count >= self.required && (count <= most || self.variadic) {
            return None;
        }
        let arguments = |count: usize| format!("{count} argument{}", if count == 1 { "" } else { "s" });
        let wanted = if self.variadic {
            format!("at least {}", arguments(self.required))
        } else if self.required == most {
            arguments(most)
        } else {
            format!("{} to {}", self.required, arguments(most))
        };
        Some(format!("{name}() takes {wanted}, not {count}."))
    }

    pub(super) fn check(&self, name: &str, arguments: &[Value]) -> Result<(), Fault> {
        for (index, argument) in arguments.iter().enumerate() {
            let Some(parameter) = self.parameters.get(index).or(self.parameters.last()) else { break };
            if !parameter.takes(argument) {
                return Err(Fault::kind(format!(
                    "{name}() takes {} as its {} argument, and this is {}.{}",
                    parameter.described(),
                    ordinal(index),
                    argument.kind(),
                    advice(*parameter, argument),
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn ordinal(index: usize) -> String {
    match index {
        0 => "first".to_owned(),
        1 => "second".to_owned(),
        2 => "third".to_owned(),
        _ => format!("{}th", index + 1),
    }
}

fn advice(wanted: Parameter, given: &Value) -> &'static str {
    match (wanted, given) {
        (_, Value::Nil) => " Guard it with `?? ` and a value to use instead.",
        (Parameter::String, _) => " Write string(…) around it.",
        (Parameter::Int, Value::String(_) | Value::Float(_)) => " Write int(…) around it.",
        (Parameter::Number, Value::String(_)) => " Write float(…) or int(…) around it.",
        _ => "",
    }
}

type Native = fn(&mut Call<'_>, &[Value]) -> Result<Value, Fault>;

/// A function of the language or of Kargo.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) run: Native,
}

impl Definition {
    pub(super) const fn new(
        name: &'static str,
        parameters: &'static [Parameter],
        required: usize,
        run: Native,
    ) -> Self {
        Self { name, shape: Shape { parameters, required, variadic: false }, run }
    }

    pub(super) const fn variadic(name: &'static str, parameters: &'static [Parameter], run: Native) -> Self {
        Self { name, shape: Shape { parameters, required: 1, variadic: true }, run }
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}

type Closure = dyn Fn(&[Value]) -> Result<Value, Fault> + Send + Sync;

/// A function that the host adds.
pub struct Function {
    name: Arc<str>,
    shape: Shape,
    run: Box<Closure>,
}

impl Function {
    /// A function by the name it has in expressions. It gets exactly as many arguments as it has parameters, each of the
    /// parameter's kind; what else is wrong with them it says with a [`Fault`].
    ///
    /// It must not wait for anything for long, since expressions are evaluated in one go, and should give the same answer
    /// to the same question during a promotion.
    pub fn new(
        name: impl Into<Arc<str>>,
        parameters: &'static [Parameter],
        run: impl Fn(&[Value]) -> Result<Value, Fault> + Send + Sync + 'static,
    ) -> Self {
        let shape = Shape { parameters, required: parameters.len(), variadic: false };
        Self { name: name.into(), shape, run: Box::new(run) }
    }

    /// The name it has in expressions.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn call(&self, arguments: &[Value]) -> Result<Value, Fault> {
        (self.run)(arguments)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// What a name that is called stands for.
#[derive(Debug, Clone)]
pub(super) enum Callee {
    Native(&'static Definition),
    Custom(Arc<Function>),
}

impl Callee {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Native(definition) => definition.name,
            Self::Custom(function) => function.name(),
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        match self {
            Self::Native(definition) => &definition.shape,
            Self::Custom(function) => function.shape(),
        }
    }
}

/// The functions that an expression may call, beside those of the language, and its [`Limits`].
///
/// Kargo gives each place where an expression can stand its own set; the constructors are these places. Cloning is cheap.
///
/// ```
/// use kargo_core::expr::{Environment, Function, Parameter, Program, Scope, Value};
///
/// let environment = Environment::promotion().with(Function::new("team", &[Parameter::String], |arguments| {
///     Ok(Value::from(if arguments[0].as_str() == Some("shop") { "red" } else { "blue" }))
/// }));
/// let program = Program::compile("team('shop') + '-team'", &environment)?;
/// assert_eq!(program.evaluate(&Scope::default())?.value, Value::from("red-team"));
/// # Ok::<(), kargo_core::expr::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Environment {
    groups: Vec<&'static [Definition]>,
    custom: BTreeMap<Arc<str>, Arc<Function>>,
    pub(super) limits: Limits,
}

impl Environment {
    /// The language alone: subscriptions' `expressionFilter`, `outputs` of the `http` and `*-parse` steps.
    pub fn bare() -> Self {
        Self::default()
    }

    /// Variables of promotions and of steps, and verification arguments: freight, data, versions.
    pub fn promotion() -> Self {
        Self { groups: vec![kargo::FREIGHT, kargo::DATA, kargo::VERSIONS], ..Self::default() }
    }

    /// A step's `if` and `config`: as [`Environment::promotion`], and the status of the steps before.
    pub fn step() -> Self {
        Self { groups: vec![kargo::FREIGHT, kargo::DATA, kargo::VERSIONS, kargo::STATUS], ..Self::default() }
    }

    /// A warehouse's `freightCreationCriteria`: what has been discovered.
    pub fn criteria() -> Self {
        Self { groups: vec![kargo::DISCOVERED], ..Self::default() }
    }

    /// Generic webhooks: `whenExpression` and the selectors. `request` and `params` are variables.
    pub fn webhook() -> Self {
        Self { groups: vec![kargo::NORMALIZE], ..Self::default() }
    }

    /// The same with the functions that templates have beside: `quote`, `unsafeQuote`, `asYAML`, `asJSON`.
    pub(super) fn of_templates(&self) -> Self {
        let mut environment = self.clone();
        environment.groups.push(kargo::TEMPLATE);
        environment
    }

    /// Adds a function. It takes precedence over one of the same name.
    #[must_use]
    pub fn with(mut self, function: Function) -> Self {
        self.custom.insert(function.name.clone(), Arc::new(function));
        self
    }

    /// Sets the limits of each expression.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A function that the host or Kargo has given to this place.
    pub(super) fn given(&self, name: &str) -> Option<Callee> {
        if let Some(function) = self.custom.get(name) {
            return Some(Callee::Custom(function.clone()));
        }
        self.groups.iter().flat_map(|group| group.iter()).find(|one| one.name == name).map(Callee::Native)
    }

    pub(super) fn names<'a>(&'a self) -> impl Iterator<Item = &'a str> {
        let given = self.groups.iter().flat_map(|group| group.iter()).map(|one| -> &'a str { one.name });
        given.chain(self.custom.keys().map(AsRef::as_ref)).chain(builtin::names().map(|name| -> &'a str { name }))
    }
}

/// What an expression is evaluated against: variables, outside data, the time.
///
/// A variable that is not there is `nil`, as in Kargo.
#[derive(Debug, Clone)]
pub struct Scope<'h> {
    pub(super) variables: Map,
    pub(super) sensitive: BTreeSet<Arc<str>>,
    pub(super) host: &'h dyn Host,
    pub(super) now: Timestamp,
}

impl Default for Scope<'_> {
    /// No variables, no outside data, and the Unix epoch as the time.
    fn default() -> Self {
        Self { variables: Map::empty(), sensitive: BTreeSet::new(), host: &Nobody, now: Timestamp::UNIX_EPOCH }
    }
}

impl<'h> Scope<'h> {
    /// A scope with these variables.
    pub fn new(variables: Map) -> Self {
        Self { variables, ..Self::default() }
    }

    /// Sets who answers questions about freight, secrets and the like.
    #[must_use]
    pub fn host(mut self, host: &'h dyn Host) -> Self {
        self.host = host;
        self
    }

    /// Sets what `now()` is. The evaluation reads no clock.
    #[must_use]
    pub fn now(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// When the value is nested more than [`MAX_DEPTH`](super::MAX_DEPTH) levels deep.
    pub fn variable(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Result<Self, Fault> {
        self.variables.set(name, value.into())?;
        Ok(self)
    }

    /// Says that a variable, or one member of it (`vars.token`), comes from a secret: what is computed from it is
    /// [`sensitive`](super::Evaluation::sensitive) too.
    #[must_use]
    pub fn sensitive(mut self, path: impl Into<Arc<str>>) -> Self {
        self.sensitive.insert(path.into());
        self
    }

    /// Whether reading `name`, or one member of it, touches a secret.
    pub(super) fn touches_secret(&self, name: &str, member: Option<&str>) -> bool {
        self.sensitive.iter().any(|path| match path.strip_prefix(name) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('.').is_some_and(|rest| member.is_none_or(|member| rest == member)),
            None => false,
        })
    }
}
