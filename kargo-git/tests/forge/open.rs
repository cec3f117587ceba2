//! `git-open-pr`.

use kargo_core::ErrorKind;
use kargo_core::plugin::{Step as _, StepOutcome};
use kargo_git::testing::forge::Fault;
use kargo_git::{CredentialRules, Forges, MergePullRequest, OpenPullRequest, Provider, WaitForPullRequest};
use serde_json::{Value, json};

use crate::bench::{ALL, Bench, assert_failed, assert_nothing_to_merge, number, outputs, promotion};

#[tokio::test]
async fn a_pull_request_is_opened_with_the_head_commits_message() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let outcome = bench.open().await.unwrap();
        let pulls = bench.fake.pull_requests();
        assert_eq!(pulls.len(), 1, "{provider}");
        assert_eq!((pulls[0].source.as_str(), pulls[0].target.as_str()), ("promote", "main"), "{provider}");
        assert_eq!(pulls[0].title, "Promote v2", "{provider}");
        assert_eq!(pulls[0].description, "Tested in staging.\n\nOpened by Kargo for promotion prod.1.", "{provider}");
        assert_eq!(number(&outcome), 1);
        let url = outputs(&outcome)["pr"]["url"].as_str().unwrap();
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/1"), "{provider}: {url}");
    }
}

#[tokio::test]
async fn the_description_links_to_where_people_look() {
    for provider in ALL {
        let mut bench = Bench::new(provider).await;
        bench.promotion = bench.promotion.clone().with_ui_base_url("https://kargo.example/");
        let first = number(&bench.open().await.unwrap());
        assert_eq!(
            bench.fake.pull_requests()[0].description,
            "Tested in staging.\n\n[View in Kargo UI](https://kargo.example/project/shop/stage/prod)\n\nOpened by Kargo for promotion prod.1.",
            "{provider}"
        );
        assert_eq!(number(&bench.open().await.unwrap()), first, "{provider}: it is found again");
    }
}

#[tokio::test]
async fn title_description_and_labels_can_be_given() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let mut config = bench.branches();
        config["title"] = "To production".into();
        config["labels"] = json!(["release", "bot"]);
        bench.open_with(&config).await.unwrap();
        let pull = &bench.fake.pull_requests()[0];
        assert_eq!(pull.title, "To production", "{provider}");
        // With a title of its own the whole message is the description.
        assert!(pull.description.starts_with("Promote v2\n\nTested in staging.\n"), "{provider}: {}", pull.description);
        match provider {
            Provider::BitbucketCloud | Provider::BitbucketDataCenter => assert!(pull.labels.is_empty()),
            _ => assert_eq!(pull.labels, ["release", "bot"], "{provider}"),
        }
    }
}

#[tokio::test]
async fn git_08_without_a_difference_the_step_is_skipped() {
    for provider in ALL {
        // The same commit.
        let bench = Bench::new(provider).await;
        bench.fake.branch("promote", "main");
        assert_nothing_to_merge(&bench.open().await.unwrap(), &bench.fake.tip("main"));
        // Behind.
        bench.fake.commit("main", &[("other", "x")], "Elsewhere");
        assert_nothing_to_merge(&bench.open().await.unwrap(), &bench.fake.tip("main"));
        // The same change made in both.
        bench.fake.commit("promote", &[("tag", "v3"), ("other", "x")], "Promote v3");
        bench.fake.commit("main", &[("tag", "v3")], "By hand");
        assert_nothing_to_merge(&bench.open().await.unwrap(), &bench.fake.tip("main"));
        assert!(bench.fake.pull_requests().is_empty(), "{provider}");
    }
}

#[tokio::test]
async fn git_08_a_change_and_its_undoing_are_no_difference() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        bench.fake.commit("promote", &[("tag", "v1")], "Back again");
        bench.fake.commit("main", &[("other", "x")], "Elsewhere");
        let outcome = bench.open().await.unwrap();
        match provider {
            // Its comparison has commits, and no files.
            Provider::Gitea => assert_eq!(number(&outcome), 1),
            _ => assert_nothing_to_merge(&outcome, &bench.fake.tip("main")),
        }
    }
}

#[tokio::test]
async fn git_09_one_that_is_open_is_taken() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let first = bench.fake.open("promote", "main");
        assert_eq!(number(&bench.open().await.unwrap()), first, "{provider}");
        assert_eq!(bench.fake.pull_requests().len(), 1, "{provider}");
        // Other people's labels stay as they are.
        let mut config = bench.branches();
        config["labels"] = json!(["bot"]);
        bench.open_with(&config).await.unwrap();
        assert!(bench.fake.pull_requests()[0].labels.is_empty(), "{provider}");
    }
}

#[tokio::test]
async fn one_from_a_fork_or_to_another_branch_is_not_taken() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        bench.fake.branch("release", "main");
        bench.fake.open("promote", "release");
        bench.fake.open_from_fork("promote", "main");
        assert_eq!(number(&bench.open().await.unwrap()), 3, "{provider}");
    }
}

#[tokio::test]
async fn one_that_was_merged_at_the_same_head_is_taken() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let number_of_first = bench.fake.open("promote", "main");
        bench.fake.merge(number_of_first);
        assert_eq!(number(&bench.open().await.unwrap()), number_of_first, "{provider}");
        // With new commits it is another matter.
        bench.fake.commit("promote", &[("tag", "v3")], "Promote v3");
        assert_eq!(number(&bench.open().await.unwrap()), number_of_first + 1, "{provider}");
    }
}

#[tokio::test]
async fn one_that_another_promotion_had_closed_is_left_and_a_new_one_opened() {
    for provider in ALL {
        let mut bench = Bench::with_open(provider).await;
        bench.fake.close(1);
        bench.promotion = promotion("prod.2");
        assert_eq!(number(&bench.open().await.unwrap()), 2, "{provider}");
    }
}

#[tokio::test]
async fn one_that_this_promotion_opened_and_somebody_closed_fails_it() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.close(1);
        assert_failed(&bench.open().await.unwrap(), "closed without being merged");
        assert_eq!(bench.states(), ["closed"], "{provider}");
    }
}

#[tokio::test]
async fn one_that_this_promotion_opened_is_found_after_its_merge_and_the_end_of_its_branch() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.merge(1);
        bench.fake.delete_branch("promote");
        assert_eq!(number(&bench.open().await.unwrap()), 1, "{provider}");
    }
}

#[tokio::test]
async fn what_a_promotion_puts_on_its_branch_after_a_merge_gets_a_pull_request_of_its_own() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.merge(1);
        bench.fake.commit("promote", &[("tag", "v3")], "Promote v3");
        assert_eq!(number(&bench.open().await.unwrap()), 2, "{provider}");
        assert_eq!(number(&bench.open().await.unwrap()), 2, "{provider}: it is taken while it is open");
        bench.fake.merge(2);
        assert_eq!(number(&bench.open().await.unwrap()), 2, "{provider}: and after it");
        // What somebody closed was for other commits.
        bench.fake.commit("promote", &[("tag", "v4")], "Promote v4");
        assert_eq!(number(&bench.open().await.unwrap()), 3, "{provider}");
        bench.fake.close(3);
        assert_failed(&bench.open().await.unwrap(), "closed without being merged");
        bench.fake.commit("promote", &[("tag", "v5")], "Promote v5");
        assert_eq!(number(&bench.open().await.unwrap()), 4, "{provider}");
    }
}

#[tokio::test]
async fn empty_fields_of_forms_are_left_out() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let mut config = bench.branches();
        config["title"] = "".into();
        config["description"] = "".into();
        bench.open_with(&config).await.unwrap();
        let pull = &bench.fake.pull_requests()[0];
        assert_eq!(pull.title, "Promote v2", "{provider}");
        assert!(pull.description.starts_with("Tested in staging.\n"), "{provider}: {}", pull.description);
    }
    let forges = Forges::new(CredentialRules::new()).unwrap();
    let config = |extra: Value| {
        let mut config = json!({"repoURL": "https://github.com/acme/shop", "provider": ""});
        extra.as_object().unwrap().iter().for_each(|(key, value)| config[key] = value.clone());
        config
    };
    let open = OpenPullRequest::new(forges.clone());
    open.validate(&config(json!({"sourceBranch": "promote", "targetBranch": "main"}))).unwrap();
    let number = json!({"prNumber": 1, "pollInterval": ""});
    WaitForPullRequest::new(forges.clone()).validate(&config(number.clone())).unwrap();
    MergePullRequest::new(forges).validate(&config(number)).unwrap();
}

#[test]
fn what_expressions_give_for_texts_stays_text() {
    let forges = Forges::new(CredentialRules::new()).unwrap();
    let open = OpenPullRequest::new(forges.clone());
    for pointer in ["/title", "/description", "/labels/0", "/sourceBranch", "/targetBranch", "/repoURL"] {
        assert!(open.takes_text(pointer), "{pointer}");
    }
    assert!(!open.takes_text("/insecureSkipTLSVerify"));
    let wait = WaitForPullRequest::new(forges.clone());
    assert!(wait.takes_text("/repoURL") && !wait.takes_text("/prNumber"));
    let merge = MergePullRequest::new(forges);
    assert!(merge.takes_text("/mergeMethod") && !merge.takes_text("/wait") && !merge.takes_text("/prNumber"));
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        // More than any provider shows at once, newer than ours.
        bench.fake.branch("release", "main");
        for _ in 0..120 {
            bench.fake.open("promote", "release");
            let number = bench.fake.open("promote", "main");
            bench.fake.close(number);
        }
        assert_eq!(number(&bench.open().await.unwrap()), 1, "{provider}");
        bench.fake.close(1);
        for number in 2..=121 {
            bench.fake.close(number);
        }
        assert_failed(&bench.open().await.unwrap(), "closed without being merged");
    }
}

#[tokio::test]
async fn git_10_a_missing_branch_is_named() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        for (source, target, field) in [("promote", "release", "targetBranch"), ("promo", "main", "sourceBranch")] {
            let config = json!({"sourceBranch": source, "targetBranch": target, "createTargetBranch": true});
            let error = bench.open_with(&bench.config(config)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{provider}: {error}");
            assert!(error.message().contains(field), "{error}");
        }
    }
}

#[tokio::test]
async fn a_repository_that_is_hidden_is_no_missing_branch() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let mut config = bench.branches();
        config["repoURL"] = bench.fake.url().replace("shop", "hidden").into();
        let error = bench.open_with(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{provider}: {error}");
        assert!(error.message().contains("hidden from these credentials"), "{provider}: {error}");
    }
}

#[tokio::test]
async fn a_message_of_an_earlier_promotion_does_not_speak_for_this_one() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let message = "Promote v3\n\nMore.\n\nOpened by Kargo for promotion dev.7.";
        bench.fake.commit("promote", &[("tag", "v3")], message);
        bench.open().await.unwrap();
        let description = bench.fake.pull_requests()[0].description.clone();
        assert_eq!(description, "More.\n\nOpened by Kargo for promotion prod.1.", "{provider}");
    }
}

#[tokio::test]
async fn a_long_message_is_cut_and_the_promotion_stays_readable() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let message = format!("{}\n\n{}", "t".repeat(400), "words ".repeat(10_000));
        bench.fake.commit("promote", &[("tag", "v3")], &message);
        bench.open().await.unwrap();
        let pull = &bench.fake.pull_requests()[0];
        assert_eq!(pull.title.chars().count(), 250, "{provider}");
        assert!(pull.description.ends_with("\n\nOpened by Kargo for promotion prod.1."), "{provider}");
        // In listings, too, that cut descriptions off.
        bench.fake.close(1);
        assert_failed(&bench.open().await.unwrap(), "closed without being merged");
    }
}

#[tokio::test]
async fn on_abort_only_what_this_promotion_opened_is_closed() {
    for provider in ALL {
        let mut bench = Bench::with_open(provider).await;
        let step = OpenPullRequest::new(bench.forges.clone());
        let config = bench.branches();
        bench.promotion = promotion("prod.2");
        bench.abort(&step, &config).await.unwrap();
        assert_eq!(bench.states(), ["open"], "{provider}: it is another promotion's");
        bench.promotion = promotion("prod.1");
        bench.abort(&step, &config).await.unwrap();
        assert_eq!(bench.states(), ["closed"], "{provider}");
        // Again, as after a restart.
        bench.abort(&step, &config).await.unwrap();
    }
}

#[tokio::test]
async fn an_abort_whose_answer_was_lost_can_be_made_again() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let step = OpenPullRequest::new(bench.forges.clone());
        let before = bench.fake.requests().len();
        bench.fake.set_fault(Some(Fault::Status(503)));
        assert!(bench.abort(&step, &bench.branches()).await.is_err());
        bench.fake.set_fault(None);
        bench.abort(&step, &bench.branches()).await.unwrap();
        assert_eq!(bench.states(), ["closed"], "{provider}");
        assert!(bench.fake.requests().len() > before);
    }
}

#[tokio::test]
async fn a_configuration_is_checked_before_anything_is_asked() {
    let bench = Bench::new(Provider::GitHub).await;
    let step = OpenPullRequest::new(bench.forges.clone());
    for (config, words) in [
        (json!({"sourceBranch": "a"}), "targetBranch"),
        (json!({"sourceBranch": "a", "targetBranch": "a"}), "both"),
        (json!({"sourceBranch": "a..b", "targetBranch": "main"}), "no name of a branch"),
        (json!({"sourceBranch": "a", "targetBranch": "main", "lables": []}), "lables"),
        (json!({"sourceBranch": "a", "targetBranch": "main", "labels": ["a,b"]}), "comma"),
        (json!({"sourceBranch": "a", "targetBranch": "main", "provider": "githup"}), "githup"),
        (
            json!({"sourceBranch": "a", "targetBranch": "main", "repoURL": "https://git.example/a/b"}),
            "name it as provider",
        ),
        (json!({"sourceBranch": "a", "targetBranch": "main", "repoURL": "https://github.com/a"}), "/owner/name"),
    ] {
        let config = bench.config(config);
        let error = step.validate(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().contains(words), "{words}: {error}");
        assert_eq!(bench.open_with(&config).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let later = json!({"repoURL": "${{ vars.repo }}", "sourceBranch": "${{ outputs.push.branch }}", "targetBranch": "main", "labels": "${{ x }}"});
    step.validate(&later).unwrap();
    assert!(bench.fake.requests().is_empty());
}

#[tokio::test]
async fn names_with_slashes_and_quotes_are_branches_too() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let source = "kargo/promotion/prod.1+\"x\"&y=%41";
        bench.fake.commit(source, &[("tag", "v9")], "Promote v9");
        let config = bench.config(json!({"sourceBranch": source, "targetBranch": "main"}));
        assert_eq!(number(&bench.open_with(&config).await.unwrap()), 1, "{provider}");
        assert!(matches!(bench.open_with(&config).await.unwrap(), StepOutcome::Succeeded { .. }), "{provider}");
        assert_eq!(bench.fake.pull_requests().len(), 1, "{provider}");
    }
}
