//! What there will be to run the manifests.

use crate::plugin::Plugins;

/// The steps that will be there, for [`lint`](super::lint()): their names alone, such as [`STEPS`](super::STEPS), or the plug-ins
/// themselves ([`Plugins`]), which also say what they make of each configuration.
pub trait KnownSteps {
    /// The `uses:` names.
    fn names(&self) -> Vec<&str>;

    /// The plug-ins, where they are at hand. Default: they are not.
    fn plugins(&self) -> Option<&Plugins> {
        None
    }
}

impl<S: AsRef<str>> KnownSteps for [S] {
    fn names(&self) -> Vec<&str> {
        self.iter().map(AsRef::as_ref).collect()
    }
}

impl<S: AsRef<str>, const N: usize> KnownSteps for [S; N] {
    fn names(&self) -> Vec<&str> {
        self.as_slice().names()
    }
}

impl<S: AsRef<str>> KnownSteps for Vec<S> {
    fn names(&self) -> Vec<&str> {
        self.as_slice().names()
    }
}

impl KnownSteps for Plugins {
    fn names(&self) -> Vec<&str> {
        self.step_names().collect()
    }

    fn plugins(&self) -> Option<&Plugins> {
        Some(self)
    }
}
