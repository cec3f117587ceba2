//! What every implementation of `Forge` keeps to.

use kargo_core::ErrorKind;
use kargo_git::{
    Forge, MergeOutcome, MergeRequest, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState,
};

use crate::bench::{ALL, Bench, cx};

async fn opened(forge: &dyn Forge) -> PullRequest {
    match forge.open(&cx(), &NewPullRequest::new("promote", "main", "Title", "Words")).await.unwrap() {
        Opened::New(pull) => *pull,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_branch_is_read_with_its_commit() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        bench.fake.branch("promote-too", "main");
        let branch = bench.forge().branch(&cx(), "promote").await.unwrap().unwrap();
        assert_eq!((branch.name.as_str(), branch.commit), ("promote", bench.fake.tip("promote")), "{provider}");
        assert!(branch.message.starts_with("Promote v2"), "{provider}");
        // A part of a name is none.
        assert_eq!(bench.forge().branch(&cx(), "promot").await.unwrap(), None, "{provider}");
    }
}

#[tokio::test]
async fn what_is_opened_reads_the_same_from_everywhere() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let forge = bench.forge();
        let new = opened(&*forge).await;
        let read = forge.pull_request(&cx(), new.number).await.unwrap();
        let query = PullRequestQuery::new("promote", "main", bench.started_at);
        let listed = forge.pull_requests(&cx(), &query).await.unwrap();
        assert_eq!(listed.len(), 1, "{provider}");
        for pull in [&new, &read, &listed[0]] {
            assert_eq!(pull.state, PullRequestState::Open, "{provider}");
            assert_eq!((pull.source.as_str(), pull.target.as_str()), ("promote", "main"), "{provider}");
            assert_eq!(pull.description, "Words", "{provider}");
            assert!(bench.fake.tip("promote").starts_with(pull.head.as_deref().unwrap()), "{provider}");
            assert_eq!(pull.merge_commit, None, "{provider}: that of a trial merge is none");
            assert_eq!(pull.url, new.url, "{provider}");
        }
    }
}

#[tokio::test]
async fn a_second_one_is_not_opened() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let forge = bench.forge();
        let first = opened(&*forge).await;
        match forge.open(&cx(), &NewPullRequest::new("promote", "main", "Title", "Words")).await.unwrap() {
            Opened::Exists => {}
            // Bitbucket Cloud gives out the first.
            Opened::New(pull) => assert_eq!(pull.number, first.number, "{provider}"),
            other => panic!("{provider}: {other:?}"),
        }
        assert_eq!(bench.fake.pull_requests().len(), 1, "{provider}");
    }
}

#[tokio::test]
async fn a_head_that_has_moved_is_not_merged_unseen() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let forge = bench.forge();
        let seen = forge.pull_request(&cx(), 1).await.unwrap();
        bench.fake.commit("promote", &[("evil", "x")], "Sneaked in");
        let outcome = forge.merge(&cx(), &MergeRequest::new(&seen)).await.unwrap();
        if provider == kargo_git::Provider::BitbucketCloud {
            // Its API has no way to say which head is meant.
            assert!(matches!(outcome, MergeOutcome::Merged { .. }), "{outcome:?}");
        } else {
            assert!(matches!(outcome, MergeOutcome::Stale { .. }), "{provider}: {outcome:?}");
            assert_eq!(bench.states(), ["open"], "{provider}");
        }
    }
}

#[tokio::test]
async fn closing_is_seen_and_one_that_is_merged_stays_so() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let forge = bench.forge();
        let pull = forge.pull_request(&cx(), 1).await.unwrap();
        forge.close(&cx(), &pull).await.unwrap();
        assert_eq!(forge.pull_request(&cx(), 1).await.unwrap().state, PullRequestState::Closed, "{provider}");
        let number = bench.fake.open("promote", "main");
        let pull = forge.pull_request(&cx(), number).await.unwrap();
        bench.fake.merge(number);
        // Some say so, others take it for done.
        let _ = forge.close(&cx(), &pull).await;
        assert_eq!(forge.pull_request(&cx(), number).await.unwrap().state, PullRequestState::Merged, "{provider}");
    }
}

#[tokio::test]
async fn a_call_can_be_cancelled() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let cx = cx();
        cx.cancellation().cancel();
        let error = bench.forge().pull_request(&cx, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{provider}");
    }
}
