//! What is made of a commit that was found.

use gix::ObjectId;
use kargo_core::{Artifact, GitCommit};

use crate::cache::CachedCommit;
use crate::subscription::GitSubscription;

/// How many characters of a subject line are kept, as in Kargo.
const SUBJECT: usize = 80;

pub(super) fn commit(
    subscription: &GitSubscription,
    id: ObjectId,
    commit: &CachedCommit,
    branch: Option<String>,
    tag: Option<String>,
) -> Artifact {
    let subject = &commit.subject;
    let message = match subject.char_indices().nth(SUBJECT) {
        Some((end, _)) => format!("{}...", &subject[..end]),
        None => subject.to_string(),
    };
    Artifact::Commit(GitCommit {
        repo_url: without_user(&subscription.repo_url),
        id: id.to_string(),
        branch,
        tag,
        message: Some(message),
        author: Some(commit.author.to_string()),
        subscription_name: None,
    })
}

/// A URL as it was written, but without user and password: freight is seen by many, and kept for long.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_found_does_not_carry_the_password_of_its_url() {
        for (url, shown) in [
            ("https://kargo:s3cret@git.example/acme/app.git", "https://git.example/acme/app.git"),
            ("https://s3cret@git.example/acme/app.git", "https://git.example/acme/app.git"),
            ("https://GIT.example/acme/app", "https://GIT.example/acme/app"),
            ("/srv/git/app@home.git", "/srv/git/app@home.git"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
