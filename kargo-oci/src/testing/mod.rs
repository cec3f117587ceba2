//! A registry in the test's own process, with faults on demand.
//!
//! It speaks the distribution API over HTTP on a loopback port, keeps everything in memory, writes down every request,
//! and stops when it is dropped.
//!
//! ```
//! use kargo_core::plugin::Context;
//! use kargo_oci::testing::{Fault, Registry};
//! use kargo_oci::{Client, ImageSpec, Repository};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kargo_core::Result<()> {
//! let registry = Registry::start().await;
//! registry.put_image("app", "1.0.0", &ImageSpec::default());
//! registry.inject(Fault::status(503).on("tags/list").times(1));
//!
//! let app = Repository::parse(&format!("{}/app", registry.host()))?;
//! let tags = Client::anonymous()?.list_tags(&Context::system("test"), &app).await?;
//! assert_eq!(tags, ["1.0.0"]);
//! assert_eq!(registry.count("GET", "tags/list"), 2);
//! # Ok(())
//! # }
//! ```

mod auth;
mod fault;
mod serve;
mod storage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::auth::Tokens;
use self::storage::Storage;
use crate::repository::digest_of;
use crate::spec::{Built, ImageSpec};

pub use self::auth::{BearerAuth, RegistryAuth};
pub use self::fault::Fault;

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

/// A request that a [`Registry`] has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method: `GET`.
    pub method: String,
    /// The path: `/v2/app/tags/list`.
    pub path: String,
    /// The query without its question mark; empty when there is none.
    pub query: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `If-None-Match` header.
    pub if_none_match: Option<String>,
    /// The status that was answered.
    pub status: u16,
}

/// How a [`Registry`] behaves.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RegistryBuilder {
    auth: RegistryAuth,
    page_size: Option<usize>,
    refuses_above: Option<usize>,
    absolute_links: bool,
    opaque_pages: bool,
    lists_have_etags: bool,
    lacks_referrers: bool,
    refuses_mounts: bool,
}

impl RegistryBuilder {
    /// Sets what is asked of clients. Nothing by default.
    pub fn auth(mut self, auth: impl Into<RegistryAuth>) -> Self {
        self.auth = auth.into();
        self
    }

    /// Returns at most this many tags at once. Without, all that are asked for.
    pub fn page_size(mut self, size: usize) -> Self {
        self.page_size = Some(size.max(1));
        self
    }

    /// Answers with status 400 when more tags than this are asked for at once.
    pub fn refuse_page_sizes_above(mut self, most: usize) -> Self {
        self.refuses_above = Some(most);
        self
    }

    /// Names the next page by its whole URL, not by its path.
    pub fn absolute_links(mut self) -> Self {
        self.absolute_links = true;
        self
    }

    /// Names the next page by something that is no tag, and returns tags in no useful order, as ECR does.
    pub fn opaque_pages(mut self) -> Self {
        self.opaque_pages = true;
        self
    }

    /// Gives each page of a listing an `ETag`, and does not send it again to a client that has it.
    pub fn list_etags(mut self) -> Self {
        self.lists_have_etags = true;
        self
    }

    /// Does not know the referrers API, as registries that are older than it.
    pub fn without_referrers(mut self) -> Self {
        self.lacks_referrers = true;
        self
    }

    /// Takes no blob over from another repository, but begins an upload instead, as a registry may.
    pub fn without_mounts(mut self) -> Self {
        self.refuses_mounts = true;
        self
    }

    /// Starts the registry on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be opened.
    pub async fn start(self) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be opened");
        let address = listener.local_addr().expect("a listener that is bound has an address");
        let shared = Arc::new(Shared { options: self, host: address.to_string(), state: Mutex::default() });
        let app = Router::new().fallback(serve::handle).with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
                let _ = stopped.await;
            });
            let _ = serving.await;
        });
        Registry { shared, stop: Some(stop) }
    }
}

#[derive(Debug)]
struct Shared {
    options: RegistryBuilder,
    host: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    storage: Storage,
    tokens: Tokens,
    faults: Vec<Fault>,
    log: Vec<Request>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere has failed already; its registry may as well go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Starts a registry that asks for nothing and returns all tags at once.
    ///
    /// # Panics
    /// As for [`RegistryBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Begins a registry with other behaviour.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// Where it listens: `127.0.0.1:PORT`. In front of a repository's name it makes its URL.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// Stores a small image under a tag, without a request, and returns its digest.
    pub fn put_image(&self, repository: &str, tag: &str, spec: &ImageSpec) -> String {
        self.put(repository, tag, Built::image(spec))
    }

    /// Stores an index of small images under a tag, without a request, and returns the index's digest.
    pub fn put_index(
        &self,
        repository: &str,
        tag: &str,
        specs: &[ImageSpec],
        annotations: &BTreeMap<String, String>,
    ) -> String {
        self.put(repository, tag, Built::index(specs, annotations))
    }

    fn put(&self, repository: &str, tag: &str, built: Built) -> String {
        let mut state = self.shared.state();
        for blob in built.blobs {
            state.storage.put_blob(repository, blob);
        }
        let mut digest = String::new();
        for (media_type, bytes) in built.manifests {
            digest = state.storage.put_manifest(repository, &media_type, bytes);
        }
        state.storage.tag(repository, tag, &digest);
        digest
    }

    /// Stores a manifest's bytes under a tag, whatever they are, and returns their digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: impl Into<Vec<u8>>) -> String {
        let mut state = self.shared.state();
        let digest = state.storage.put_manifest(repository, media_type, bytes.into());
        state.storage.tag(repository, tag, &digest);
        digest
    }

    /// Stores a file to be fetched by its path, such as `/charts/index.yaml`, as a classic chart repository has. It has an `ETag`.
    /// Who may fetch it is decided by [`RegistryAuth::Basic`] as for everything else.
    pub fn put_file(&self, path: &str, content_type: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.state().storage.put_file(path, content_type, bytes.into());
    }

    /// Stores a blob, without a request, and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let digest = digest_of(&bytes);
        self.shared.state().storage.put_blob(repository, bytes);
        digest
    }

    /// Removes a tag, and leaves what it named.
    pub fn remove_tag(&self, repository: &str, tag: &str) {
        self.shared.state().storage.remove_tag(repository, tag);
    }

    /// Removes a manifest or index but leaves the tags that name it, as a registry in the middle of a clean-up.
    pub fn remove_manifest(&self, repository: &str, digest: &str) {
        self.shared.state().storage.remove_manifest(repository, digest, false);
    }

    /// The digest that a tag has.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        self.shared.state().storage.resolve(repository, tag)
    }

    /// Adds a fault. The first one that fits a request is used up by it.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Makes every token that was given out worthless.
    pub fn expire_tokens(&self) {
        self.shared.state().tokens.expire();
    }

    /// Accepts a bearer token that was made elsewhere, for scopes such as `repository:app:pull`.
    pub fn accept_token(&self, token: &str, scopes: &[&str]) {
        self.shared.state().tokens.accept(token, scopes.iter().map(|scope| (*scope).to_owned()).collect());
    }

    /// Changes the password that is asked for.
    pub fn set_password(&self, password: &str) {
        self.shared.state().tokens.set_password(password);
    }

    /// All requests since the start or the last [`Registry::clear_requests`].
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().log.clone()
    }

    /// How many requests had this method (any, when empty) and this text in their path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let fits = |request: &&Request| (method.is_empty() || request.method == method) && request.path.contains(path);
        self.shared.state().log.iter().filter(fits).count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.state().log.clear();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody listens any more when the runtime is gone, and then there is nothing to stop.
            let _ = stop.send(());
        }
    }
}
