//! What two changes may have against each other.

use std::collections::BTreeMap;
use std::fmt;

use crate::lines::{self, Lines};

/// The names at which two changes do not go together, and why.
pub(in crate::steps) type Conflicts = BTreeMap<String, Fault>;

/// Why two changes of a name do not go together. "There" is the branch, "here" is the promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::steps) enum Fault {
    /// Both have changed these lines, of the file there.
    Lines(Vec<Lines>),
    /// Both have changed a file that is no text.
    Binary,
    /// Both have changed a file of more lines than are compared.
    TooLong,
    /// Only one of both may be executed.
    Mode,
    /// Both have changed where a link leads.
    Link,
    /// Both have moved a submodule.
    Submodule,
    /// A file here is a link or a submodule there, or the other way round.
    Kind,
    /// A directory on one side is something else on the other.
    Directory,
    /// It was removed here and changed there.
    RemovedHere,
    /// It was changed here and removed there.
    RemovedThere,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines(lines) => return f.write_str(&lines::shown(lines)),
            Self::Binary => "it is no text",
            Self::TooLong => return write!(f, "it has more than {} lines, too many to compare", lines::MAX_LINES),
            Self::Mode => "it is executable on one side",
            Self::Link => "it is a symbolic link",
            Self::Submodule => "it is a submodule",
            Self::Kind => "it became something else on one side",
            Self::Directory => "it is a directory on one side",
            Self::RemovedHere => "the promotion removes it",
            Self::RemovedThere => "it was removed",
        })
    }
}

/// The first of them, for an error.
pub(in crate::steps) fn list(conflicts: &Conflicts) -> String {
    const SHOWN: usize = 10;
    let each: Vec<String> = conflicts.iter().take(SHOWN).map(|(path, fault)| format!("{path} ({fault})")).collect();
    match conflicts.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", each.join(", ")),
        _ => each.join(", "),
    }
}
