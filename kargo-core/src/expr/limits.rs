//! How much an expression may take, and the meter that watches it.

use std::ops::{Deref, DerefMut};

use super::error::Fault;

/// How much one expression may take, or all the expressions of one template or configuration together. Each limit that is
/// reached is an error that names it.
///
/// The defaults are far above what promotion files need, and far below what a host would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one expression's source. Default 16 KiB. The text around it in a template does not count.
    pub source: usize,
    /// How deeply brackets, operators and closures may be nested. Default 64, and at most 128.
    pub nesting: usize,
    /// Steps of one evaluation: each operation is one, and functions take more for longer values. Default 1,000,000.
    pub steps: u64,
    /// Bytes that one evaluation may produce, counted over all intermediate values. Default 16 MiB.
    pub memory: usize,
    /// Bytes that a compiled regular expression may take. Default 1 MiB. Matching takes linear time.
    pub regex: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { source: 16 << 10, nesting: 64, steps: 1_000_000, memory: 16 << 20, regex: 1 << 20 }
    }
}

impl Limits {
    /// Sets the bytes of one expression's source.
    #[must_use]
    pub fn source(mut self, bytes: usize) -> Self {
        self.source = bytes;
        self
    }

    /// Sets how deeply an expression may be nested, up to 128.
    #[must_use]
    pub fn nesting(mut self, levels: usize) -> Self {
        self.nesting = levels;
        self
    }

    /// Sets the bytes that a compiled regular expression may take.
    #[must_use]
    pub fn regex(mut self, bytes: usize) -> Self {
        self.regex = bytes;
        self
    }

    /// Sets the number of steps of one evaluation.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the bytes that one evaluation may produce.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// The nesting in force. The ceiling is what fits into the smallest usual stack of a thread.
    pub(super) fn nesting_in_force(&self) -> usize {
        self.nesting.min(128)
    }
}

/// What is left of the limits during one evaluation.
#[derive(Debug)]
pub(super) struct Meter {
    steps: u64,
    memory: usize,
    limits: Limits,
}

/// What one element of a list or a map is counted as, in bytes.
pub(super) const ELEMENT: usize = 32;

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { steps: limits.steps, memory: limits.memory, limits }
    }

    pub(super) fn regex(&self) -> usize {
        self.limits.regex
    }

    /// Takes steps.
    #[inline]
    pub(super) fn steps(&mut self, count: usize) -> Result<(), Fault> {
        match self.steps.checked_sub(count as u64) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(Fault::limit(format!(
                "The expression takes more than {} steps; work on fewer elements.",
                self.limits.steps
            ))),
        }
    }

    /// Takes memory for so many bytes of text, before they are made.
    pub(super) fn bytes(&mut self, count: usize) -> Result<(), Fault> {
        match self.memory.checked_sub(count) {
            Some(left) => {
                self.memory = left;
                self.steps(count / 64)
            }
            None => Err(Fault::limit(format!(
                "The expression makes more than {} bytes of values; work on shorter texts or fewer elements.",
                self.limits.memory
            ))),
        }
    }

    /// Takes memory for so many elements, before they are made.
    pub(super) fn elements(&mut self, count: usize) -> Result<(), Fault> {
        self.steps(count)?;
        self.bytes(count.saturating_mul(ELEMENT))
    }
}

/// A text in the making. The meter counts what was written from time to time, so that a value that shares its parts cannot become endless
/// text.
#[derive(Debug)]
pub(super) struct Metered<'m> {
    text: String,
    meter: &'m mut Meter,
    /// How many bytes of the text were counted.
    counted: usize,
}

impl<'m> Metered<'m> {
    pub(super) fn new(meter: &'m mut Meter) -> Self {
        Self { text: String::new(), meter, counted: 0 }
    }

    pub(super) fn meter(&mut self) -> &mut Meter {
        self.meter
    }

    /// Counts what is new.
    pub(super) fn charge(&mut self) -> Result<(), Fault> {
        let new = self.text.len() - self.counted;
        self.counted = self.text.len();
        self.meter.bytes(new)
    }

    pub(super) fn finish(mut self) -> Result<String, Fault> {
        self.charge()?;
        Ok(self.text)
    }
}

impl Deref for Metered<'_> {
    type Target = String;

    fn deref(&self) -> &String {
        &self.text
    }
}

impl DerefMut for Metered<'_> {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.text
    }
}
