//! Killed between any two requests, and started again.

use kargo_core::plugin::StepOutcome;
use kargo_git::testing::forge::Fault;
use serde_json::json;

use crate::bench::{ALL, Bench, number, outputs};

/// Opens and merges as an engine would whose process dies at each fault: nothing but the steps' outputs outlives it.
async fn promote(bench: &Bench) -> u32 {
    let mut deaths = 0;
    let mut again = |result: kargo_core::Result<StepOutcome>| match result {
        Ok(outcome @ StepOutcome::Succeeded { .. }) => Some(outcome),
        Ok(StepOutcome::Running { .. }) => None,
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            deaths += 1;
            assert!(deaths < 4, "{error}");
            None
        }
    };
    let mut config = bench.branches();
    config["labels"] = json!(["bot"]);
    let opened = loop {
        if let Some(outcome) = again(bench.open_with(&config).await) {
            break number(&outcome);
        }
    };
    loop {
        if let Some(outcome) = again(bench.merge_with(json!({"prNumber": opened, "wait": true}), None).await) {
            assert_eq!(outputs(&outcome)["commit"], bench.fake.tip("main").as_str());
            break;
        }
    }
    loop {
        if again(bench.wait(opened).await).is_some() {
            return deaths;
        }
    }
}

#[tokio::test]
async fn git_09_git_26_there_is_one_pull_request_and_one_merge_wherever_it_dies() {
    for provider in ALL {
        let calm = Bench::new(provider).await;
        assert_eq!(promote(&calm).await, 0, "{provider}");
        let requests = calm.fake.requests();
        let changes = requests.iter().filter(|request| !request.starts_with("GET")).count();
        assert!(changes >= 2, "{provider}: {requests:?}");
        for at in 0..requests.len() {
            for fault in [Fault::LoseAnswer, Fault::Status(503)] {
                let bench = Bench::new(provider).await;
                bench.fake.fault_after(at, fault.clone());
                assert_eq!(promote(&bench).await, 1, "{provider}: {fault:?} at {}", requests[at]);
                let pulls = bench.fake.pull_requests();
                assert_eq!(pulls.len(), 1, "{provider}: {fault:?} at {}", requests[at]);
                assert_eq!(pulls[0].state, "merged", "{provider}: {fault:?} at {}", requests[at]);
                assert_eq!(pulls[0].merge_commit.as_deref(), Some(bench.fake.tip("main").as_str()), "{provider}");
                assert_eq!(
                    pulls[0].labels,
                    calm.fake.pull_requests()[0].labels,
                    "{provider}: {fault:?} at {}",
                    requests[at]
                );
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_anywhere_leaves_nothing_that_is_done_twice() {
    for provider in ALL {
        // Dropped after so many steps of its future; between two of them it waits for the server.
        for polls in 1..40 {
            let bench = Bench::new(provider).await;
            {
                let mut open = Box::pin(bench.open());
                for _ in 0..polls {
                    if futures::poll!(open.as_mut()).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            // Whatever is still on its way arrives before the next call does its own.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            number(&bench.open().await.unwrap());
            assert_eq!(bench.fake.pull_requests().len(), 1, "{provider} after {polls}");
        }
    }
}
