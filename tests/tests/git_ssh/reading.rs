//! Looking for commits.

use kargo_core::plugin::{DiscoverRequest, Discovery, Source as _};
use kargo_core::{Artifact, Subscription};
use kargo_git::{Credentials, GitSource, GitSubscription};

use crate::server::*;

#[tokio::test]
async fn git_14_branches_tags_and_paths_are_found_as_over_http() {
    let server = Server::find();
    for (base, any) in [(&server.url, "true"), (&server.old, "true"), (&server.old, "false")] {
        let (name, repository) = server.repository("source");
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        let first = repository.head("main");
        repository.tag("v1.0.0", "main", Some("Release\n"));
        for n in 0..30 {
            let path = if n % 10 == 5 { "env/dev/more.yaml" } else { "README.md" };
            repository.commit("main", &[(path, &format!("{n}\n")), ("big.bin", &noise(1 << 10))], &format!("Edit {n}"));
        }
        repository.tag("v1.1.0", "main", None);
        let log = repository.log("main");
        let on_path: Vec<&str> = log
            .iter()
            .filter(|commit| commit.changed_files.iter().any(|path| path.starts_with("env/dev/")))
            .map(|commit| commit.id.as_str())
            .collect();
        let url = format!("{base}/{name}");
        let source = GitSource::new()
            .credentials(&url, Credentials::ssh_key(server.key("user")))
            .known_hosts(server.known_by("host"));
        let cx = context("discover");
        for (subscription, expected) in [
            (GitSubscription::new(&url).branch("main").discovery_limit(2), vec![log[0].id.as_str(), &log[1].id]),
            (GitSubscription::new(&url).semver("^1"), vec![log[0].id.as_str(), &first]),
            (GitSubscription::new(&url).branch("main").include_path("env/dev"), on_path),
        ] {
            let config = Subscription::from(subscription).config;
            let found = source.discover(&cx, &DiscoverRequest::new(&config)).await.unwrap();
            let Discovery::Found { candidates, cursor } = found else { panic!("nothing was found") };
            let commits = candidates.iter().map(|candidate| match candidate {
                Artifact::Commit(commit) => commit.id.as_str(),
                other => panic!("{other} is no commit"),
            });
            assert_eq!(commits.collect::<Vec<_>>(), expected, "{config} with {any}");
            let request = DiscoverRequest::new(&config).with_cursor(cursor.as_ref());
            assert_eq!(source.discover(&cx, &request).await.unwrap(), Discovery::Unchanged);
        }
    }
}

#[tokio::test]
async fn git_14_paths_of_annotated_tags_are_compared_on_servers_that_give_what_refs_stand_on_and_no_more() {
    let server = Server::find();
    let (name, repository) = server.repository("annotated");
    configure(&repository, "uploadpack.allowAnySHA1InWant", "false");
    let mut expected = Vec::new();
    for n in 0..6 {
        let path = if n % 2 == 0 { "env/dev/more.yaml" } else { "README.md" };
        repository.commit("main", &[(path, &format!("{n}\n"))], &format!("Edit {n}"));
        let inner = repository.tag(&format!("v1.{n}.0"), "main", Some("Release\n"));
        if n % 2 == 0 {
            expected.insert(0, format!("v1.{n}.0"));
        }
        if n == 4 {
            // The tag of a tag.
            let outer = repository.tag_object("v2.0.0", &inner, "Outer\n", jiff::Timestamp::now());
            repository.point("refs/tags/v2.0.0", &outer);
            expected.insert(0, "v2.0.0".to_owned());
        }
    }
    // Only the tags lead to the commits.
    repository.commit("main", &[("README.md", "last")], "Last");
    let url = format!("{}/{name}", server.old);
    let source = GitSource::new()
        .credentials(&url, Credentials::ssh_key(server.key("user")))
        .known_hosts(server.known_by("host"));
    for subscription in [
        GitSubscription::new(&url).semver("*").include_path("env"),
        GitSubscription::new(&url).newest_tags().include_path("env"),
    ] {
        let config = Subscription::from(subscription).config;
        let found = source.discover(&context("discover"), &DiscoverRequest::new(&config)).await.unwrap();
        let Discovery::Found { candidates, .. } = found else { panic!("nothing was found") };
        let tags = candidates.into_iter().map(|candidate| match candidate {
            Artifact::Commit(commit) => commit.tag.unwrap(),
            other => panic!("{other} is no commit"),
        });
        let mut tags: Vec<String> = tags.collect();
        tags.sort_by(|a, b| b.cmp(a));
        assert_eq!(tags, expected, "{config}");
    }
}
