//! The servers around the shop's engine, and what must be true of them whatever happened to it.

mod check;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kargo_argocd::testing::FakeArgoCd;
use kargo_core::store::RedbStore;
use kargo_core::{Clock, Engine, plugin::Context};
use kargo_examples::shop;
use kargo_git::testing::BareRepository;
use kargo_git::{Credentials, Remote};
use kargo_oci::testing::Registry;
use kargo_oci::{Client, ImageSpec, Repository};

use crate::{git, server};

pub use check::{check_journal, check_repository, check_syncs, check_values};

/// How many seconds pass in each real one, for the shop's process and for Argo CD alike.
const SPEED: u32 = 20;

/// What outlives the process of the shop: a registry, a configuration repository, an Argo CD, and the file of the store.
#[derive(Debug)]
pub struct World {
    /// The image's repository.
    pub image: String,
    /// The configuration repository, on this machine.
    pub repository: BareRepository,
    /// Its URL, as the shop uses it.
    pub repository_url: String,
    /// User and password for it.
    pub git_login: Option<(String, String)>,
    /// The Argo CD.
    pub argocd: FakeArgoCd,
    /// The registry, when it is in this process.
    registry: Option<Registry>,
    shop: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    /// A world in this process and on its disk. `shop` is the program of the shop's process.
    ///
    /// # Panics
    /// When it cannot be made, as the other methods do when they fail.
    pub async fn here(shop: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = BareRepository::create(folder.path().join("config.git"));
        let registry = Registry::start().await;
        // So that the repository is there before a version that fits is.
        registry.put_image("shop/app", "0.9.0", &ImageSpec::default());
        let (image, url) = (format!("{}/shop/app", registry.host()), repository.url());
        Self::new(shop, folder, image, Some(registry), repository, url, None).await
    }

    /// A world on the servers of `tests/run.sh`: Debian's registry, and Git's own server behind a web server. Only Argo CD is
    /// in this process.
    pub async fn on_servers(shop: &str, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stamp = format!("{name}-{}-{}", std::process::id(), RandomState::new().hash_one(name));
        let root = PathBuf::from(server("KARGO_TEST_GIT_ROOT"));
        let repository = BareRepository::create(root.join(format!("{stamp}.git")));
        let url = format!("{}/{stamp}.git", server("KARGO_TEST_GIT_HTTP"));
        let login = (server("KARGO_TEST_GIT_USER"), server("KARGO_TEST_GIT_PASSWORD"));
        let image = format!("{}/{stamp}/app", server("KARGO_TEST_REGISTRY"));
        let world = Self::new(shop, folder, image, None, repository, url, Some(login)).await;
        world.publish("0.9.0").await;
        world
    }

    async fn new(
        shop: &str,
        folder: tempfile::TempDir,
        image: String,
        registry: Option<Registry>,
        repository: BareRepository,
        repository_url: String,
        git_login: Option<(String, String)>,
    ) -> Self {
        shop::seed(&repository);
        let argocd = shop::argocd(&repository, SPEED).await.expect("a port is free");
        Self { image, repository, repository_url, git_login, argocd, registry, shop: shop.into(), folder }
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("kargo.redb")
    }

    /// The clock on which Argo CD lives.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.argocd.clock()
    }

    /// Publishes a version of the image: on a real registry with our own client, and then with skopeo under the name that
    /// the shop watches.
    pub async fn publish(&self, version: &str) {
        let spec = ImageSpec::default().label("version", version);
        if let Some(registry) = &self.registry {
            registry.put_image("shop/app", version, &spec);
            return;
        }
        let built = format!("{}-built", self.image);
        let repository = Repository::parse(&built).expect("a repository's name");
        let client = Client::anonymous().expect("a client");
        client.push_image(&Context::system("push"), &repository, version, &spec).await.expect("pushes");
        let copied = tokio::process::Command::new("skopeo")
            .args(["copy", "--quiet", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args([format!("docker://{built}:{version}"), format!("docker://{}:{version}", self.image)])
            .output();
        let copied = copied.await.expect("skopeo is installed");
        assert!(copied.status.success(), "skopeo copy: {}", String::from_utf8_lossy(&copied.stderr));
    }

    /// The configuration repository, as the shop reaches it.
    pub fn remote(&self) -> Remote {
        let mut remote = Remote::builder(&self.repository_url);
        if let Some((user, password)) = &self.git_login {
            remote = remote.credentials(Credentials::basic(user, password.as_str()));
        }
        remote.build().expect("a good URL")
    }

    /// The shop's engine in this process, on this world.
    pub async fn engine(&self) -> Engine {
        let store = Arc::new(RedbStore::open(self.store()).expect("the store opens"));
        let argocd = self.argocd.client().expect("a client");
        let plugins = shop::plugins(Client::anonymous().expect("a client"), self.remote(), argocd);
        let pipeline = shop::pipeline(&self.image, Duration::from_secs(5)).expect("a valid pipeline");
        Engine::builder(pipeline, plugins).store(store).clock(self.clock()).start().await.expect("starts")
    }

    /// The shop as a process, which ends when `version` is verified in production.
    pub fn command(&self, version: &str) -> Command {
        let mut command = Command::new(&self.shop);
        command
            .args(["--image", &self.image, "--repository", &self.repository_url, "--version", version])
            .args(["--argocd", &self.argocd.url(), "--speed", &SPEED.to_string()])
            .arg("--store")
            .arg(self.store())
            .env("SHOP_ARGOCD_TOKEN", self.argocd.token())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        if let Some((user, password)) = &self.git_login {
            command.env("SHOP_GIT_USER", user).env("SHOP_GIT_PASSWORD", password);
        }
        command
    }

    /// Starts the shop as a process.
    pub fn start(&self, version: &str) -> Child {
        self.command(version).spawn().expect("starts")
    }

    /// Checks what the journal, stock git and Argo CD say when `versions` versions have reached production, `last` at the end.
    pub async fn check(&self, versions: usize, last: &str) {
        let engine = self.engine().await;
        let events = engine.journal().await.expect("the journal can be read");
        engine.shutdown().await.expect("stops");
        let (state, promotions) = check_journal(&events);
        assert_eq!(promotions.len(), versions * shop::STAGES.len(), "one promotion for each version and stage");
        let commits = check_repository(self.repository.path(), &promotions);
        check_syncs(&self.argocd, &state, &commits);
        check_values(&self.repository, last);
        let locks = git(self.repository.path(), &["for-each-ref", "--format=%(refname)"]);
        assert_eq!(locks, "refs/heads/main", "nothing else was left behind");
        assert!(!self.repository.path().join("refs/heads/main.lock").exists(), "a lock was left behind");
    }
}

/// Waits for a shop's process, which must end well.
pub fn finish(child: Child, version: &str) {
    let output = tokio::task::block_in_place(|| child.wait_with_output()).expect("can be waited for");
    assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes versions to production one after the other, with the shop's process killed at `kills` random instants, and checks the world.
pub async fn kill_at_random(world: &World, kills: usize) {
    // The first run is left alone, to learn how long one takes.
    world.publish("1.0.0").await;
    let began = Instant::now();
    finish(world.start("1.0.0"), "1.0.0");
    let whole = began.elapsed();

    let (mut left, mut versions) = (kills, 1);
    while left > 0 {
        let version = format!("1.0.{versions}");
        world.publish(&version).await;
        versions += 1;
        loop {
            let mut child = world.start(&version);
            if left == 0 {
                finish(child, &version);
                break;
            }
            tokio::time::sleep(whole.mul_f64(random())).await;
            // A run that has got far leaves less for the next, so that one may end before it is killed.
            if let Some(status) = child.try_wait().expect("can be waited for") {
                assert!(status.success(), "{version} ended with {status}");
                break;
            }
            child.kill().expect("can be killed");
            child.wait().expect("can be waited for");
            left -= 1;
        }
    }
    world.check(versions, &format!("1.0.{}", versions - 1)).await;
}

/// A random share between 0 and 1.
fn random() -> f64 {
    (RandomState::new().hash_one(Instant::now()) >> 11) as f64 / (1_u64 << 53) as f64
}
