//! The main job against real servers: Debian's registry, with images pushed by our client and by skopeo, and Git's own server
//! behind a web server.
#![allow(clippy::unwrap_used)]

use kargo_core::decide::{GateKind, Standing};
use kargo_core::{Actor, Engine, FreightId, Phase, PromoteError};
use kargo_tests::git;
use kargo_tests::world::{World, check_journal, check_repository, check_syncs, kill_at_random};

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

async fn verified(engine: &Engine, stage: &str, version: &str) -> FreightId {
    let found = engine.until(|state| {
        let known = state.freight().find(|known| known.freight().label() == version)?;
        known.verified().contains_key(stage).then(|| known.freight().id().clone())
    });
    found.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_pushed_reaches_production_and_is_rolled_back() {
    let world = World::on_servers(SHOP, "story").await;
    let engine = world.engine().await;
    let alice = || Actor::user("alice");

    // A new tag is found, and becomes freight once.
    world.publish("1.0.0").await;
    world.publish("2.0.0").await;
    engine.refresh("main").await.unwrap();
    let first = engine.until(|state| state.freight().next().map(|known| known.freight().clone())).await.unwrap();
    assert_eq!(first.label(), "1.0.0", "2.0.0 does not meet the constraint");
    assert!(first.images().next().unwrap().digest.starts_with("sha256:"));

    // Production is refused until staging has verified it.
    let refused = engine.promote("prod", first.id(), alice()).await.unwrap_err();
    let PromoteError::Refused(refusal) = refused else { panic!("{refused}") };
    let staging = |gate: &GateKind| matches!(gate, GateKind::Verified { upstream, standing } if *upstream == "staging" && *standing != Standing::Verified);
    assert!(refusal.admission().missing().any(|gate| staging(&gate.kind)), "{refusal}");

    let first = verified(&engine, "staging", "1.0.0").await;
    let promotion = engine.promote("prod", &first, alice()).await.unwrap();
    assert_eq!(engine.finished(&promotion).await.unwrap().phase, Phase::Succeeded);

    world.publish("1.1.0").await;
    engine.refresh("main").await.unwrap();
    let second = verified(&engine, "staging", "1.1.0").await;
    let promotion = engine.promote("prod", &second, alice()).await.unwrap();
    engine.finished(&promotion).await.unwrap();

    // Rolling back is a promotion with a commit of its own, and nothing undoes it.
    let rollback = engine.promote("prod", &first, alice()).await.unwrap();
    let ended = engine.finished(&rollback).await.unwrap();
    engine.refresh("main").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let events = engine.journal().await.unwrap();
    engine.shutdown().await.unwrap();

    let (state, promotions) = check_journal(&events);
    assert_eq!(promotions.len(), 7);
    let commits = check_repository(world.repository.path(), &promotions);
    check_syncs(&world.argocd, &state, &commits);
    assert_eq!(commits[&rollback], ended.revision().unwrap());
    assert!(world.repository.read("main", "env/prod/values.yaml").contains("  tag: 1.0.0 # written by promotions\n"));
    assert!(world.repository.read("main", "env/staging/values.yaml").contains("  tag: 1.1.0 # written"));

    let message = git(world.repository.path(), &["log", "-1", "--format=%B", &commits[&rollback]]);
    let freight = format!("Kargo-Freight: {first}");
    for part in [&format!("Kargo-Promotion: {rollback}"), &freight, "Kargo-Stage: prod", "Kargo-Actor: user:alice"] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_40_random_instants_on_real_servers_nothing_is_lost_or_done_twice() {
    let world = World::on_servers(SHOP, "kill").await;
    kill_at_random(&world, 40).await;
}
