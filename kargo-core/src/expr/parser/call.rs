//! Calls: functions, and functions with closures.

use super::{Callee, Kind, Parsed, Parser, Token};
use crate::expr::builtin;
use crate::expr::error::{Fault, Span};
use crate::expr::kargo;
use crate::expr::program::{Loop, Op};

/// How a function's closure is used, and whether it can be left out.
fn closure(name: &str) -> Option<(Loop, bool)> {
    Some(match name {
        "all" => (Loop::All, false),
        "none" => (Loop::None, false),
        "any" => (Loop::Any, false),
        "one" => (Loop::One, false),
        "filter" => (Loop::Filter, false),
        "map" => (Loop::Map, false),
        "count" => (Loop::Count, true),
        "sum" => (Loop::Sum, true),
        "find" => (Loop::Find, false),
        "findIndex" => (Loop::FindIndex, false),
        "findLast" => (Loop::FindLast, false),
        "findLastIndex" => (Loop::FindLastIndex, false),
        "groupBy" => (Loop::GroupBy, false),
        "sortBy" => (Loop::SortBy { ordered: false }, false),
        "reduce" => (Loop::Reduce { initial: false }, false),
        _ => return None,
    })
}

impl Parser<'_> {
    /// A call of `name`, whose first `given` arguments are on the stack already. The opening bracket is next.
    pub(super) fn call(&mut self, name: &Token<'_>, given: u32, overridable: bool) -> Parsed {
        let custom = if overridable { self.environment.given(&name.text) } else { None };
        if custom.is_none()
            && let Some((kind, optional)) = closure(&name.text)
        {
            return self.closure_call(name, kind, optional, given);
        }
        let Some(callee) = custom.or_else(|| builtin::find(&name.text).map(Callee::Native)) else {
            return Err(self.unknown_function(name));
        };
        let count = self.arguments(given)?;
        let end = self.tokens[self.at - 1].span;
        if let Some(message) = callee.shape().fault_of_count(&name.text, count as usize) {
            return Err((Fault::kind(message), name.span.to(end)));
        }
        self.code.callees.push(callee);
        let index = self.code.callees.len() as u32 - 1;
        self.emit(Op::Call(index, count), name.span.to(end));
        Ok(())
    }

    fn unknown_function(&self, name: &Token<'_>) -> (Fault, Span) {
        let text = &name.text;
        let local = self.locals.iter().any(|(known, _)| known == text);
        let message = if local {
            format!("{text} is a value, not a function.")
        } else if let Some(place) = kargo::place_of(text) {
            format!("The function {text} cannot be used here, only {place}.")
        } else {
            match crate::near_match(text, self.environment.names()) {
                Some(near) => format!("There is no function {text}; did you mean {near}?"),
                None => format!("There is no function {text}."),
            }
        };
        (Fault::new(crate::expr::FaultKind::UnknownName, message), name.span)
    }

    /// `(a, b)`; how many there are together with those given.
    pub(super) fn arguments(&mut self, given: u32) -> Parsed<u32> {
        self.expect(Kind::Bracket, "(")?;
        let mut count = given;
        while !self.current().bracket(")") {
            if count > given {
                self.expect_more(")")?;
                if self.current().bracket(")") {
                    break;
                }
            }
            self.expression(0)?;
            count += 1;
        }
        self.expect(Kind::Bracket, ")")?;
        Ok(count)
    }

    /// `filter(list, {closure})`. The closure's operations stand behind the list's, jumped over.
    fn closure_call(&mut self, name: &Token<'_>, kind: Loop, optional: bool, given: u32) -> Parsed {
        self.expect(Kind::Bracket, "(")?;
        if given == 0 {
            if self.current().bracket(")") {
                return Err(self.too_few(name));
            }
            self.expression(0)?;
            if !self.current().bracket(")") {
                self.expect_more(")")?;
            }
        }
        if self.current().bracket(")") {
            if !optional {
                return Err(self.too_few(name));
            }
            let end = self.take().span;
            let here = self.here();
            self.emit(Op::Loop(kind, here, here), name.span.to(end));
            return Ok(());
        }
        let over = self.emit(Op::Jump(0), name.span);
        let start = self.here();
        self.closure_body()?;
        let stop = self.here();
        self.land(over);
        let mut kind = kind;
        if self.current().operator(",") {
            self.take();
            if !self.current().bracket(")") {
                kind = match kind {
                    Loop::SortBy { .. } => Loop::SortBy { ordered: true },
                    Loop::Reduce { .. } => Loop::Reduce { initial: true },
                    _ => {
                        let message = format!("{}() takes an array and a closure, and nothing more.", name.text);
                        return Err((Fault::kind(message), self.current().span));
                    }
                };
                self.expression(0)?;
                if self.current().operator(",") {
                    self.take();
                }
            }
        }
        let end = self.expect(Kind::Bracket, ")")?;
        self.emit(Op::Loop(kind, start, stop), name.span.to(end));
        Ok(())
    }

    fn too_few(&self, name: &Token<'_>) -> (Fault, Span) {
        let message = format!("{}() takes an array and a closure, as in {}(list, # > 1).", name.text, name.text);
        (Fault::kind(message), name.span.to(self.current().span))
    }

    fn closure_body(&mut self) -> Parsed {
        self.closures += 1;
        if self.current().bracket("{") {
            self.take();
            if self.tokens.get(self.at + 1).is_some_and(|token| token.operator(":")) {
                let message = "The braces here are the closure's; put a map in parentheses, as in ({a: #}).";
                return Err((Fault::syntax(message), self.current().span));
            }
            self.sequence()?;
            self.expect(Kind::Bracket, "}")?;
        } else {
            self.expression(0)?;
            if self.current().operator(";") {
                let message = "A closure of several expressions stands in braces: { …; … }.";
                return Err((Fault::syntax(message), self.current().span));
            }
        }
        self.closures -= 1;
        Ok(())
    }
}
