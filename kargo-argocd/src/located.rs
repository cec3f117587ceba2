//! What is found by a project and a namespace.

/// Adds the setters of both.
macro_rules! located {
    ($of:ty) => {
        impl $of {
            /// Sets the project.
            #[must_use]
            pub fn project(mut self, project: impl Into<String>) -> Self {
                self.project = Some(project.into());
                self
            }

            /// Sets the namespace.
            #[must_use]
            pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
                self.namespace = Some(namespace.into());
                self
            }
        }
    };
}

pub(crate) use located;
