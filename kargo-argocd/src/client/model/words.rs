//! The words of a fixed list, with room for those of other releases.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that this crate does not know.
            Other(String),
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $(stringify!($variant) => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => stringify!($variant),)*
                    Self::Other(text) => text,
                })
            }
        }
    };
}

words! {
    /// Whether the cluster holds what the compared revision asks for.
    SyncCode {
        /// It does.
        Synced,
        /// It does not.
        OutOfSync,
        /// Argo CD could not compare.
        Unknown,
    }
}

words! {
    /// How well an application or a resource is, in Argo CD's words.
    HealthCode {
        /// All is well.
        Healthy,
        /// Paused, such as a Rollout that waits for a person.
        Suspended,
        /// On its way.
        Progressing,
        /// Not there.
        Missing,
        /// Broken.
        Degraded,
        /// Not known.
        Unknown,
    }
}

words! {
    /// How an operation stands.
    OperationPhase {
        /// Under way; with a `finishedAt`, it waits for its next try.
        Running,
        /// Being stopped.
        Terminating,
        /// Did all it should.
        Succeeded,
        /// Ended without success.
        Failed,
        /// Could not be carried out.
        Error,
    }
}

words! {
    /// How a rendering stands.
    HydrationPhase {
        /// Under way.
        Hydrating,
        /// Done.
        Hydrated,
        /// Ended without success; it is tried again after a while.
        Failed,
    }
}

impl OperationPhase {
    /// Whether the operation has ended.
    pub fn is_completed(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }
}
