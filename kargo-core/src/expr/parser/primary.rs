//! Literals, names, brackets, and what can stand behind them.

use super::{Kind, Parsed, Parser, Token};
use crate::expr::error::{Fault, Span};
use crate::expr::lexer::letter;
use crate::expr::number;
use crate::expr::program::Op;
use crate::expr::value::Value;

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Parsed {
        let token = self.current().clone();
        match (token.kind, token.text.as_ref()) {
            (Kind::Operator, "not" | "!" | "-" | "+") => {
                self.take();
                let (op, precedence) = match token.text.as_ref() {
                    "-" => (Op::Negate, 90),
                    "+" => (Op::Plus, 90),
                    _ => (Op::Not, 50),
                };
                self.expression(precedence)?;
                self.emit(op, token.span);
                self.postfix()
            }
            (Kind::Bracket, "(") => {
                self.take();
                self.sequence()?;
                self.expect(Kind::Bracket, ")")?;
                self.postfix()
            }
            (Kind::Operator, "#" | ".") if self.closures > 0 => {
                let mut op = Op::Item;
                if token.text == "#" {
                    self.take();
                    // `#acc` is one word: nothing may stand in between.
                    if self.current().kind == Kind::Identifier && self.current().span.start == token.span.end {
                        op = match self.current().text.as_ref() {
                            "index" => Op::ItemIndex,
                            "acc" => Op::Accumulator,
                            _ => return Err(self.unexpected(self.current(), "#, #index or #acc")),
                        };
                        self.take();
                    }
                }
                self.emit(op, token.span);
                self.postfix()
            }
            (Kind::Operator, "#") => {
                let message = "# stands for an element only within a closure, as in filter(list, # > 1).";
                Err((Fault::syntax(message), token.span))
            }
            (Kind::Operator, "::") => {
                self.take();
                let name = self.take();
                if name.kind != Kind::Identifier {
                    return Err(self.unexpected(&name, "a function of the language"));
                }
                self.call(&name, 0, false)?;
                self.postfix()
            }
            (Kind::Identifier, "true") => self.literal(Op::Bool(true)),
            (Kind::Identifier, "false") => self.literal(Op::Bool(false)),
            (Kind::Identifier, "nil") => self.literal(Op::Nil),
            (Kind::Identifier, _) => {
                self.take();
                if self.current().bracket("(") {
                    self.call(&token, 0, true)?;
                } else {
                    self.variable(&token)?;
                }
                self.postfix()
            }
            (Kind::Number, text) => {
                let op = number::literal(text).map_err(|message| (Fault::syntax(message), token.span))?;
                self.take();
                let op = match op {
                    Value::Int(value) => Op::Int(value),
                    other => Op::Constant(self.constant(other)),
                };
                self.emit(op, token.span);
                Ok(())
            }
            (Kind::String, text) => {
                let at = self.name(text);
                self.take();
                self.emit(Op::Constant(at), token.span);
                self.postfix()
            }
            (Kind::Bracket, "[") => {
                self.list(token.span)?;
                self.postfix()
            }
            (Kind::Bracket, "{") => {
                self.map(token.span)?;
                self.postfix()
            }
            _ => Err(self.unexpected(&token, "a value")),
        }
    }

    /// Nothing can stand behind these.
    fn literal(&mut self, op: Op) -> Parsed {
        let span = self.take().span;
        self.emit(op, span);
        Ok(())
    }

    fn variable(&mut self, name: &Token<'_>) -> Parsed {
        if let Some((_, slot)) = self.locals.iter().find(|(known, _)| *known == name.text) {
            let slot = *slot;
            self.emit(Op::Local(slot), name.span);
        } else if name.text == "$env" {
            self.emit(Op::Everything, name.span);
        } else {
            let variable = self.name(&name.text);
            // One member of a variable is read by itself, so that reading it does not count as reading the others.
            if self.current().operator(".") && self.following().kind == Kind::Identifier {
                let behind = self.tokens.get(self.at + 2);
                if !behind.is_some_and(|token| token.bracket("(")) {
                    self.take();
                    let member = self.take();
                    let key = self.name(&member.text);
                    self.emit(Op::VariableMember(variable, key), name.span.to(member.span));
                    return Ok(());
                }
            }
            self.emit(Op::Variable(variable), name.span);
        }
        Ok(())
    }

    fn list(&mut self, span: Span) -> Parsed {
        self.take();
        let mut count = 0;
        while !self.current().bracket("]") {
            if count > 0 {
                self.expect_more("]")?;
                if self.current().bracket("]") {
                    break;
                }
            }
            self.expression(0)?;
            count += 1;
        }
        let end = self.expect(Kind::Bracket, "]")?;
        self.emit(Op::List(count), span.to(end));
        Ok(())
    }

    fn map(&mut self, span: Span) -> Parsed {
        self.take();
        let mut count = 0;
        while !self.current().bracket("}") {
            if count > 0 {
                self.expect_more("}")?;
                if self.current().bracket("}") {
                    break;
                }
            }
            let key = self.current().clone();
            match key.kind {
                Kind::Number | Kind::String | Kind::Identifier => {
                    self.take();
                    let at = self.name(&key.text);
                    self.emit(Op::Constant(at), key.span);
                }
                Kind::Bracket if key.text == "(" => self.expression(0)?,
                _ => return Err(self.unexpected(&key, "a key (a name, a string, or an expression in parentheses)")),
            }
            self.expect(Kind::Operator, ":")?;
            self.expression(0)?;
            count += 1;
        }
        let end = self.expect(Kind::Bracket, "}")?;
        self.emit(Op::Map(count), span.to(end));
        Ok(())
    }

    /// A comma, or the end that is not there yet.
    pub(super) fn expect_more(&mut self, close: &str) -> Parsed {
        if self.current().operator(",") {
            self.take();
            return Ok(());
        }
        Err(self.unexpected(self.current(), &format!("`,` or `{close}`")))
    }

    /// `.name`, `?.name`, `.method()`, `[index]`, `[from:to]`, as many as there are.
    pub(super) fn postfix(&mut self) -> Parsed {
        let mut exits = Vec::new();
        loop {
            let token = self.current().clone();
            match (token.kind, token.text.as_ref()) {
                (Kind::Operator, "." | "?.") => {
                    self.take();
                    if token.text == "?." {
                        exits.push(self.emit(Op::JumpIfNil(0), token.span));
                        if self.current().bracket("[") {
                            self.brackets()?;
                            continue;
                        }
                    }
                    self.member()?;
                }
                (Kind::Bracket, "[") => self.brackets()?,
                _ => break,
            }
        }
        for exit in exits {
            self.land(exit);
        }
        Ok(())
    }

    fn member(&mut self) -> Parsed {
        let name = self.take();
        let word = name.kind == Kind::Operator && name.text.chars().next().is_some_and(letter);
        if name.kind != Kind::Identifier && !word {
            return Err(self.unexpected(&name, "a name behind the dot (for other keys write [\"…\"])"));
        }
        let key = self.name(&name.text);
        if self.current().bracket("(") {
            let count = self.arguments(0)?;
            self.emit(Op::Method(key, count), name.span);
        } else {
            self.emit(Op::Member(key), name.span);
        }
        Ok(())
    }

    fn brackets(&mut self) -> Parsed {
        let open = self.take().span;
        let mut from = false;
        if !self.current().operator(":") {
            self.expression(0)?;
            from = true;
        }
        if self.current().operator(":") {
            self.take();
            let to = !self.current().bracket("]");
            if to {
                self.expression(0)?;
            }
            let close = self.expect(Kind::Bracket, "]")?;
            self.emit(Op::Slice(from, to), open.to(close));
        } else {
            let close = self.expect(Kind::Bracket, "]")?;
            self.emit(Op::Index, open.to(close));
        }
        Ok(())
    }
}
