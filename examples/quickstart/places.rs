//! Where the story takes place: in this process, or wherever the flags say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kargo_argocd::testing::FakeArgoCd;
use kargo_core::plugin::Context;
use kargo_core::{Clock, SystemClock};
use kargo_examples::shop;
use kargo_git::testing::BareRepository;
use kargo_git::{Credentials, Remote};
use kargo_oci::testing::Registry;
use kargo_oci::{Client, ImageSpec, Repository, StaticCredentials};
use secrecy::SecretString;
use tempfile::TempDir;

use super::Args;

/// How many seconds pass in each real one while all is in this process, so that the story is not slow.
const SPEED: u32 = 10;

pub(crate) struct Places {
    pub(crate) image: String,
    pub(crate) registry: Option<Registry>,
    pub(crate) registry_client: Client,
    pub(crate) config: Remote,
    /// The repository, when it is on this machine, so that its commits can be shown.
    pub(crate) repository: Option<BareRepository>,
    pub(crate) argocd: Option<FakeArgoCd>,
    pub(crate) argocd_client: kargo_argocd::Client,
    pub(crate) argocd_url: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interval: Duration,
    pub(crate) store: PathBuf,
    _folder: TempDir,
}

impl Places {
    pub(crate) async fn open(args: &Args) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (registry, registry_client, image) = open_registry(args).await?;
        let (repository, config) = open_repository(args, folder.path())?;
        let (argocd, argocd_client, argocd_url) = open_argocd(args, repository.as_ref()).await?;
        // A fake Argo CD and the engine live in one time; a real one lives in ours.
        let clock: Arc<dyn Clock> = argocd.as_ref().map_or_else(|| Arc::new(SystemClock) as _, FakeArgoCd::clock);
        Ok(Self {
            image,
            interval: Duration::from_secs(60),
            registry,
            registry_client,
            config,
            repository,
            argocd,
            argocd_client,
            argocd_url,
            clock,
            store: args.store.clone().unwrap_or_else(|| folder.path().join("kargo.redb")),
            _folder: folder,
        })
    }

    /// Pushes a version of the image with our own client.
    pub(crate) async fn push(&self, registry: &Registry, version: &str) -> Result<()> {
        let repository = Repository::parse(&format!("{}/shop/app", registry.host()))?;
        let image = ImageSpec::new("linux", "amd64").created(self.clock.now()).label("version", version);
        self.registry_client.push_image(&Context::system("push"), &repository, version, &image).await?;
        Ok(())
    }
}

/// A password from the environment, so that it stands in no list of processes.
fn secret(variable: &str) -> Result<SecretString> {
    let value =
        std::env::var(variable).with_context(|| format!("set the variable {variable}, or leave the user out"))?;
    Ok(value.into())
}

async fn open_registry(args: &Args) -> Result<(Option<Registry>, Client, String)> {
    let Some(image) = &args.image else {
        let registry = Registry::start().await;
        // What the pipeline does not ask for, so that the repository is there before the story begins.
        registry.put_image("shop/app", "0.9.0", &ImageSpec::default());
        let image = format!("{}/shop/app", registry.host());
        return Ok((Some(registry), Client::anonymous()?, image));
    };
    let client = match &args.registry_user {
        None => Client::anonymous()?,
        Some(user) => {
            let credentials = kargo_oci::Credentials::basic(user, secret("REGISTRY_PASSWORD")?);
            Client::builder().credentials(StaticCredentials::new().with(image, credentials)).build()?
        }
    };
    Ok((None, client, image.clone()))
}

fn open_repository(args: &Args, folder: &Path) -> Result<(Option<BareRepository>, Remote)> {
    let Some(given) = &args.repository else {
        let repository = BareRepository::create(folder.join("config.git"));
        shop::seed(&repository);
        let remote = Remote::new(repository.url())?;
        return Ok((Some(repository), remote));
    };
    if !given.contains("://") && !Path::new(given).is_dir() {
        bail!("there is no repository at {given}; give the path of one that is there, or a URL");
    }
    let mut remote = Remote::builder(given);
    if let Some(user) = &args.repository_user {
        remote = remote.credentials(Credentials::basic(user, secret("GIT_PASSWORD")?));
    }
    let local = Path::new(given).is_dir().then(|| BareRepository::open(given));
    Ok((local, remote.build()?))
}

async fn open_argocd(
    args: &Args,
    repository: Option<&BareRepository>,
) -> Result<(Option<FakeArgoCd>, kargo_argocd::Client, String)> {
    match (&args.argocd, repository) {
        (Some(url), _) => {
            let client = kargo_argocd::Client::builder(url).token(secret("ARGOCD_TOKEN")?).build()?;
            Ok((None, client, url.clone()))
        }
        (None, Some(repository)) => {
            let fake = shop::argocd(repository, SPEED).await?;
            let (client, url) = (fake.client()?, fake.url());
            Ok((Some(fake), client, url))
        }
        (None, None) => bail!(
            "the fake Argo CD can only deploy from a repository on this machine; give the URL of a real one with --argocd, or a path with --repository"
        ),
    }
}
