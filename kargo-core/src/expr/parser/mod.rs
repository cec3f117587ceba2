//! Tokens to a program, in one pass: operators by precedence climbing, emitting operations as they are read.
//!
//! The grammar and the precedences are those of expr-lang 1.17. Nothing here recurses without counting the nesting.

mod call;
mod primary;

use std::sync::Arc;

use super::environment::{Callee, Environment};
use super::error::{Error, Fault, Span};
use super::lexer::{self, Kind, Token};
use super::program::{Binary, Code, Op};
use super::regex;
use super::value::Value;

/// Compiles `source[start..end]`.
pub(super) fn compile(
    source: &Arc<str>,
    start: usize,
    end: usize,
    environment: &Environment,
    patterns: &mut Patterns,
) -> Result<Code, Error> {
    let tokens = lexer::tokens(source, start, end).map_err(|(fault, span)| fault.at(source, span))?;
    let mut parser = Parser {
        tokens,
        at: 0,
        environment,
        patterns,
        nesting: 0,
        closures: 0,
        locals: Vec::new(),
        slots: 0,
        code: Code {
            source: source.clone(),
            place: (start, end),
            ops: Vec::new(),
            spans: Vec::new(),
            constants: Vec::new(),
            regexes: Vec::new(),
            callees: Vec::new(),
            locals: 0,
            limits: environment.limits,
        },
    };
    let whole = parser.sequence().and_then(|()| match parser.current() {
        token if token.kind == Kind::End => Ok(()),
        token => Err(parser.unexpected(token, "an operator or the end")),
    });
    whole.map_err(|(fault, span)| fault.at(source, span))?;
    parser.code.locals = parser.slots;
    Ok(parser.code)
}

/// How many regular expressions may still be compiled beforehand. Each can take a megabyte, and a configuration has room for
/// thousands; what is beyond is compiled when it is evaluated, which the limits bound.
#[derive(Debug)]
pub(super) struct Patterns(usize);

impl Default for Patterns {
    fn default() -> Self {
        Self(16)
    }
}

type Parsed<T = ()> = Result<T, (Fault, Span)>;

struct Parser<'p> {
    tokens: Vec<Token<'p>>,
    at: usize,
    environment: &'p Environment,
    patterns: &'p mut Patterns,
    nesting: usize,
    /// How many closures are open around here.
    closures: usize,
    /// The names of `let` in scope, with their slots.
    locals: Vec<(String, u32)>,
    slots: u32,
    code: Code,
}

/// Operators with their precedence, as expr-lang has them.
fn precedence(operator: &str) -> Option<u16> {
    Some(match operator {
        "|" => 0,
        "or" | "||" => 10,
        "and" | "&&" => 15,
        "==" | "!=" | "<" | ">" | ">=" | "<=" | "in" | "matches" | "contains" | "startsWith" | "endsWith" => 20,
        ".." => 25,
        "+" | "-" => 30,
        "*" | "/" | "%" => 60,
        "**" | "^" => 100,
        "??" => 500,
        _ => return None,
    })
}

fn binary(operator: &str) -> Option<Binary> {
    Some(match operator {
        "==" => Binary::Equal,
        "!=" => Binary::NotEqual,
        "<" => Binary::Less,
        ">" => Binary::More,
        ">=" => Binary::MoreOrEqual,
        "<=" => Binary::LessOrEqual,
        "in" => Binary::In,
        "matches" => Binary::Matches,
        "contains" => Binary::Contains,
        "startsWith" => Binary::StartsWith,
        "endsWith" => Binary::EndsWith,
        ".." => Binary::Range,
        "+" => Binary::Add,
        "-" => Binary::Subtract,
        "*" => Binary::Multiply,
        "/" => Binary::Divide,
        "%" => Binary::Modulo,
        "**" | "^" => Binary::Power,
        _ => return None,
    })
}

fn is_order(operator: &str) -> bool {
    matches!(operator, "<" | ">" | "<=" | ">=")
}

impl<'p> Parser<'p> {
    fn current(&self) -> &Token<'p> {
        // The last token is the end, and it is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn following(&self) -> &Token<'p> {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token<'p> {
        let token = self.current().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn unexpected(&self, token: &Token<'_>, wanted: &str) -> (Fault, Span) {
        let hint = match (token.kind, token.text.as_ref()) {
            (Kind::Operator, "=") => " To compare, write ==.",
            (Kind::Bracket, "}") if wanted.contains("end") => " An opening { is missing before it.",
            (Kind::Bracket, ")") if wanted.contains("end") => " An opening ( is missing before it.",
            _ => "",
        };
        (Fault::syntax(format!("Here should be {wanted}, not {}.{hint}", token.described())), token.span)
    }

    fn expect(&mut self, kind: Kind, text: &str) -> Parsed<Span> {
        if self.current().is(kind, text) {
            return Ok(self.take().span);
        }
        Err(self.unexpected(self.current(), &format!("`{text}`")))
    }

    fn emit(&mut self, op: Op, span: Span) -> usize {
        self.code.ops.push(op);
        self.code.spans.push(span);
        self.code.ops.len() - 1
    }

    fn here(&self) -> u32 {
        self.code.ops.len() as u32
    }

    /// Lets the jump at `place` go to what comes next.
    fn land(&mut self, place: usize) {
        let here = self.here();
        match &mut self.code.ops[place] {
            Op::Jump(to) | Op::JumpIfFalse(to) | Op::JumpIfTrue(to) | Op::JumpIfNil(to) | Op::JumpIfNotNil(to) => {
                *to = here;
            }
            other => unreachable!("only jumps land, and this is {other:?}"),
        }
    }

    fn constant(&mut self, value: Value) -> u32 {
        self.code.constants.push(value);
        (self.code.constants.len() - 1) as u32
    }

    fn name(&mut self, text: &str) -> u32 {
        // A few names come up again and again; looking through all of a long list would cost more than it saves.
        let known = self.code.constants.iter().take(64).position(|constant| constant.as_str() == Some(text));
        known.map_or_else(|| self.constant(Value::from(text)), |at| at as u32)
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let most = self.environment.limits.nesting_in_force();
        if self.nesting >= most {
            let message = format!("The expression is nested more than {most} levels deep; use let to name its parts.");
            return Err((Fault::limit(message), self.current().span));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// `let a = 1; b; c`
    fn sequence(&mut self) -> Parsed {
        let outer = self.locals.len();
        loop {
            if self.current().operator("let") {
                self.declaration()?;
                continue;
            }
            self.expression(0)?;
            if !self.current().operator(";") {
                break;
            }
            let span = self.take().span;
            if self.current().kind == Kind::End {
                break;
            }
            self.emit(Op::Pop, span);
        }
        self.locals.truncate(outer);
        Ok(())
    }

    fn declaration(&mut self) -> Parsed {
        self.take();
        let name = self.take();
        if name.kind != Kind::Identifier {
            return Err(self.unexpected(&name, "a name"));
        }
        let taken = self.locals.iter().any(|(known, _)| *known == name.text)
            || super::builtin::is_known(&name.text)
            || self.environment.given(&name.text).is_some();
        if taken {
            let message = format!("The name {} is taken already; choose another.", name.text);
            return Err((Fault::new(super::FaultKind::Value, message), name.span));
        }
        self.expect(Kind::Operator, "=")?;
        self.expression(0)?;
        self.expect(Kind::Operator, ";")?;
        let slot = self.slots;
        self.slots += 1;
        self.emit(Op::SetLocal(slot), name.span);
        self.locals.push((name.text.into_owned(), slot));
        Ok(())
    }

    fn expression(&mut self, least: u16) -> Parsed {
        self.nested(|parser| parser.expression_inside(least))
    }

    fn expression_inside(&mut self, least: u16) -> Parsed {
        if least == 0 && self.current().operator("let") {
            return self.sequence();
        }
        if least == 0 && self.current().operator("if") {
            return self.if_else();
        }
        self.primary()?;
        let mut coalesced = false;
        while self.current().kind == Kind::Operator {
            let negated = self.current().operator("not");
            let operator = if negated { self.following().clone() } else { self.current().clone() };
            let suffix = matches!(operator.text.as_ref(), "contains" | "matches" | "startsWith" | "endsWith" | "in");
            if negated && !suffix {
                return Err(self.unexpected(&operator, "in, contains, matches, startsWith or endsWith behind not"));
            }
            let Some(precedence) = precedence(&operator.text).filter(|own| *own >= least) else { break };
            if negated {
                self.take();
            }
            self.take();
            if operator.operator("|") {
                let name = self.take();
                if name.kind != Kind::Identifier {
                    return Err(self.unexpected(&name, "a function"));
                }
                self.call(&name, 1, true)?;
                coalesced = false;
                continue;
            }
            if coalesced && operator.text != "??" {
                let message = format!("`??` and `{}` cannot be mixed; put one into parentheses.", operator.text);
                return Err((Fault::syntax(message), operator.span));
            }
            coalesced = operator.text == "??";
            self.right_side(&operator, precedence)?;
            if negated {
                self.emit(Op::Not, operator.span);
            }
        }
        if least == 0 {
            self.conditional()?;
        }
        Ok(())
    }

    /// What stands right of an operator, and the operator itself.
    fn right_side(&mut self, operator: &Token<'p>, precedence: u16) -> Parsed {
        let span = operator.span;
        match operator.text.as_ref() {
            "and" | "&&" | "or" | "||" => {
                let stop = matches!(operator.text.as_ref(), "or" | "||");
                let jump = self.emit(if stop { Op::JumpIfTrue(0) } else { Op::JumpIfFalse(0) }, span);
                self.emit(Op::Pop, span);
                self.expression(precedence + 1)?;
                self.emit(Op::ExpectBool, span);
                self.land(jump);
            }
            "??" => {
                let jump = self.emit(Op::JumpIfNotNil(0), span);
                self.emit(Op::Pop, span);
                self.expression(precedence + 1)?;
                self.land(jump);
            }
            text if is_order(text) => self.order(operator, precedence)?,
            "**" | "^" => {
                self.expression(precedence)?;
                self.emit(Op::Binary(Binary::Power), span);
            }
            "matches" => {
                let start = self.code.ops.len();
                let place = self.current().span;
                self.expression(precedence + 1)?;
                self.matches(start, place, span)?;
            }
            text => {
                self.expression(precedence + 1)?;
                let Some(kind) = binary(text) else { return Err(self.unexpected(operator, "an operator")) };
                self.emit(Op::Binary(kind), span);
            }
        }
        Ok(())
    }

    /// A pattern that is a literal is compiled here, and a wrong one is an error now.
    fn matches(&mut self, start: usize, place: Span, span: Span) -> Parsed {
        let literal = match self.code.ops[start..] {
            [Op::Constant(at)] => self.code.constants[at as usize].as_str().map(Arc::<str>::from),
            _ => None,
        };
        let Some((pattern, left)) = literal.zip(self.patterns.0.checked_sub(1)) else {
            self.emit(Op::Binary(Binary::Matches), span);
            return Ok(());
        };
        let regex = regex::compile(&pattern, self.environment.limits.regex).map_err(|fault| (fault, place))?;
        self.patterns.0 = left;
        self.code.ops.pop();
        self.code.spans.pop();
        self.code.regexes.push(regex);
        let index = self.code.regexes.len() as u32 - 1;
        self.emit(Op::MatchesRegex(index), span);
        Ok(())
    }

    /// `a < b < c` means `a < b and b < c`.
    fn order(&mut self, first: &Token<'p>, precedence: u16) -> Parsed {
        let mut operator = first.clone();
        let mut exits = Vec::new();
        loop {
            self.expression(precedence + 1)?;
            let Some(kind) = binary(&operator.text) else { return Err(self.unexpected(&operator, "an operator")) };
            let more = self.current().kind == Kind::Operator && is_order(&self.current().text);
            if !more {
                self.emit(Op::Binary(kind), operator.span);
                break;
            }
            self.emit(Op::Chained(kind), operator.span);
            exits.push(self.emit(Op::JumpIfFalse(0), operator.span));
            self.emit(Op::Pop, operator.span);
            operator = self.take();
        }
        if !exits.is_empty() {
            let over = self.emit(Op::Jump(0), operator.span);
            for exit in exits {
                self.land(exit);
            }
            self.emit(Op::Nip, operator.span);
            self.land(over);
        }
        Ok(())
    }

    /// `a ? b : c`, `a ?: b`
    fn conditional(&mut self) -> Parsed {
        while self.current().operator("?") {
            let span = self.take().span;
            if self.current().operator(":") {
                self.take();
                let yes = self.emit(Op::JumpIfTrue(0), span);
                self.emit(Op::Pop, span);
                self.expression(0)?;
                self.land(yes);
                continue;
            }
            let no = self.emit(Op::JumpIfFalse(0), span);
            self.emit(Op::Pop, span);
            self.expression(0)?;
            self.expect(Kind::Operator, ":")?;
            self.otherwise(no, span, |parser| parser.expression(0))?;
        }
        Ok(())
    }

    /// `if a { b } else if c { d } else { e }`
    fn if_else(&mut self) -> Parsed {
        let span = self.take().span;
        self.expression(0)?;
        let no = self.emit(Op::JumpIfFalse(0), span);
        self.emit(Op::Pop, span);
        self.block()?;
        self.expect(Kind::Operator, "else")?;
        self.otherwise(no, span, |parser| {
            if parser.current().operator("if") { parser.nested(Self::if_else) } else { parser.block() }
        })
    }

    fn block(&mut self) -> Parsed {
        self.expect(Kind::Bracket, "{")?;
        self.sequence()?;
        self.expect(Kind::Bracket, "}")?;
        Ok(())
    }

    fn otherwise(&mut self, no: usize, span: Span, branch: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let over = self.emit(Op::Jump(0), span);
        self.land(no);
        self.emit(Op::Pop, span);
        branch(self)?;
        self.land(over);
        Ok(())
    }
}
