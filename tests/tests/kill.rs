//! The kill test: a process that promotes is killed with SIGKILL at random instants, and started again.
#![allow(clippy::unwrap_used)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kargo_argocd::testing::FakeArgoCd;
use kargo_core::Engine;
use kargo_core::store::RedbStore;
use kargo_examples::shop;
use kargo_git::testing::BareRepository;
use kargo_oci::ImageSpec;
use kargo_oci::testing::Registry;
use kargo_tests::world::{check_journal, check_repository, check_syncs, check_values};

/// How many seconds pass in each real one, for the process and for Argo CD alike.
const SPEED: u32 = 20;

/// What outlives the process.
struct World {
    registry: Registry,
    repository: BareRepository,
    argocd: FakeArgoCd,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = BareRepository::create(folder.path().join("config.git"));
        shop::seed(&repository);
        let argocd = shop::argocd(&repository, SPEED).await.unwrap();
        Self { registry: Registry::start().await, repository, argocd, folder }
    }

    fn image(&self) -> String {
        format!("{}/shop/app", self.registry.host())
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("kargo.redb")
    }

    fn publish(&self, version: &str) {
        self.registry.put_image("shop/app", version, &ImageSpec::default().label("version", version));
    }

    fn command(&self, version: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
        command
            .args(["--image", &self.image(), "--repository", &self.repository.url(), "--version", version])
            .args(["--argocd", &self.argocd.url(), "--speed", &SPEED.to_string()])
            .arg("--store")
            .arg(self.store())
            .env("SHOP_ARGOCD_TOKEN", self.argocd.token())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, version: &str) -> Child {
        self.command(version).spawn().unwrap()
    }

    /// What the journal, stock git and Argo CD say at the end.
    async fn check(&self, versions: usize, last: &str) {
        let store = std::sync::Arc::new(RedbStore::open(self.store()).unwrap());
        let argocd = self.argocd.client().unwrap();
        let config = kargo_git::Remote::new(self.repository.url()).unwrap();
        let plugins = shop::plugins(kargo_oci::Client::anonymous().unwrap(), config, argocd);
        let pipeline = shop::pipeline(&self.image(), Duration::from_secs(5)).unwrap();
        let engine = Engine::builder(pipeline, plugins).store(store).clock(self.argocd.clock()).start().await.unwrap();
        let events = engine.journal().await.unwrap();
        engine.shutdown().await.unwrap();
        let (state, promotions) = check_journal(&events);
        assert_eq!(promotions.len(), versions * shop::STAGES.len(), "one promotion for each version and stage");
        let commits = check_repository(self.repository.path(), &promotions);
        check_syncs(&self.argocd, &state, &commits);
        check_values(&self.repository, last);
        let locks = find_locks(self.repository.path());
        assert!(locks.is_empty(), "left behind: {locks:?}");
    }
}

fn find_locks(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find_locks(&path));
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A random share between 0 and 1.
fn random() -> f64 {
    (RandomState::new().hash_one(Instant::now()) >> 11) as f64 / (1_u64 << 53) as f64
}

fn finish(child: Child, version: &str) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_200_random_instants_every_promotion_ends_with_one_commit_and_one_sync() {
    const KILLS: usize = 200;
    let world = World::new().await;
    // The first run is left alone, to learn how long one takes.
    world.publish("1.0.0");
    let began = Instant::now();
    tokio::task::block_in_place(|| finish(world.start("1.0.0"), "1.0.0"));
    let whole = began.elapsed();

    let (mut kills, mut versions, mut late) = (0, 1, 0);
    while kills < KILLS {
        let version = format!("1.0.{versions}");
        world.publish(&version);
        versions += 1;
        // Early kills find the start, late ones the end; a run that gets far leaves less for the next.
        loop {
            let mut child = world.start(&version);
            if kills == KILLS {
                tokio::task::block_in_place(|| finish(child, &version));
                break;
            }
            tokio::time::sleep(whole.mul_f64(random())).await;
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{version} ended with {status}");
                late += 1;
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
    }
    assert!(late < versions, "the last run is always left to end by itself");
    world.check(versions, &format!("1.0.{}", versions - 1)).await;
}

/// The store's file may not grow: the process says so, nothing that was stored is lost, and with room again all goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_store_stops_the_work_and_harms_nothing() {
    let world = World::new().await;
    world.publish("1.0.0");
    tokio::task::block_in_place(|| finish(world.start("1.0.0"), "1.0.0"));
    world.publish("1.0.1");
    // The limit of a shell on the size of files that its programs write stands for a full disk: writes beyond it fail.
    let limit = std::fs::metadata(world.store()).unwrap().len() / 2 / 512;
    let full = world.command("1.0.1");
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -f {limit}; trap '' XFSZ; exec \"$0\" \"$@\""))
        .arg(full.get_program())
        .args(full.get_args())
        .args(["--patience", "3"])
        .envs(full.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = tokio::task::block_in_place(|| limited.output()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it cannot have got through");
    assert!(said.contains("has no room left") && said.contains("kargo.redb"), "{said}");

    tokio::task::block_in_place(|| finish(world.start("1.0.1"), "1.0.1"));
    world.check(2, "1.0.1").await;
}
