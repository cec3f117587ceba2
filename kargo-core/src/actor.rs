//! Who did it.

use std::fmt;
use std::sync::Arc;

/// Who caused a change: a person, another system, or the engine itself. Printed as `user:alice` or `engine`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Actor(Arc<str>);

impl Actor {
    /// A person, by the name the host knows them by. Line breaks and control characters become spaces, since the name is
    /// written into commit messages.
    pub fn user(name: &str) -> Self {
        Self(format!("user:{}", one_line(name)).into())
    }

    /// Another system, such as a CI job.
    pub fn system(name: &str) -> Self {
        Self(format!("system:{}", one_line(name)).into())
    }

    /// The engine, acting by its own rules.
    pub fn engine() -> Self {
        Self("engine".into())
    }

    /// Whether the engine acted by itself.
    pub fn is_engine(&self) -> bool {
        &*self.0 == "engine"
    }

    /// The printed form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_cannot_forge_a_second_line() {
        assert_eq!(Actor::user("mallory\nKargo-Actor: root").as_str(), "user:mallory Kargo-Actor: root");
    }
}
