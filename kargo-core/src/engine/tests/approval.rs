//! `wait-for-approval`: people who are asked in the middle of a promotion.

use super::*;
use crate::approval::Verdict;
use crate::state::{EventKind, Promotion};
use crate::view;

/// A stage that asks before it ships, and the promotion that waits there.
struct Asked {
    shop: Shop,
    pipeline: Pipeline,
    engine: Engine,
    id: PromotionId,
}

/// Two of the developers and operators, of whom one is an operator.
fn quorum() -> serde_json::Value {
    json!({ "minApprovals": 2, "approvers": [
        { "claim": "groups", "value": "dev" },
        { "role": "operator", "required": true },
    ]})
}

impl Asked {
    async fn for_approval(config: serde_json::Value) -> Self {
        Self::of(StepSpec::new("wait-for-approval", config).named("ask")).await
    }

    async fn of(ask: StepSpec) -> Self {
        let shop = Shop::new();
        let told = StepSpec::new("compose-output", json!({ "who": "${{ outputs.ask.responses }}" })).named("told");
        let stage = Stage::new("prod").direct("main").step(ask).step(told).step(StepSpec::new("ship", json!({})));
        let pipeline = Shop::of([stage]);
        let engine = Self::start(&shop, &pipeline).await;
        let id = engine.promote("prod", &freight(&engine, "1.0.0").await, Actor::user("ann")).await.expect("allowed");
        let asked = Self { shop, pipeline, engine, id };
        asked.waits().await;
        asked
    }

    async fn start(shop: &Shop, pipeline: &Pipeline) -> Engine {
        let data =
            Data::secret([("role", "owners-of-prod")]).config_map([("role", "owner")]).after(Duration::from_secs(10));
        let plugins = crate::steps::builtin().step("ship", shop.ship.clone()).data(data);
        shop.start_with(pipeline.clone(), plugins).await
    }

    /// The engine ends as a process does that is killed, and another one begins.
    async fn killed(&mut self) {
        self.engine.kill();
        // Nobody has given the lease back.
        tokio::time::sleep(Duration::from_secs(16)).await;
        self.engine = Self::start(&self.shop, &self.pipeline).await;
    }

    async fn waits(&self) {
        self.engine.until(|state| state.promotion(&self.id)?.steps[0].task.demand()).await.expect("asks");
    }

    fn yes(&self, who: &str) -> AnswerStep {
        AnswerStep::approve(self.id.clone(), Actor::user(who))
    }

    fn no(&self, who: &str) -> AnswerStep {
        AnswerStep::reject(self.id.clone(), Actor::user(who))
    }

    async fn answer(&self, answer: AnswerStep) {
        self.engine.answer(answer).await.expect("is asked");
    }

    async fn refused(&self, answer: AnswerStep) -> Error {
        self.engine.answer(answer).await.expect_err("must be refused")
    }

    fn now(&self) -> Promotion {
        self.engine.read(|state| state.promotion(&self.id).cloned()).expect("known")
    }

    async fn ended(&self) -> Promotion {
        self.engine.finished(&self.id).await.expect("ends")
    }

    fn shipped(&self) -> usize {
        self.shop.ship.calls().len()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_ships_before_enough_of_the_right_people_have_approved_and_then_at_once() {
    let asked = Asked::for_approval(quorum()).await;
    an_hour().await;
    an_hour().await;
    assert_eq!((asked.now().phase, asked.shipped()), (Phase::Running, 0));
    let task = asked.now().steps[0].task.clone();
    assert_eq!(task.message, "0 of 2 approvals; required: role operator");

    asked.answer(asked.yes("dan").claim("groups", "staff").claim("groups", "dev").because("looks good")).await;
    asked.answer(asked.yes("dot").claim("groups", "dev")).await;
    an_hour().await;
    assert_eq!((asked.now().phase, asked.shipped()), (Phase::Running, 0), "no operator yet");

    let before = asked.engine.now();
    asked.answer(asked.yes("olga").role("operator").step("ask")).await;
    let ended = asked.ended().await;
    assert_eq!((ended.phase, asked.shipped()), (Phase::Succeeded, 1));
    // Not when the poll interval was over.
    assert_eq!(ended.finished_at, Some(before));
    assert_eq!(ended.steps[0].task.message, "approved by user:dan, user:dot, user:olga");
    let told = &ended.steps[1].task.outputs["who"];
    assert_eq!(told[0]["user"], "user:dan");
    assert_eq!((&told[0]["action"], &told[0]["message"]), (&json!("approved"), &json!("looks good")));
    assert_eq!(told[2]["time"], before.to_string());
    assert_eq!(told.as_array().map(Vec::len), Some(3));
}

#[tokio::test(start_paused = true)]
async fn one_who_rejects_fails_the_promotion_whoever_has_approved() {
    let asked = Asked::for_approval(quorum()).await;
    asked.answer(asked.yes("dan").claim("groups", "dev")).await;
    asked.answer(asked.no("dot").claim("groups", "dev").because("not before the holidays")).await;
    let ended = asked.ended().await;
    assert_eq!((ended.phase, asked.shipped()), (Phase::Failed, 0));
    assert_eq!(ended.steps[0].task.message, "user:dot has rejected it: not before the holidays");
    let late = asked.refused(asked.yes("olga").role("operator")).await;
    assert!(late.message().contains("has ended already, Failed"), "{late}");
}

#[tokio::test(start_paused = true)]
async fn an_approval_can_be_taken_back_before_the_end_and_counts_once_for_each_person() {
    let asked = Asked::for_approval(json!({ "minApprovals": 2, "approvers": [{ "role": "dev" }] })).await;
    for _ in 0..3 {
        asked.answer(asked.yes("dan").role("dev")).await;
    }
    asked.answer(asked.yes("dan").role("dev").because("once more")).await;
    an_hour().await;
    assert_eq!(asked.now().steps[0].task.message, "1 of 2 approvals; asked: role dev");
    let answered = |event: &state::Event| matches!(event.kind, EventKind::StepAnswered { .. });
    let journal = asked.engine.journal().await.expect("reads");
    assert_eq!(journal.iter().filter(|event| answered(event)).count(), 2, "the same again is no event");
    asked.answer(asked.no("dan").role("dev")).await;
    assert_eq!(asked.ended().await.phase, Phase::Failed);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_asked_cannot_answer_and_the_refusal_says_who_is() {
    let asked = Asked::for_approval(quorum()).await;
    for stranger in [asked.yes("eve"), asked.no("eve").claim("groups", "operator"), asked.yes("eve").role("dev")] {
        let error = asked.refused(stranger).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(
            error.message().contains("user:eve is none") && error.message().contains("groups dev, role operator"),
            "{error}"
        );
    }
    let error = asked.refused(asked.yes("olga").role("operator").step("told")).await;
    assert!(error.message().contains("not step \"told\"") && error.message().contains("\"ask\""), "{error}");
    let nobody = AnswerStep::approve("prod.nothing", Actor::user("olga")).role("operator");
    assert_eq!(asked.refused(nobody).await.kind(), ErrorKind::NotFound);
    assert_eq!(asked.now().steps[0].task.answers, []);
}

#[tokio::test(start_paused = true)]
async fn answers_survive_a_crash_and_are_in_the_audit_trail() {
    let mut asked = Asked::for_approval(quorum()).await;
    asked.answer(asked.yes("dan").claim("groups", "dev").because("fine")).await;
    asked.killed().await;
    assert_eq!(asked.now().steps[0].task.answers.len(), 1);
    an_hour().await;
    asked.killed().await;
    asked.answer(asked.yes("olga").role("operator")).await;
    // Killed with the answer in the journal and the step not called yet.
    asked.killed().await;
    assert_eq!((asked.ended().await.phase, asked.shipped()), (Phase::Succeeded, 1));
    let journal = asked.engine.journal().await.expect("reads");
    let answers = journal.iter().filter(|event| matches!(event.kind, EventKind::StepAnswered { .. }));
    let lines: Vec<String> = answers.map(|event| format!("{}: {}", event.actor, event.kind)).collect();
    let task = format!("{}/step-1", asked.id);
    assert_eq!(
        lines,
        [
            format!("user:dan: {task} approved as groups dev: fine"),
            format!("user:olga: {task} approved as role operator")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_the_waiting_and_the_time_too() {
    let asked = Asked::for_approval(quorum()).await;
    asked.engine.abort(&asked.id, Actor::user("ann")).await.expect("under way");
    let ended = asked.ended().await;
    assert_eq!((ended.phase, asked.shipped()), (Phase::Aborted, 0));
    assert_eq!(asked.refused(asked.yes("olga").role("operator")).await.kind(), ErrorKind::InvalidInput);

    let asked = Asked::for_approval(quorum()).await;
    assert_eq!(asked.now().steps[0].spec.retry.timeout, Some(Duration::from_secs(7 * 24 * 3600)), "a week by default");
    let ask = StepSpec::new("wait-for-approval", quorum()).named("ask").timeout(Duration::from_secs(3600));
    let asked = Asked::of(ask).await;
    an_hour().await;
    an_hour().await;
    let ended = asked.ended().await;
    assert_eq!((ended.phase, asked.shipped()), (Phase::Errored, 0));
    assert!(ended.message.contains("0 of 2 approvals; required: role operator"), "{}", ended.message);
}

#[tokio::test(start_paused = true)]
async fn the_view_shows_who_is_asked_and_what_they_said() {
    let asked = Asked::for_approval(quorum()).await;
    asked.answer(asked.yes("dan").claim("groups", "dev")).await;
    let shown = || {
        let now = asked.engine.now();
        let seen = asked.engine.read(|state| view::pipeline(state, now)).expect("defined");
        seen.stages[0].under_way.clone().and_then(|under_way| under_way.activity)
    };
    let approval = shown().and_then(|activity| activity.approval).expect("it asks");
    assert_eq!((approval.demand.min_approvals, approval.demand.approvers.len()), (2, 2));
    assert_eq!(approval.demand.approvers[1].ground.to_string(), "role operator");
    assert!(approval.demand.approvers[1].required);
    assert_eq!((approval.answers[0].actor.as_str(), approval.answers[0].verdict), ("user:dan", Verdict::Approved));
    asked.answer(asked.yes("olga").role("operator")).await;
    asked.ended().await;
    assert!(shown().is_none(), "nothing is under way any more");
}

#[tokio::test(start_paused = true)]
async fn approvers_can_come_from_expressions_and_wrong_ones_are_found_early() {
    let asked = Asked::for_approval(json!({ "approvers": [{ "role": "${{ ctx.stage }}-owners" }] })).await;
    asked.answer(asked.yes("olga").role("prod-owners")).await;
    assert_eq!(asked.ended().await.phase, Phase::Succeeded);

    for (config, part) in [
        (json!({ "approvers": [] }), "`approvers` is empty"),
        (json!({}), "missing field `approvers`"),
        (json!({ "approvers": [{ "claim": "email" }] }), "either `claim` and `value`, or `role`"),
        (json!({ "approvers": [{ "role": "a", "claim": "email", "value": "b" }] }), "either `claim`"),
        (json!({ "approvers": [{ "role": "a" }], "minApprovals": 0 }), "`minApprovals` is 0"),
        (json!({ "approvers": [{ "role": "a" }], "pollIntervall": "5s" }), "did you mean \"pollInterval\"?"),
    ] {
        let stage = Stage::new("prod").direct("main").step(StepSpec::new("wait-for-approval", config));
        let refused = crate::steps::builtin().build().check(&Shop::of([stage])).expect_err("must be refused");
        assert!(refused.to_string().contains(part), "{part:?} is not in {refused}");
    }
}

/// Until it has ended, the last answer of a person counts: also one that comes while the step looks at those before it.
#[tokio::test(start_paused = true)]
async fn an_approval_is_taken_back_while_the_step_looks_at_it() {
    let asked = || Asked::for_approval(json!({ "approvers": [{ "role": "${{ configMap('who').role }}" }] }));
    for (first_is_yes, phase) in [(true, Phase::Failed), (false, Phase::Succeeded)] {
        let asked = asked().await;
        let answers = [asked.yes("olga").role("owner"), asked.no("olga").role("owner")];
        let [first, second] = if first_is_yes { [0, 1] } else { [1, 0] };
        asked.answer(answers[first].clone()).await;
        // The call that has been told of the first answer asks for the map now.
        tokio::time::sleep(Duration::from_secs(3)).await;
        asked.answer(answers[second].clone()).await;
        let ended = asked.ended().await;
        assert_eq!(ended.phase, phase, "{}", ended.message);
        assert_eq!(asked.shipped(), usize::from(phase == Phase::Succeeded));
    }
}

#[tokio::test(start_paused = true)]
async fn whom_it_asks_cannot_come_from_a_secret() {
    let shop = Shop::new();
    let config = json!({ "approvers": [{ "role": "${{ secret('oncall').role }}" }] });
    let stage = Stage::new("prod").direct("main").step(StepSpec::new("wait-for-approval", config).named("ask"));
    let engine = Asked::start(&shop, &Shop::of([stage])).await;
    let id = engine.promote("prod", &freight(&engine, "1.0.0").await, Actor::user("ann")).await.expect("allowed");
    let ended = engine.finished(&id).await.expect("ends");
    assert_eq!(ended.phase, Phase::Failed);
    assert!(ended.message.contains("whom it asks comes from a secret"), "{}", ended.message);
}

#[tokio::test(start_paused = true)]
async fn however_much_people_say_an_approval_is_one() {
    let asked = Asked::for_approval(json!({ "minApprovals": 300, "approvers": [{ "role": "dev" }] })).await;
    // Each of these takes six bytes in JSON.
    let long = "\u{1}".repeat(5_000);
    for n in 0..300 {
        asked.answer(asked.yes(&format!("dev-{n}")).role("dev").because(&long)).await;
    }
    let ended = asked.ended().await;
    assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
    let responses = &ended.steps[0].task.outputs["responses"];
    assert_eq!(responses.as_array().map(Vec::len), Some(300));
    assert!(responses[0]["message"].as_str().expect("a text").ends_with("[cut]"));
    assert_eq!((&responses[299]["user"], &responses[299]["message"]), (&json!("user:dev-299"), &json!("")));
}
