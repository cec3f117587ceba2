//! Which steps run: conditions, failures that do not count, cleaning up, and waiting out the errors of the other side.

use super::*;
use crate::state::Promotion;
use crate::testing::Play;

/// Steps that each have a plug-in of their own, by name.
struct Steps {
    shop: Shop,
    steps: Vec<(&'static str, Scripted)>,
}

impl Steps {
    fn new(names: &[&'static str]) -> Self {
        Self { shop: Shop::new(), steps: names.iter().map(|name| (*name, Scripted::succeeding())).collect() }
    }

    fn step(&self, name: &str) -> &Scripted {
        &self.steps.iter().find(|(known, _)| *known == name).expect("a step of this name").1
    }

    /// Starts an engine with one stage of these steps, and asks for a promotion.
    async fn promote(&self, steps: impl IntoIterator<Item = StepSpec>) -> (Engine, PromotionId) {
        let stage = steps.into_iter().fold(Stage::new("dev").direct("main"), Stage::step);
        let plugins = self.steps.iter().fold(Plugins::builder(), |all, (name, step)| all.step(*name, step.clone()));
        let engine = self.shop.start_with(Shop::of([stage]), plugins).await;
        let id = freight(&engine, "1.0.0").await;
        let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
        (engine, promotion)
    }

    async fn run(&self, steps: impl IntoIterator<Item = StepSpec>) -> Promotion {
        let (engine, promotion) = self.promote(steps).await;
        engine.finished(&promotion).await.expect("ends")
    }
}

/// An entry whose name is that of its step.
fn entry(name: &str) -> StepSpec {
    StepSpec::new(name, json!({})).named(name)
}

fn phases(promotion: &Promotion) -> Vec<(&str, Phase)> {
    promotion.steps.iter().map(|step| (step.alias.as_str(), step.task.phase)).collect()
}

use Phase::{Aborted, Errored, Failed, Skipped, Succeeded};

#[tokio::test(start_paused = true)]
async fn after_a_failure_only_those_steps_run_that_ask_for_it() {
    let steps = Steps::new(&["write", "deploy", "tell", "clean"]);
    steps.step("write").set(Play::Fail("the branch is protected".into()));
    let clean = entry("clean").when(Condition::Always.and(Condition::status("write", Failed)));
    let ended = steps.run([entry("write"), entry("deploy"), entry("tell").when(Condition::Failure), clean]).await;
    assert_eq!(phases(&ended), [("write", Failed), ("deploy", Skipped), ("tell", Succeeded), ("clean", Succeeded)]);
    assert_eq!((ended.phase, ended.message.as_str()), (Failed, "step write (write): the branch is protected"));
    assert_eq!(ended.steps[1].task.message, "step write before it ended Failed");
    assert!(steps.step("deploy").calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_failure_steps_that_wait_for_one_are_left_out() {
    let steps = Steps::new(&["write", "tell", "clean"]);
    let ended = steps.run([entry("write"), entry("tell").when(Condition::Failure), entry("clean").always()]).await;
    assert_eq!(phases(&ended), [("write", Succeeded), ("tell", Skipped), ("clean", Succeeded)]);
    assert_eq!(ended.phase, Succeeded);
}

/// A condition of one's own takes the place of the usual one, as in Kargo.
#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_name_success_runs_after_failures_too() {
    let steps = Steps::new(&["lint", "write", "report"]);
    steps.step("write").set(Play::Fail("no".into()));
    let report = entry("report").when(Condition::status("lint", Succeeded));
    let ended = steps.run([entry("lint"), entry("write"), report]).await;
    assert_eq!(phases(&ended), [("lint", Succeeded), ("write", Failed), ("report", Succeeded)]);
    assert_eq!(ended.phase, Failed, "what runs afterwards mends nothing");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_continues_on_error_counts_as_no_failure() {
    let steps = Steps::new(&["lint", "write", "tell"]);
    steps.step("lint").set(Play::Error(ErrorKind::InvalidInput, "There is no linter.".into()));
    let tell = entry("tell").when(Condition::Failure);
    let ended = steps.run([entry("lint").continue_on_error(), entry("write"), tell]).await;
    assert_eq!(phases(&ended), [("lint", Errored), ("write", Succeeded), ("tell", Skipped)]);
    assert_eq!(ended.phase, Succeeded);
}

/// The end of a promotion is the worst of its steps' ends; the first of those says why.
#[tokio::test(start_paused = true)]
async fn a_promotion_ends_as_the_worst_of_its_steps() {
    let steps = Steps::new(&["write", "tell", "clean"]);
    steps.step("write").set(Play::Fail("no".into()));
    steps.step("tell").set(Play::Error(ErrorKind::InvalidInput, "There is no such room.".into()));
    steps.step("clean").set(Play::Panic);
    let ended = steps.run([entry("write"), entry("tell").always(), entry("clean").always()]).await;
    assert_eq!(phases(&ended), [("write", Failed), ("tell", Errored), ("clean", Errored)]);
    assert_eq!(ended.phase, Errored);
    assert!(ended.message.starts_with("step tell (tell): There is no such room."), "{}", ended.message);
}

#[tokio::test(start_paused = true)]
async fn an_abort_lets_steps_clean_up_and_a_second_one_does_not() {
    for asked in [1, 2] {
        let steps = Steps::new(&["write", "deploy", "tell", "clean"]);
        steps.step("deploy").set(Play::Wait(Duration::from_secs(5)));
        steps.step("clean").set(Play::Wait(Duration::from_secs(5)));
        let list = [entry("write"), entry("deploy"), entry("tell").when(Condition::Failure), entry("clean").always()];
        let (engine, id) = steps.promote(list).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        engine.abort(&id, Actor::user("bob")).await.expect("under way");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let cleaning = engine.read(|state| state.promotion(&id).cloned()).expect("known");
        assert_eq!(phases(&cleaning)[1..], [("deploy", Aborted), ("tell", Skipped), ("clean", Phase::Running)]);
        if asked == 2 {
            engine.abort(&id, Actor::user("bob")).await.expect("still under way");
        } else {
            steps.step("clean").set(Play::Succeed);
        }
        let ended = engine.finished(&id).await.expect("ends");
        assert_eq!(phases(&ended)[3], ("clean", if asked == 2 { Aborted } else { Succeeded }));
        assert_eq!((ended.phase, ended.message.as_str()), (Aborted, "step deploy (deploy): aborted by user:bob"));
        assert_eq!(steps.step("deploy").aborts().len(), 1);
    }
}

/// CORE-26: what a step waits for goes on when a look at it fails, so such errors are waited out, whatever the threshold.
#[tokio::test(start_paused = true)]
async fn core_26_an_error_while_polling_does_not_end_the_step() {
    let steps = Steps::new(&["wait-for-pr"]);
    let away = || Play::Error(ErrorKind::Unavailable, "The server answered 504 Gateway Timeout.".into());
    let wait = Play::Wait(Duration::from_secs(10));
    let mut script = Scripted::always(Play::Succeed).then(wait.clone());
    for _ in 0..20 {
        script = script.then(away());
    }
    let steps = Steps { steps: vec![("wait-for-pr", script.then(wait))], ..steps };
    let ended = steps.run([entry("wait-for-pr").error_threshold(1)]).await;
    assert_eq!((ended.phase, steps.step("wait-for-pr").calls().len()), (Succeeded, 23));

    // But an error that no other look can mend ends it, and so do errors before it waits for anything.
    for script in [
        Scripted::always(Play::Error(ErrorKind::NotFound, "There is no such pull request.".into()))
            .then(Play::Wait(Duration::from_secs(10))),
        Scripted::always(away()),
    ] {
        let steps = Steps { steps: vec![("wait-for-pr", script)], ..Steps::new(&[]) };
        assert_eq!(steps.run([entry("wait-for-pr").error_threshold(1)]).await.phase, Errored);
    }
}

/// CORE-26: it is still an end in time, and the journal says why nothing was seen, once and not with every look.
#[tokio::test(start_paused = true)]
async fn core_26_looks_that_always_fail_end_at_the_timeout() {
    let away = Play::Error(ErrorKind::Unavailable, "The server answered 504 Gateway Timeout.".into());
    let script = Scripted::always(away).then(Play::Wait(Duration::from_secs(10)));
    let steps = Steps { steps: vec![("wait-for-pr", script)], ..Steps::new(&[]) };
    let (engine, id) =
        steps.promote([entry("wait-for-pr").error_threshold(1).timeout(Duration::from_secs(24 * 3600))]).await;
    let ended = engine.finished(&id).await.expect("ends");
    assert_eq!(ended.phase, Errored);
    assert!(ended.message.contains("not done within 86400s; last: The server answered 504"), "{}", ended.message);
    let calls = steps.step("wait-for-pr").calls().len();
    assert!((1_000..4_000).contains(&calls), "{calls} looks in a day");
    let events = engine.journal().await.expect("readable").len();
    assert!(events < 20, "{events} events");
}

/// CORE-12: promoting what is there already runs the steps again, so that drift is put right.
#[tokio::test(start_paused = true)]
async fn core_12_promoting_the_current_freight_runs_its_steps_again() {
    let steps = Steps::new(&["write"]);
    let (engine, first) = steps.promote([entry("write")]).await;
    let first = engine.finished(&first).await.expect("ends");
    let again = engine.promote("dev", &first.freight, Actor::user("alice")).await.expect("allowed");
    let again = engine.finished(&again).await.expect("ends");
    assert_eq!((first.phase, again.phase, steps.step("write").calls().len()), (Succeeded, Succeeded, 2));
}

#[test]
fn conditions_that_ask_for_what_is_not_there_are_refused() {
    let stage = Stage::new("dev")
        .direct("main")
        .step(entry("write").when(Condition::status("deploy", Succeeded)))
        .step(entry("deploy").when((0..9).fold(Condition::Always, |deep, _| deep.not())));
    let error = Pipeline::builder("shop").warehouse(Shop::warehouse()).stage(stage).build().expect_err("refused");
    let text = error.to_string();
    assert!(text.contains(r#"Step "write" of stage "dev" asks how step "deploy" ended"#), "{text}");
    assert!(text.contains(r#"The condition of step "deploy" of stage "dev" is nested deeper than 8"#), "{text}");
}
