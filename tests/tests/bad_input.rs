//! What goes wrong in the world around a pipeline: each a sentence that names the object and the way out, and no damage.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use kargo_argocd::testing::Fault as ArgoFault;
use kargo_core::state::Promotion;
use kargo_core::{Actor, Engine, ErrorKind, Phase, Pipeline, Plugins, Stage, StepSpec, Warehouse};
use kargo_examples::shop;
use kargo_git::testing::BareRepository;
use kargo_git::{GitWriter, Remote, YamlUpdate};
use kargo_oci::testing::{Fault, Registry, RegistryAuth};
use kargo_oci::{Client, ImageSource, ImageSpec, ImageSubscription};
use kargo_tests::world::World;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

/// The end of the promotion of 1.0.0 to dev.
async fn end_of_dev(engine: &Engine) -> Promotion {
    let ended = engine.until(|state| state.promotions().find(|p| p.stage == "dev" && p.phase.is_terminal()).cloned());
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends").unwrap()
}

/// Why the warehouse makes no freight.
async fn failing(engine: &Engine) -> String {
    let failing = engine.until(|state| state.warehouse(&"main".into())?.failing.clone());
    tokio::time::timeout(Duration::from_secs(30), failing).await.expect("it says so").unwrap()
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// A promotion to dev in a world that `spoil` has changed; it must end badly, say `parts`, and leave the repository as it was.
async fn promotion_fails(spoil: impl FnOnce(&World), parts: &[&str]) {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    spoil(&world);
    let before = world.repository.log("main");
    let engine = world.engine().await;
    let ended = end_of_dev(&engine).await;
    assert!(matches!(ended.phase, Phase::Errored | Phase::Failed), "{:?}", ended.phase);
    says(&ended.message, parts);
    assert_eq!(world.repository.log("main"), before, "nothing was written");
    assert!(engine.read(|state| state.freight().all(|known| known.verified().is_empty())), "nothing is verified");
    engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_the_file() {
    let spoil = |world: &World| {
        std::fs::remove_dir_all(world.repository.path()).unwrap();
        let bare = BareRepository::create(world.repository.path());
        bare.commit("main", &[("env/prod/values.yaml", "image: {tag: a}\n")], "Start");
    };
    promotion_fails(spoil, &["env/dev/values.yaml", "main"]).await;
}

/// CORE-12: what somebody changed by hand is put right by promoting what the stage runs once more, in one commit.
#[tokio::test(flavor = "multi_thread")]
async fn core_12_drift_by_hand_is_put_right_by_promoting_again() {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    let engine = world.engine().await;
    let first = end_of_dev(&engine).await;
    assert_eq!(first.phase, Phase::Succeeded, "{}", first.message);
    engine.finished(&first.id).await.unwrap();
    let staging = engine.until(|state| {
        let found = state.promotions().find(|p| p.stage == "staging")?;
        (!state.is_open(found)).then_some(())
    });
    staging.await.unwrap();
    let promoted = world.repository.read("main", "env/dev/values.yaml");
    let edited = promoted.replace("1.0.0", "0.9.9");
    assert_ne!(edited, promoted);
    world.repository.commit("main", &[("env/dev/values.yaml", &edited)], "By hand");
    let commits = world.repository.log("main").len();

    let again = engine.promote("dev", &first.freight, Actor::user("alice")).await.unwrap();
    let again = engine.finished(&again).await.unwrap();
    assert_eq!(again.phase, Phase::Succeeded, "{}", again.message);
    assert_eq!(world.repository.read("main", "env/dev/values.yaml"), promoted);
    assert_eq!(world.repository.log("main").len(), commits + 1);
    engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_the_key() {
    let spoil = |world: &World| {
        world.repository.commit("main", &[("env/dev/values.yaml", "image:\n  tagg: a\n")], "Another key");
    };
    promotion_fails(spoil, &["env/dev/values.yaml", "image.tag", "tagg"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_yaml() {
    let spoil = |world: &World| {
        world.repository.commit("main", &[("env/dev/values.yaml", "image: [\n  tag: {a\n")], "Broken");
    };
    promotion_fails(spoil, &["env/dev/values.yaml"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_there() {
    let spoil = |world: &World| std::fs::rename(world.repository.path(), world.store().with_extension("away")).unwrap();
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    spoil(&world);
    let engine = world.engine().await;
    let ended = end_of_dev(&engine).await;
    says(&ended.message, &["config.git"]);
    engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_missing() {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    let update = YamlUpdate::new("env/dev/values.yaml").set("image.tag", "x");
    let pipeline = Pipeline::builder("shop")
        .warehouse(Warehouse::new("main").subscribe(ImageSubscription::new(world.image.as_str()).constraint("^1")))
        .stage(Stage::new("dev").direct("main").auto_promote().step(StepSpec::write("config", update)))
        .build()
        .unwrap();
    let plugins = Plugins::builder()
        .source("image", ImageSource::new(Client::anonymous().unwrap()))
        .writer("config", GitWriter::new(world.remote()).branch("mian"))
        .build();
    let engine = Engine::builder(pipeline, plugins).start().await.unwrap();
    let ended = end_of_dev(&engine).await;
    says(&ended.message, &["has no branch mian; did you mean main?"]);
    assert_eq!(world.repository.log("mian"), [], "the branch was not made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_missing() {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    world.argocd.delete_app("shop-dev");
    let engine = world.engine().await;
    let ended = end_of_dev(&engine).await;
    says(&ended.message, &["shop-dev"]);
    assert!(world.argocd.syncs().is_empty());
    assert_eq!(world.repository.log("main").len(), 2, "the commit was made, and is kept");
    engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn html_instead_of_json_from_argo_cd() {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    let host = world.argocd.url().replace("http://", "");
    world.argocd.set_fault(Some(ArgoFault::Html));
    let engine = world.engine().await;
    let ended = end_of_dev(&engine).await;
    says(&ended.message, &["text/html", "instead of JSON", "log-in page", &host]);
    engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_fails_stops_the_way_to_production() {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    world.argocd.edit_app("shop-dev", |app| app.window_closed = false);
    let engine = world.engine().await;
    // The commit is known before Argo CD has begun, so the sync of it can be made to fail.
    let revision =
        engine.until(|state| state.promotions().find_map(|p| p.revision().map(ToOwned::to_owned))).await.unwrap();
    world.argocd.fail_sync_of(&revision, "the job migrate failed");
    let ended = end_of_dev(&engine).await;
    assert_eq!(ended.phase, Phase::Failed);
    says(&ended.message, &["the job migrate failed", "shop-dev"]);
    let refused = engine.promote("staging", ended.freight.clone(), Actor::user("alice")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    says(&refused.to_string(), &["its last promotion there ended Failed", "the job migrate failed"]);
    engine.shutdown().await.unwrap();
}

/// An engine whose image is at `image`, reached with `client`.
async fn watching(image: &str, client: Client, world: &World) -> Engine {
    let plugins = shop::plugins(client, world.remote(), world.argocd.client().unwrap());
    let pipeline = shop::pipeline(image, Duration::from_secs(5)).unwrap();
    Engine::builder(pipeline, plugins).clock(Arc::new(kargo_core::SystemClock)).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_unreachable() {
    let world = World::here(SHOP).await;
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::builder().tries(2).build().unwrap();
    let engine = watching(&format!("{free}/shop/app"), client, &world).await;
    says(&failing(&engine).await, &[&free.to_string(), "shop/app"]);
    assert_eq!(engine.read(|state| state.freight().count()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_for_the_registry() {
    let world = World::here(SHOP).await;
    let registry = Registry::builder().auth(RegistryAuth::basic("shop", "right")).start().await;
    registry.put_image("shop/app", "1.0.0", &ImageSpec::default());
    let wrong = kargo_oci::StaticCredentials::new()
        .with(registry.host(), kargo_oci::Credentials::basic("shop", "wr0ng-secret"));
    let client = Client::builder().credentials(wrong).build().unwrap();
    let engine = watching(&format!("{}/shop/app", registry.host()), client, &world).await;
    let said = failing(&engine).await;
    says(&said, &[registry.host(), "shop/app"]);
    assert!(!said.contains("wr0ng-secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn html_instead_of_json_from_the_registry() {
    let world = World::here(SHOP).await;
    let registry = Registry::start().await;
    registry.put_image("shop/app", "1.0.0", &ImageSpec::default());
    registry.inject(Fault::html());
    let engine = watching(&format!("{}/shop/app", registry.host()), Client::anonymous().unwrap(), &world).await;
    says(
        &failing(&engine).await,
        &["text/html", registry.host(), "Is this the address of a registry, and is there a proxy before it"],
    );
    assert_eq!(engine.read(|state| state.freight().count()), 0, "no freight is made of a page");
}

#[tokio::test]
async fn addresses_that_cannot_work_are_refused_when_they_are_given() {
    for (url, part) in [("ssh://-oProxyCommand=x/y", "ssh"), ("nonsense://x", "nonsense"), ("", "")] {
        let error = Remote::new(url).expect_err(url);
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(shop::pipeline("", Duration::from_secs(5)).is_ok(), "the image is the source's to check");
    let world = World::here(SHOP).await;
    let plugins = shop::plugins(Client::anonymous().unwrap(), world.remote(), world.argocd.client().unwrap());
    let pipeline = shop::pipeline("UPPER/case:tag", Duration::from_secs(5)).unwrap();
    let error = Engine::builder(pipeline, plugins).start().await.expect_err("no image is called so");
    says(&error.to_string(), &["warehouse \"main\", subscription 1", "UPPER/case:tag"]);
}
