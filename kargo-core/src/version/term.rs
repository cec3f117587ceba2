//! One term of a constraint, such as `>=1.2` or `1.x`, and what it admits.

use std::cmp::Ordering;

use semver::Version;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

impl Operator {
    /// Longer spellings first, so that `>=` is never taken for `>`.
    const SPELLINGS: [(&'static str, Self); 11] = [
        ("!=", Self::NotEqual),
        (">=", Self::GreaterOrEqual),
        ("=>", Self::GreaterOrEqual),
        ("<=", Self::LessOrEqual),
        ("=<", Self::LessOrEqual),
        ("~>", Self::Tilde),
        ("=", Self::Equal),
        (">", Self::Greater),
        ("<", Self::Less),
        ("~", Self::Tilde),
        ("^", Self::Caret),
    ];

    /// Takes an operator off the front of `text`.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        Self::SPELLINGS.iter().find_map(|(spelling, operator)| Some((*operator, text.strip_prefix(spelling)?)))
    }
}

/// Which numbers of a term's version were written: `1.x` and `1` leave the second open, `1.2` and `1.2.x` the third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    Nothing,
    Patch,
    Minor,
    Major,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) operator: Operator,
    pub(super) version: Version,
    pub(super) open: Open,
}

impl Term {
    pub(super) fn names_pre_release(&self) -> bool {
        !self.version.pre.is_empty()
    }

    /// Whether the term admits `version`. Pre-releases are admitted only when the group of terms names one.
    pub(super) fn admits(&self, version: &Version, pre_releases: bool) -> bool {
        if !version.pre.is_empty() && !pre_releases {
            return false;
        }
        let order = version.cmp_precedence(&self.version);
        match self.operator {
            Operator::Equal if self.open == Open::Nothing => order == Ordering::Equal,
            Operator::Equal | Operator::Tilde => order != Ordering::Less && self.within_tilde(version),
            Operator::Caret => order != Ordering::Less && self.within_caret(version),
            Operator::NotEqual => self.differs(version, order),
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::Greater => match self.open {
                // `>1` means past all of 1.x, `>1.2` past all of 1.2.x.
                Open::Minor => version.major > self.version.major,
                Open::Patch => (version.major, version.minor) > (self.version.major, self.version.minor),
                Open::Nothing | Open::Major => order == Ordering::Greater,
            },
            Operator::LessOrEqual => match self.open {
                Open::Nothing => order != Ordering::Greater,
                // `<=1` means up to and with all of 1.x, `<=1.2` with all of 1.2.x.
                Open::Minor => version.major <= self.version.major,
                Open::Patch | Open::Major => (version.major, version.minor) <= (self.version.major, self.version.minor),
            },
        }
    }

    fn within_tilde(&self, version: &Version) -> bool {
        let base = &self.version;
        // `*` and, oddly, `~0.0.0` admit everything from 0.0.0 on.
        if matches!(self.open, Open::Nothing | Open::Major) && (base.major, base.minor, base.patch) == (0, 0, 0) {
            return true;
        }
        version.major == base.major && (version.minor == base.minor || self.open == Open::Minor)
    }

    /// The leftmost number that is not zero must stay.
    fn within_caret(&self, version: &Version) -> bool {
        let base = &self.version;
        if base.major > 0 || self.open == Open::Minor {
            return version.major == base.major;
        }
        if base.minor > 0 || self.open == Open::Patch {
            return version.major == 0 && version.minor == base.minor;
        }
        (version.major, version.minor, version.patch) == (0, 0, base.patch)
    }

    fn differs(&self, version: &Version, order: Ordering) -> bool {
        let base = &self.version;
        match self.open {
            Open::Minor => version.major != base.major,
            Open::Patch => {
                (version.major, version.minor) != (base.major, base.minor)
                    || ((!version.pre.is_empty() || !base.pre.is_empty()) && version.pre != base.pre)
            }
            Open::Nothing | Open::Major => order != Ordering::Equal,
        }
    }
}
