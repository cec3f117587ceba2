//! Whose signatures a check accepts, and of which images.

/// Adds the setters of both to a configuration.
macro_rules! signers {
    ($of:ty) => {
        impl $of {
            /// Adds another key, in PEM, that is trusted as well, such as while keys are changed.
            #[must_use]
            pub fn or_key(mut self, key: impl Into<String>) -> Self {
                self.keys.push(key.into());
                self
            }

            /// Adds another identity that is trusted as well.
            #[must_use]
            pub fn or_identity(mut self, identity: $crate::SignerIdentity) -> Self {
                self.identities.push(identity);
                self
            }

            /// Looks at the image of this repository only, or of others that are added in the same way.
            #[must_use]
            pub fn image(mut self, repo_url: impl Into<String>) -> Self {
                self.images.push(repo_url.into());
                self
            }
        }
    };
}

pub(crate) use signers;
