//! Where a server may lead this client, and what it takes along: nothing that is anybody else's business.

use kargo_core::ErrorKind;
use kargo_oci::testing::{BearerAuth, Fault, Registry, RegistryAuth};
use kargo_oci::{Client, Credentials, ImageSpec, ManifestContent, Repository, StaticCredentials};

use crate::{cx, repository};

const PASSWORD: &str = "correct horse";

/// A registry that wants to know who asks, and somebody who listens elsewhere and has the same image.
struct World {
    registry: Registry,
    thief: Registry,
    digest: String,
    client: Client,
}

impl World {
    async fn new(auth: impl Into<RegistryAuth>) -> Self {
        Self::with(auth, Credentials::basic("robot", PASSWORD), RegistryAuth::Open).await
    }

    async fn with(auth: impl Into<RegistryAuth>, credentials: Credentials, thief: impl Into<RegistryAuth>) -> Self {
        let registry = Registry::builder().auth(auth).start().await;
        let thief = Registry::builder().auth(thief).start().await;
        let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
        assert_eq!(thief.put_image("app", "1.0.0", &ImageSpec::default()), digest);
        let credentials = StaticCredentials::new().with(registry.host(), credentials);
        let client = Client::builder().credentials(credentials).tries(1).build().unwrap();
        Self { registry, thief, digest, client }
    }

    fn app(&self) -> Repository {
        repository(&self.registry, "app")
    }

    /// Has requests of this path, once they are let in, be led to the same path elsewhere.
    fn lead_away(&self, path: &str) {
        let location = format!("http://{}{path}", self.thief.host());
        self.registry.inject(Fault::status(307).with_header("location", location).on(path));
    }

    /// What was heard elsewhere has no secret.
    fn assert_nothing_was_shown(&self) {
        let heard = format!("{:?}", self.thief.requests());
        assert!(self.thief.requests().iter().all(|request| request.authorization.is_none()), "{heard}");
        for secret in [PASSWORD, "token-", "refresh me"] {
            assert!(!heard.contains(secret), "{heard}");
        }
    }
}

fn bearer() -> BearerAuth {
    BearerAuth::new("robot", PASSWORD)
}

#[tokio::test]
async fn manifests_and_blobs_may_be_elsewhere_and_credentials_do_not_go_there() {
    for auth in [RegistryAuth::basic("robot", PASSWORD), bearer().into()] {
        let world = World::new(auth).await;
        let (app, digest) = (world.app(), &world.digest);
        let manifest = world.client.manifest(&cx(), &app, digest).await.unwrap();
        let ManifestContent::Image { config, .. } = manifest.content else { panic!("an image was pushed") };
        world.lead_away(&format!("/v2/app/manifests/{digest}"));
        world.lead_away(&format!("/v2/app/blobs/{config}"));
        world.client.manifest(&cx(), &app, digest).await.unwrap();
        world.client.blob(&cx(), &app, &config).await.unwrap();
        let there = world.registry.requests().iter().rev().find(|request| request.status == 307).cloned().unwrap();
        assert!(there.authorization.is_some(), "the registry itself was told who asks");
        assert_eq!(world.thief.requests().len(), 2);
        world.assert_nothing_was_shown();
    }
}

#[tokio::test]
async fn another_server_that_asks_for_credentials_gets_none() {
    for (auth, thief) in [
        (RegistryAuth::basic("robot", PASSWORD), RegistryAuth::basic("robot", PASSWORD)),
        (bearer().into(), bearer().into()),
        (RegistryAuth::Open, RegistryAuth::basic("robot", PASSWORD)),
    ] {
        let world = World::with(auth, Credentials::basic("robot", PASSWORD), thief).await;
        world.client.manifest(&cx(), &world.app(), "1.0.0").await.unwrap();
        world.lead_away(&format!("/v2/app/manifests/{}", world.digest));
        let error = world.client.manifest(&cx(), &world.app(), &world.digest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(!world.thief.requests().is_empty());
        world.assert_nothing_was_shown();
    }
}

#[tokio::test]
async fn who_wants_to_know_who_asks_answers_itself_and_lists_and_tokens_are_not_fetched_elsewhere() {
    let world = World::new(bearer()).await;
    world.client.list_tags(&cx(), &world.app()).await.unwrap();
    world.lead_away("/v2/app/tags/list");
    let error = world.client.list_tags(&cx(), &world.app()).await.unwrap_err();
    assert!(error.message().contains("redirects to another server"), "{error}");
    world.registry.clear_faults();
    world.registry.expire_tokens();
    world.lead_away("/token");
    let error = world.client.list_tags(&cx(), &world.app()).await.unwrap_err();
    assert!(error.message().contains("redirects to another server"), "{error}");
    assert!(world.thief.requests().is_empty(), "{:?}", world.thief.requests());

    // Of one that everybody may read, the list may be elsewhere, as that of registry.k8s.io is.
    let world = World::new(RegistryAuth::Open).await;
    world.lead_away("/v2/app/tags/list");
    assert_eq!(world.client.list_tags(&cx(), &world.app()).await.unwrap(), ["1.0.0"]);
    assert_eq!(world.thief.requests().len(), 1);
}

#[tokio::test]
async fn an_identity_token_is_not_posted_again_elsewhere() {
    let auth = bearer().identity("refresh me");
    let world = World::with(auth, Credentials::identity("refresh me"), bearer().identity("refresh me")).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/token", world.thief.host());
        world.registry.inject(Fault::status(status).with_header("location", location).on("/token").times(1));
        let error = world.client.list_tags(&cx(), &world.app()).await.unwrap_err();
        assert!(!error.report().contains("refresh me"), "{}", error.report());
        assert!(world.thief.requests().is_empty(), "{status}: {:?}", world.thief.requests());
    }
}

#[tokio::test]
async fn an_upload_does_not_go_to_another_host() {
    for auth in [RegistryAuth::basic("robot", PASSWORD), bearer().into()] {
        let world = World::new(auth).await;
        let location = format!("http://{}/v2/app/blobs/uploads/1", world.thief.host());
        world.registry.inject(Fault::header("location", location.clone()).on("/blobs/uploads").method("POST"));
        let error = world.client.push_blob(&cx(), &world.app(), b"secret".to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
        world.registry.clear_faults();
        // Nor does one that is led away when it is sent.
        world.registry.inject(Fault::status(307).with_header("location", location).on("/blobs/uploads/").method("PUT"));
        world.client.push_blob(&cx(), &world.app(), b"secret".to_vec()).await.unwrap_err();
        assert!(world.thief.requests().is_empty(), "{:?}", world.thief.requests());
    }
}

#[tokio::test]
async fn a_next_page_of_referrers_on_another_host_is_not_asked_for() {
    let world = World::new(bearer()).await;
    let link = format!("<http://{}/v2/app/referrers/{}>; rel=next", world.thief.host(), world.digest);
    world.registry.inject(Fault::header("link", link).on("/referrers/"));
    let error = world.client.referrers(&cx(), &world.app(), &world.digest).await.unwrap_err();
    assert!(error.message().contains("another host"), "{error}");
    assert!(world.thief.requests().is_empty());
}

#[tokio::test]
async fn a_public_server_does_not_lead_to_this_machine() {
    let (registry, inside) = (Registry::start().await, Registry::start().await);
    for there in [&registry, &inside] {
        there.put_image("app", "1.0.0", &ImageSpec::default());
    }
    // By this name it is anywhere but on this machine, as far as the client can know.
    let port = registry.host().split_once(':').unwrap().1;
    let name = format!("registry.example:{port}");
    let http = reqwest::Client::builder().no_proxy().resolve("registry.example", "127.0.0.1:0".parse().unwrap());
    let client = Client::builder().insecure_http(&name).http(http).tries(1).build().unwrap();
    let app = Repository::parse(&format!("{name}/app")).unwrap();
    let digest = client.manifest(&cx(), &app, "1.0.0").await.unwrap().digest;
    let (_, other_port) = inside.host().split_once(':').unwrap();
    for host in [
        inside.host().to_owned(),
        format!("localhost:{other_port}"),
        format!("[::ffff:127.0.0.1]:{other_port}"),
        // Where clouds keep the credentials of their machines, and a private network.
        "169.254.169.254".to_owned(),
        "10.0.0.1:5000".to_owned(),
        "[fd00::1]:5000".to_owned(),
    ] {
        registry.clear_faults();
        let location = format!("http://{host}/v2/app/manifests/{digest}");
        registry.inject(Fault::status(307).with_header("location", location));
        let error = client.manifest(&cx(), &app, &digest).await.unwrap_err();
        assert!(error.message().contains("redirects to an internal address"), "{host}: {error}");
    }
    assert!(inside.requests().is_empty());
    // One that is inside itself may: it is the operator who has named it.
    let app = repository(&registry, "app");
    registry.clear_faults();
    let location = format!("http://{}/v2/app/manifests/{digest}", inside.host());
    registry.inject(Fault::status(307).with_header("location", location));
    crate::client().manifest(&cx(), &app, &digest).await.unwrap();
}
