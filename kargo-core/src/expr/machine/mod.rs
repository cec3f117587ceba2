//! Runs a program.

mod closure;

use std::collections::BTreeMap;

use super::environment::{Call, Callee, Scope};
use super::error::{Error, Fault, Span};
use super::limits::Meter;
use super::operator;
use super::program::{Binary, Code, Evaluation, Loop, Op};
use super::regex;
use super::traces::Traces;
use super::value::{List, Map, Value};

pub(super) use closure::sorted;

pub(super) struct Machine<'m> {
    code: &'m Code,
    scope: &'m Scope<'m>,
    meter: &'m mut Meter,
    stack: Vec<Value>,
    locals: Vec<Value>,
    frames: Vec<Frame>,
    traces: Traces,
}

/// The closure that runs: its list, where it is in it, and the accumulator of `reduce`.
struct Frame {
    list: List,
    index: usize,
    accumulator: Value,
}

type Ran<T = ()> = Result<T, (Fault, Span)>;

impl<'m> Machine<'m> {
    pub(super) fn new(code: &'m Code, scope: &'m Scope<'m>, meter: &'m mut Meter) -> Self {
        Self {
            code,
            scope,
            meter,
            stack: Vec::with_capacity(8),
            locals: vec![Value::Nil; code.locals as usize],
            frames: Vec::new(),
            traces: Traces::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Evaluation, Error> {
        match self.range(0, self.code.ops.len()) {
            Ok(()) => {
                let value = self.pop();
                let (sensitive, secrets) = self.traces.into_parts();
                Ok(Evaluation { value, sensitive, secrets })
            }
            Err((fault, span)) => Err(fault.at(&self.code.source, span)),
        }
    }

    fn pop(&mut self) -> Value {
        // The compiler emits operands before operators, so that the stack always holds them.
        self.stack.pop().unwrap_or(Value::Nil)
    }

    fn top(&self) -> &Value {
        self.stack.last().unwrap_or(&Value::Nil)
    }

    fn pop_many(&mut self, count: usize) -> Vec<Value> {
        self.stack.split_off(self.stack.len().saturating_sub(count))
    }

    fn constant(&self, index: u32) -> &'m Value {
        &self.code.constants[index as usize]
    }

    fn name(&self, index: u32) -> &'m str {
        self.constant(index).as_str().unwrap_or_default()
    }

    /// Runs the operations from `at` to `end`, which leave one value more on the stack.
    fn range(&mut self, mut at: usize, end: usize) -> Ran {
        while at < end {
            let op = self.code.ops[at];
            let step = self.meter.steps(1).and_then(|()| self.step(op));
            match step {
                Ok(Next::Continue) => at += 1,
                Ok(Next::Jump(to)) => at = to as usize,
                Ok(Next::Loop(kind, from, to)) => {
                    self.closure(kind, from as usize, to as usize, self.code.spans[at])?;
                    at += 1;
                }
                Err(fault) => return Err((fault, self.code.spans[at])),
            }
            if let Some(top) = self.stack.last() {
                self.traces.see(top);
            }
        }
        Ok(())
    }

    fn step(&mut self, op: Op) -> Result<Next, Fault> {
        match op {
            Op::Constant(index) => self.stack.push(self.constant(index).clone()),
            Op::Nil => self.stack.push(Value::Nil),
            Op::Bool(value) => self.stack.push(Value::Bool(value)),
            Op::Int(value) => self.stack.push(Value::Int(value)),
            Op::Variable(name) => {
                let name = self.name(name);
                let value = self.scope.variables.get(name).cloned().unwrap_or(Value::Nil);
                if self.scope.touches_secret(name, None) {
                    self.offer(name, &value);
                }
                self.stack.push(value);
            }
            Op::VariableMember(variable, member) => {
                let (variable, member) = (self.name(variable), self.name(member));
                let value = match self.scope.variables.get(variable) {
                    Some(value) => operator::member(value, member)?,
                    None => return Err(self.undefined(variable, member)),
                };
                if self.scope.touches_secret(variable, Some(member)) {
                    self.traces.offer(&value);
                }
                self.stack.push(value);
            }
            Op::Everything => {
                for (name, value) in self.scope.variables.iter() {
                    if self.scope.touches_secret(name, None) {
                        self.offer(name, value);
                    }
                }
                if !self.scope.sensitive.is_empty() {
                    self.traces.touch();
                }
                self.stack.push(Value::Map(self.scope.variables.clone()));
            }
            Op::Local(slot) => self.stack.push(self.locals[slot as usize].clone()),
            Op::SetLocal(slot) => self.locals[slot as usize] = self.pop(),
            Op::Item => {
                let item = self.frames.last().and_then(|frame| frame.list.as_slice().get(frame.index));
                self.stack.push(item.cloned().unwrap_or(Value::Nil));
            }
            Op::ItemIndex => {
                let index = self.frames.last().map_or(0, |frame| frame.index);
                self.stack.push(Value::Int(index as i64));
            }
            Op::Accumulator => {
                let accumulator = self.frames.last().map(|frame| frame.accumulator.clone());
                self.stack.push(accumulator.unwrap_or(Value::Nil));
            }
            Op::Member(name) => {
                let value = self.pop();
                self.stack.push(operator::member(&value, self.name(name))?);
            }
            Op::Index => {
                let index = self.pop();
                let value = self.pop();
                self.meter.steps(index.weight())?;
                self.stack.push(operator::index(&value, &index)?);
            }
            Op::Slice(from, to) => {
                let to = if to { Some(self.pop()) } else { None };
                let from = if from { Some(self.pop()) } else { None };
                let value = self.pop();
                let slice = operator::slice(&value, from.as_ref(), to.as_ref(), self.meter)?;
                // Of a list it is the same texts.
                if matches!(value, Value::String(_)) && self.traces.are_in("", [&value]) {
                    self.traces.make(&slice);
                }
                self.stack.push(slice);
            }
            Op::Not => match self.pop() {
                Value::Bool(value) => self.stack.push(Value::Bool(!value)),
                other => return Err(needs_bool("What not stands before", &other)),
            },
            Op::Negate => {
                let value = operator::negate(&self.pop())?;
                self.stack.push(value);
            }
            Op::Plus => match self.top() {
                Value::Int(_) | Value::Float(_) => {}
                other => return Err(Fault::kind(format!("+ in front takes a number, and this is {}.", other.kind()))),
            },
            Op::Binary(kind) => {
                let right = self.pop();
                let left = self.pop();
                let value = self.binary(kind, &left, &right)?;
                self.stack.push(value);
            }
            Op::Chained(kind) => {
                let right = self.pop();
                let left = self.pop();
                let value = self.binary(kind, &left, &right)?;
                self.stack.extend([right, value]);
            }
            Op::MatchesRegex(index) => {
                let matched = match self.pop() {
                    Value::Nil => false,
                    Value::String(text) => {
                        self.meter.steps(text.len() / 8)?;
                        self.code.regexes[index as usize].is_match(&text)
                    }
                    other => {
                        return Err(Fault::kind(format!("matches looks at a string, and this is {}.", other.kind())));
                    }
                };
                self.stack.push(Value::Bool(matched));
            }
            Op::ExpectBool => match self.top() {
                Value::Bool(_) => {}
                other => return Err(needs_bool("Each side of and and or", other)),
            },
            Op::Pop => drop(self.pop()),
            Op::Nip => {
                let top = self.pop();
                self.pop();
                self.stack.push(top);
            }
            Op::Jump(to) => return Ok(Next::Jump(to)),
            Op::JumpIfFalse(to) | Op::JumpIfTrue(to) => {
                let wanted = matches!(op, Op::JumpIfTrue(_));
                match self.top() {
                    Value::Bool(value) if *value == wanted => return Ok(Next::Jump(to)),
                    Value::Bool(_) => {}
                    other => return Err(needs_bool("A condition", other)),
                }
            }
            Op::JumpIfNil(to) if self.top().is_nil() => return Ok(Next::Jump(to)),
            Op::JumpIfNotNil(to) if !self.top().is_nil() => return Ok(Next::Jump(to)),
            Op::JumpIfNil(_) | Op::JumpIfNotNil(_) => {}
            Op::List(count) => {
                self.meter.elements(count as usize)?;
                let items = self.pop_many(count as usize);
                self.stack.push(Value::list(items)?);
            }
            Op::Map(count) => {
                self.meter.elements(count as usize)?;
                let value = self.map(count as usize)?;
                self.stack.push(value);
            }
            Op::Call(callee, count) => {
                let arguments = self.pop_many(count as usize);
                let callee = &self.code.callees[callee as usize];
                let of_secrets = self.traces.are_in(callee.name(), &arguments);
                let value = self.call(callee, &arguments)?;
                if of_secrets {
                    self.traces.make(&value);
                }
                self.stack.push(value);
            }
            Op::Method(name, count) => {
                let arguments = self.pop_many(count as usize);
                let receiver = self.pop();
                let of_secrets = self.traces.are_in("", arguments.iter().chain([&receiver]));
                let value = operator::method(&receiver, self.name(name), &arguments, self.meter)?;
                if of_secrets {
                    self.traces.make(&value);
                }
                self.stack.push(value);
            }
            Op::Loop(kind, from, to) => return Ok(Next::Loop(kind, from, to)),
        }
        Ok(Next::Continue)
    }

    /// A variable is read that comes from secrets, or of which some members do.
    fn offer(&mut self, name: &str, value: &Value) {
        self.traces.touch();
        if self.scope.sensitive.contains(name) {
            return self.traces.offer(value);
        }
        let Value::Map(members) = value else { return };
        for (member, value) in members.iter() {
            if self.scope.touches_secret(name, Some(member)) {
                self.traces.offer(value);
            }
        }
    }

    /// A member of a variable that is not there: most often a misspelled name.
    fn undefined(&self, variable: &str, member: &str) -> Fault {
        let names = self.scope.variables.iter().map(|(name, _)| name.as_ref());
        let hint = match crate::near_match(variable, names) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("when it may be missing, write {variable}?.{member}."),
        };
        Fault::new(super::FaultKind::UnknownName, format!("There is no variable {variable} here; {hint}"))
    }

    fn binary(&mut self, kind: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
        if kind == Binary::Matches {
            return regex::matches(left, right, self.meter);
        }
        operator::binary(kind, left, right, self.meter)
    }

    fn map(&mut self, count: usize) -> Result<Value, Fault> {
        let mut entries = BTreeMap::new();
        let mut flat = self.pop_many(count * 2).into_iter();
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            let Value::String(key) = key else {
                let message = format!("A key must be a string, and this is {}; write string(…) around it.", key.kind());
                return Err(Fault::kind(message));
            };
            entries.insert(key, value);
        }
        Ok(Value::Map(Map::new(entries)?))
    }

    fn call(&mut self, callee: &'m Callee, arguments: &[Value]) -> Result<Value, Fault> {
        match callee {
            Callee::Native(definition) => {
                definition.shape.check(definition.name, arguments)?;
                // Whatever a function does with a text, it looks through it.
                let texts = arguments.iter().filter_map(Value::as_str).map(|text| text.len() / 64);
                self.meter.steps(texts.sum())?;
                let mut call = Call { scope: self.scope, meter: self.meter, traces: &mut self.traces };
                (definition.run)(&mut call, arguments)
            }
            Callee::Custom(function) => {
                function.shape().check(function.name(), arguments)?;
                function.call(arguments)
            }
        }
    }
}

enum Next {
    Continue,
    Jump(u32),
    Loop(Loop, u32, u32),
}

fn needs_bool(what: &str, given: &Value) -> Fault {
    let hint = match given {
        Value::Nil => "compare it, as in x != nil",
        Value::String(_) => "compare it, as in x != \"\"",
        Value::Int(_) | Value::Float(_) => "compare it, as in x != 0",
        _ => "compare it with something",
    };
    Fault::kind(format!("{what} must be a bool, and this is {}; {hint}.", given.kind()))
}
