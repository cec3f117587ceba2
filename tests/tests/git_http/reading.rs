//! History, branches and tags.

use kargo_core::plugin::{DiscoverRequest, Discovery, History as _, Relation, Source as _};
use kargo_core::{Artifact, Subscription};
use kargo_git::{Credentials, GitSource, GitSubscription, Limits};
use kargo_tests::git;

use crate::server::*;

#[tokio::test]
async fn two_commits_are_related_by_fetching_commits_alone() {
    let server = Server::find();
    let (name, repository) = server.repository("relate");
    let limits = Limits { bytes: 60_000, ..Limits::default() };
    let relay = Relay::new(&server, |_| {});
    let remote = server.remote_at(&relay.url(&name)).limits(limits).build().unwrap();
    let a = repository.head("main");
    repository.branch("side", "main");
    for n in 0..40 {
        repository.commit("main", &[("big.bin", &noise(1 << 16)), ("n", &n.to_string())], "On main");
    }
    let (b, c) = (repository.head("main"), repository.commit("side", &[("README.md", "c\n")], "On the side"));
    let unknown = "7".repeat(40);
    let cx = context("relate");
    for (observed, wanted, relation) in [
        (&a, &a, Relation::Same),
        (&b, &a, Relation::Later),
        (&a, &b, Relation::Earlier),
        (&b, &c, Relation::Diverged),
        (&unknown, &a, Relation::Unknown),
    ] {
        let found = remote.relate(&cx, &observed.as_str().into(), &wanted.as_str().into()).await.unwrap();
        assert_eq!(found, relation, "{observed} {wanted}");
    }
    relay.requests();
    let again = remote.relate(&cx, &b.as_str().into(), &a.as_str().into()).await.unwrap();
    assert_eq!((again, relay.requests()), (Relation::Later, 0), "it never changes");
}

#[tokio::test]
async fn git_14_branches_and_annotated_tags_are_found_by_their_commits() {
    let server = Server::find();
    let (name, repository) = server.repository("source");
    let old = repository.head("main");
    let tag = repository.tag("v1.0.0", "main", Some("Release\n"));
    let new = repository.commit("main", &[("big.bin", &noise(1 << 20))], "Second");
    repository.tag("v1.1.0", "main", None);
    let url = format!("{}/{name}", server.url);
    let source = GitSource::new().credentials(&server.url, Credentials::basic(&server.user, server.password.as_str()));
    let cx = context("discover");
    for (subscription, expected) in [
        (GitSubscription::new(&url).semver("^1"), [(Some("v1.1.0"), &new), (Some("v1.0.0"), &old)]),
        (GitSubscription::new(&url).branch("main"), [(None, &new), (None, &old)]),
        (GitSubscription::new(&url), [(None, &new), (None, &old)]),
    ] {
        let config = Subscription::from(subscription).config;
        let found = source.discover(&cx, &DiscoverRequest::new(&config)).await.unwrap();
        let Discovery::Found { candidates, cursor } = found else { panic!("nothing was found") };
        let commits = candidates.iter().map(|candidate| match candidate {
            Artifact::Commit(commit) => (commit.tag.as_deref(), &commit.id),
            other => panic!("{other} is no commit"),
        });
        assert_eq!(commits.collect::<Vec<_>>(), expected, "{config}");
        assert!(expected.iter().all(|(_, id)| **id != tag));
        let again = source.discover(&cx, &DiscoverRequest::new(&config).with_cursor(cursor.as_ref())).await.unwrap();
        assert_eq!(again, Discovery::Unchanged);
    }
}

#[tokio::test]
async fn ten_thousand_tags_and_tags_of_tags_cost_one_listing_and_a_small_cursor() {
    let server = Server::find();
    let (name, repository) = server.repository("tags");
    let commit = repository.head("main");
    repository.tag("inner", "main", Some("A tag\n"));
    let identity = ["-c", "user.name=Tester", "-c", "user.email=tester@localhost"];
    git(repository.path(), &[identity.as_slice(), &["tag", "-a", "v2.0.0", "inner", "-m", "A tag of a tag"]].concat());
    let mut tags: Vec<String> =
        (0..10_000).map(|n| format!("{commit} refs/tags/v1.{}.{}\n", n / 100, n % 100)).collect();
    tags.extend(["latest", "v1", "release/2020", "1.0"].map(|tag| format!("{commit} refs/tags/{tag}\n")));
    tags.sort_by(|a, b| a[41..].cmp(&b[41..]));
    std::fs::write(repository.path().join("packed-refs"), format!("# pack-refs with: sorted \n{}", tags.concat()))
        .unwrap();
    let url = format!("{}/{name}", server.url);
    let source = GitSource::new().credentials(&server.url, Credentials::basic(&server.user, server.password.as_str()));
    let config = Subscription::from(GitSubscription::new(&url).semver(">=1.99.98 <3").discovery_limit(3)).config;
    let cx = context("discover");
    let found = source.discover(&cx, &DiscoverRequest::new(&config)).await.unwrap();
    let Discovery::Found { candidates, cursor } = found else { panic!("nothing was found") };
    let found: Vec<_> = candidates
        .iter()
        .map(|candidate| match candidate {
            Artifact::Commit(found) => (found.tag.as_deref().unwrap(), found.id.as_str()),
            other => panic!("{other} is no commit"),
        })
        .collect();
    assert_eq!(found, [("v2.0.0", commit.as_str()), ("v1.99.99", &commit), ("v1.99.98", &commit)]);
    let size = serde_json::to_string(cursor.as_ref().unwrap()).unwrap().len();
    assert!(size < 100, "the cursor has {size} bytes");
    let again = source.discover(&cx, &DiscoverRequest::new(&config).with_cursor(cursor.as_ref())).await.unwrap();
    assert_eq!(again, Discovery::Unchanged);
}
