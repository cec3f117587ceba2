//! What an expression reads, without evaluating it: for those who check files.

use std::ops::Range;

use super::environment::Callee;
use super::program::{Op, Program};
use super::value::Value;

/// A variable that an expression reads, with the members that are named right behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read<'p> {
    /// The variable, and then the members: `outputs`, `push`, `commit`. A member that is computed ends the list.
    pub path: Vec<&'p str>,
    /// Where the variable stands in the source, in bytes.
    pub place: Range<usize>,
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call<'p> {
    /// The function.
    pub function: &'p str,
    /// The arguments, when all are texts that stand there, or `warehouse("…")`.
    pub arguments: Option<Vec<Argument<'p>>>,
    /// Where it stands in the source, in bytes.
    pub place: Range<usize>,
}

/// An argument that is known without evaluating anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument<'p> {
    /// A text.
    Text(&'p str),
    /// `warehouse("…")`.
    Warehouse(&'p str),
}

impl Program {
    /// What the expression reads, in its order.
    ///
    /// ```
    /// use kargo_core::expr::{Environment, Program};
    ///
    /// let program = Program::compile("outputs['open-pr'].pr.id + vars.x", &Environment::step())?;
    /// let paths: Vec<_> = program.reads().into_iter().map(|read| read.path).collect();
    /// assert_eq!(paths, [vec!["outputs", "open-pr", "pr", "id"], vec!["vars", "x"]]);
    /// # Ok::<(), kargo_core::expr::Error>(())
    /// ```
    pub fn reads(&self) -> Vec<Read<'_>> {
        let mut reads = Vec::new();
        for (at, op) in self.code().ops.iter().enumerate() {
            let mut path = match op {
                Op::Variable(name) => vec![self.text(*name)],
                Op::VariableMember(name, member) => vec![self.text(*name), self.text(*member)],
                _ => continue,
            };
            let mut next = at + 1;
            loop {
                match self.code().ops.get(next..) {
                    Some([Op::JumpIfNil(_), ..]) => next += 1,
                    Some([Op::Member(name), ..]) => {
                        path.push(self.text(*name));
                        next += 1;
                    }
                    Some([Op::Constant(name), Op::Index, ..]) if self.literal(*name).is_some() => {
                        path.push(self.text(*name));
                        next += 2;
                    }
                    _ => break,
                }
            }
            reads.push(Read { path, place: self.place(at) });
        }
        reads
    }

    /// The expression as it is written.
    pub fn source(&self) -> &str {
        let (start, end) = self.code().place;
        self.code().source.get(start..end).unwrap_or_default()
    }

    /// The functions that the expression calls, in the order in which their calls end.
    pub fn calls(&self) -> Vec<Call<'_>> {
        let ops = self.code().ops.iter().enumerate();
        ops.filter_map(|(at, op)| match op {
            Op::Call(callee, count) => Some(Call {
                function: self.function(*callee),
                arguments: self.arguments(at, *count),
                place: self.place(at),
            }),
            _ => None,
        })
        .collect()
    }

    /// The arguments of the call at `at`, the last first in the operations.
    fn arguments(&self, at: usize, count: u32) -> Option<Vec<Argument<'_>>> {
        let mut arguments = Vec::new();
        let mut rest = self.code().ops.get(..at)?;
        for _ in 0..count {
            let argument = match rest {
                [before @ .., Op::Constant(text), Op::Call(callee, 1)] if self.function(*callee) == "warehouse" => {
                    rest = before;
                    Argument::Warehouse(self.literal(*text)?)
                }
                [before @ .., Op::Constant(text)] => {
                    rest = before;
                    Argument::Text(self.literal(*text)?)
                }
                _ => return None,
            };
            arguments.push(argument);
        }
        arguments.reverse();
        Some(arguments)
    }

    fn function(&self, callee: u32) -> &str {
        match self.code().callees.get(callee as usize) {
            Some(Callee::Native(definition)) => definition.name,
            Some(Callee::Custom(function)) => function.name(),
            None => "",
        }
    }

    fn literal(&self, constant: u32) -> Option<&str> {
        self.code().constants.get(constant as usize).and_then(Value::as_str)
    }

    fn text(&self, constant: u32) -> &str {
        self.literal(constant).unwrap_or_default()
    }

    fn place(&self, at: usize) -> Range<usize> {
        let span = self.code().spans.get(at).copied().unwrap_or_default();
        span.start as usize..span.end as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Environment, Template};

    fn paths(expression: &str) -> Vec<Vec<String>> {
        let program = Program::compile(expression, &Environment::step()).unwrap();
        program.reads().into_iter().map(|read| read.path.into_iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn variables_are_found_with_their_members() {
        assert_eq!(paths("outputs.push.commit"), [["outputs", "push", "commit"]]);
        assert_eq!(paths("outputs['push']?.commit ?? 'x'"), [["outputs", "push", "commit"]]);
        assert_eq!(paths("outputs?.push"), [["outputs", "push"]]);
        assert_eq!(paths("task.outputs['a::b']"), [["task", "outputs", "a::b"]]);
        assert_eq!(paths("outputs[vars.x].y"), [vec!["outputs"], vec!["vars", "x"]]);
        assert_eq!(paths("let x = 1; x + 'vars.y'").len(), 0);
        assert_eq!(paths("filter(outputs.a, .ok)"), [["outputs", "a"]]);
    }

    #[test]
    fn calls_are_found_with_what_is_known_of_their_arguments() {
        let text = "a ${{ imageFrom('x', warehouse('main')).Tag }} ${{ status('y') + quote(vars.z) }}";
        let template = Template::parse(text, &Environment::step()).unwrap();
        let calls: Vec<Call<'_>> = template.programs().flat_map(Program::calls).collect();
        let names: Vec<&str> = calls.iter().map(|call| call.function).collect();
        assert_eq!(names, ["warehouse", "imageFrom", "status", "quote"]);
        assert_eq!(calls[1].arguments, Some(vec![Argument::Text("x"), Argument::Warehouse("main")]));
        assert_eq!(calls[2].arguments, Some(vec![Argument::Text("y")]));
        assert_eq!(calls[3].arguments, None);
        assert_eq!(&text[calls[2].place.clone()], "status('y')");
    }
}
