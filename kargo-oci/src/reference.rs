//! References to images, as steps have them: a repository with a tag or a digest.

use std::fmt;

use kargo_core::{Error, ErrorKind, Result};

use crate::repository::{Repository, checked_digest, checked_tag, scrub_user_info};

/// `host/name:tag`, `host/name@sha256:…`, or both, of which the digest counts then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) repository: Repository,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Reference {
    /// Reads a reference, with `oci://` before it or not. `field` is where it stands, for errors.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that says what is wrong.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            let shown = scrub_user_info(text);
            Error::new(ErrorKind::InvalidInput, format!("The {field} {shown:?} {why}."))
        };
        let rest = text.strip_prefix("oci://").unwrap_or(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                checked_digest(digest).map_err(|_| invalid("has something behind its @ that is not a digest"))?;
                (rest, Some(digest.to_owned()))
            }
            None => (rest, None),
        };
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (url, tag) = match rest[last..].rsplit_once(':') {
            Some((_, tag)) => {
                checked_tag(tag).map_err(|error| invalid("has no valid tag").because(error))?;
                (&rest[..rest.len() - tag.len() - 1], Some(tag.to_owned()))
            }
            None => (rest, None),
        };
        if tag.is_none() && digest.is_none() {
            return Err(invalid("has neither tag nor digest; write one, such as ghcr.io/acme/app:1.2.0"));
        }
        Ok(Self { repository: Repository::parse(url)?, tag, digest })
    }

    /// What stands behind the repository: the digest, or else the tag.
    pub(crate) fn name(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_with_tag_digest_or_both() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, expected, name) in [
            ("ghcr.io/acme/app:1.2.0", "ghcr.io/acme/app:1.2.0", "1.2.0"),
            ("oci://localhost:5000/charts/shop:1.0.0_b1", "localhost:5000/charts/shop:1.0.0_b1", "1.0.0_b1"),
            ("nginx:1", "docker.io/library/nginx:1", "1"),
            (&format!("r.example:5000/a@{digest}"), &format!("r.example:5000/a@{digest}"), &digest),
            (&format!("r.example/a:1@{digest}"), &format!("r.example/a:1@{digest}"), &digest),
        ] {
            let reference = Reference::parse("srcRef", text).unwrap();
            assert_eq!((reference.to_string().as_str(), reference.name()), (expected, name));
        }
        for text in
            ["", "ghcr.io/acme/app", "r.example:5000/app", "r.example/app:", "r.example/app@latest", "a b:1", "r/A:1"]
        {
            assert_eq!(Reference::parse("srcRef", text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
        let error = Reference::parse("srcRef", "https://me:hunter2@r.example/app:1").unwrap_err();
        assert!(!error.report().contains("hunter2"), "{error}");
    }
}
