//! Reading constraints.

use std::fmt;
use std::str::FromStr;

use super::number::{Version, loose};
use super::term::{Open, Operator, Term};
use crate::error::{Error, ErrorKind, Result};

/// A version constraint, such as `^1.2`, `>=1.0 <2.0 || 3.x` or `1.2 - 1.4`.
///
/// | written | admits |
/// |---|---|
/// | `1.2.3`, `=1.2.3` | exactly this version |
/// | `1.2`, `1.2.x`, `~1.2`, `~>1.2` | 1.2.x |
/// | `^1.2.3` | from 1.2.3 up to, without, 2.0.0; for 0.x the minor stays, for 0.0.x the patch |
/// | `!=1.2`, `>1.2`, `<=1.2` | the whole of 1.2.x is meant |
/// | `1.2 - 1.4` | `>=1.2, <=1.4`; blanks around the hyphen are needed |
/// | `*`, `x` | every release |
///
/// Terms with a blank or a comma between them must all hold; `||` separates groups of which one must. Pre-releases are
/// admitted only in a group that names one: `>=1.2.0-0` admits 1.3.0-rc.1, `>=1.2.0` does not. Build metadata is
/// ignored.
#[derive(Debug, Clone)]
pub struct Constraint {
    groups: Vec<Group>,
    text: String,
}

#[derive(Debug, Clone)]
struct Group {
    terms: Vec<Term>,
    pre_releases: bool,
}

impl Constraint {
    /// Reads a constraint. An empty one is an error: leave the constraint out to admit every version.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names what could not be read.
    pub fn parse(text: &str) -> Result<Self> {
        let groups = text.split("||").map(|group| Reader::new(group).group()).collect::<Result<_, _>>();
        match groups {
            Ok(groups) => Ok(Self { groups, text: text.to_owned() }),
            Err(fault) => Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "The version constraint {text:?} cannot be read: {fault}. \
                     Write for example \"^1.2\", \">=1.0 <2.0\" or \"1.x || 2.x\"."
                ),
            )),
        }
    }

    /// Whether `version` fits.
    pub fn matches(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| group.terms.iter().all(|term| term.admits(version.value(), group.pre_releases)))
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Constraint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Reads one group of terms, left to right.
struct Reader<'a> {
    rest: &'a str,
}

/// A version as a term has it: numbers may be missing or wildcards.
struct Partial<'a> {
    text: &'a str,
    numbers: [&'a str; 3],
    /// With its hyphen.
    pre_release: &'a str,
}

type Fault = String;

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn group(mut self) -> Result<Group, Fault> {
        let mut terms = Vec::new();
        // A hyphen range must not follow a mere blank, because there "1 2 - 3" could be meant in two ways.
        let mut range_allowed = true;
        self.blanks();
        loop {
            let ranged = self.term(&mut terms, range_allowed)?;
            let blanks = self.blanks();
            if self.rest.is_empty() {
                let pre_releases = terms.iter().any(Term::names_pre_release);
                return Ok(Group { terms, pre_releases });
            }
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                self.blanks();
                range_allowed = true;
            } else if blanks || ranged {
                range_allowed = ranged;
            } else {
                return Err(format!("{:?} follows a version without a blank, a comma or \"||\"", self.rest));
            }
        }
    }

    /// Reads a term or a range, and says whether it was a range.
    fn term(&mut self, terms: &mut Vec<Term>, range_allowed: bool) -> Result<bool, Fault> {
        let operator = Operator::split(self.rest).map(|(operator, rest)| {
            self.rest = rest;
            operator
        });
        self.blanks();
        let from = self.partial()?;
        let Some(to) = self.range_end()? else {
            terms.push(from.into_term(operator.unwrap_or(Operator::Equal))?);
            return Ok(false);
        };
        if operator.is_some() || !range_allowed {
            return Err(format!(
                "the range \"{} - {}\" must stand alone; put \",\" or \"||\" before it and no operator",
                from.text, to.text
            ));
        }
        terms.push(from.into_term(Operator::GreaterOrEqual)?);
        terms.push(to.into_term(Operator::LessOrEqual)?);
        Ok(true)
    }

    /// The version after ` - `, when there is one.
    fn range_end(&mut self) -> Result<Option<Partial<'a>>, Fault> {
        let mut ahead = Reader::new(self.rest);
        if !ahead.blanks() {
            return Ok(None);
        }
        let Some(rest) = ahead.rest.strip_prefix('-') else { return Ok(None) };
        ahead.rest = rest;
        if !ahead.blanks() {
            return Ok(None);
        }
        let to = ahead.partial()?;
        self.rest = ahead.rest;
        Ok(Some(to))
    }

    fn partial(&mut self) -> Result<Partial<'a>, Fault> {
        let start = self.rest;
        self.rest = self.rest.strip_prefix('v').unwrap_or(self.rest);
        let mut numbers = [""; 3];
        numbers[0] = self.take(is_number_or_wildcard);
        if numbers[0].is_empty() {
            return Err(match start {
                "" => "a version is missing".to_owned(),
                start => format!("{start:?} does not begin with a version"),
            });
        }
        for number in &mut numbers[1..] {
            let Some(rest) = self.rest.strip_prefix('.') else { break };
            let mut ahead = Reader::new(rest);
            *number = ahead.take(is_number_or_wildcard);
            if number.is_empty() {
                break;
            }
            self.rest = ahead.rest;
        }
        let pre_release = self.identifiers('-');
        self.identifiers('+');
        Ok(Partial { text: &start[..start.len() - self.rest.len()], numbers, pre_release })
    }

    /// Dot-separated identifiers after `mark`, with the mark. A dot without an identifier behind it is left alone.
    fn identifiers(&mut self, mark: char) -> &'a str {
        let start = self.rest;
        let Some(mut ahead) = self.rest.strip_prefix(mark).map(Reader::new) else { return "" };
        while !ahead.take(|c| c.is_ascii_alphanumeric() || c == '-').is_empty() {
            self.rest = ahead.rest;
            match ahead.rest.strip_prefix('.') {
                Some(rest) => ahead.rest = rest,
                None => break,
            }
        }
        &start[..start.len() - self.rest.len()]
    }

    fn take(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accepts(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Skips blanks, and says whether there were any.
    fn blanks(&mut self) -> bool {
        !self.take(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')).is_empty()
    }
}

fn is_number_or_wildcard(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, 'x' | 'X' | '*')
}

impl Partial<'_> {
    fn into_term(self, operator: Operator) -> Result<Term, Fault> {
        let [major, minor, patch] = self.numbers;
        let is_open = |number: &str| number.is_empty() || matches!(number, "x" | "X" | "*");
        let pre_release = self.pre_release;
        // A number behind a wildcard means nothing: `1.x.3` is `1.x`.
        let (open, text) = if is_open(major) {
            (Open::Major, format!("0.0.0{pre_release}"))
        } else if is_open(minor) {
            (Open::Minor, format!("{major}.0.0{pre_release}"))
        } else if is_open(patch) {
            (Open::Patch, format!("{major}.{minor}.0{pre_release}"))
        } else {
            (Open::Nothing, format!("{major}.{minor}.{patch}{pre_release}"))
        };
        let version = loose(&text).map_err(|fault| format!("{:?} is not a version: {fault}", self.text))?;
        Ok(Term { operator, version, open })
    }
}
