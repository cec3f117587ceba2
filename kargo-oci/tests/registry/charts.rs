use std::fmt::Write as _;

use kargo_core::edit::helm::{Dependency, dependencies, set_dependencies};
use kargo_core::plugin::{Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, Chart, ErrorKind, Freight, FreightCollection, Pick, Result, Subscription};
use kargo_oci::testing::{Fault, Registry, RegistryAuth};
use kargo_oci::{
    ChartSource, ChartSubscription, Client, Credentials, ImageSpec, Misfit, Offer, StaticCredentials, TagOutcome,
};

use crate::{client, cx};

async fn look(source: &ChartSource, subscription: ChartSubscription, cursor: Option<&Cursor>) -> Result<Discovery> {
    let subscription = Subscription::from(subscription);
    source.validate(&subscription.config)?;
    source.discover(&cx(), &DiscoverRequest::new(&subscription.config).with_cursor(cursor)).await
}

fn found(discovery: Discovery) -> (Vec<Chart>, Cursor) {
    let Discovery::Found { candidates, cursor } = discovery else { panic!("{discovery:?}") };
    let charts = candidates.into_iter().map(|artifact| match artifact {
        Artifact::Chart(chart) => chart,
        other => panic!("{other:?}"),
    });
    (charts.collect(), cursor.unwrap())
}

fn versions(charts: &[Chart]) -> Vec<&str> {
    charts.iter().map(|chart| chart.version.as_str()).collect()
}

fn oci(registry: &Registry) -> ChartSubscription {
    ChartSubscription::oci(format!("oci://{}/charts/shop", registry.host()))
}

fn classic(registry: &Registry) -> ChartSubscription {
    ChartSubscription::classic(format!("http://{}/stable", registry.host()), "shop")
}

/// An index with a chart of so many versions, among others.
fn index(count: usize) -> String {
    let mut text = String::from("apiVersion: v1\nentries:\n  aaa:\n  - version: 99.0.0\n  shop:\n");
    for number in 0..count {
        write!(
            text,
            "  - apiVersion: v2\n    appVersion: \"1.0\"\n    created: \"2026-01-01T00:00:00Z\"\n    description: A chart that sells \
             things, with a description of the usual length.\n    digest: {number:064x}\n    keywords: [shop, sales]\n    \
             maintainers:\n    - email: shop@example.com\n      name: Shop\n    name: shop\n    urls:\n    - \
             https://charts.example/shop-{number}.tgz\n    version: 1.{}.{}\n",
            number / 100,
            number % 100
        )
        .unwrap();
    }
    text + "  zzz:\n  - version: 98.0.0\ngenerated: \"2026-01-01T00:00:00Z\"\n"
}

#[tokio::test]
async fn a_chart_in_a_registry_costs_the_pages_alone() {
    let registry = Registry::builder().page_size(2).start().await;
    for tag in ["1.0.0", "1.1.0", "1.2.0_build.5", "1.2", "2.0.0", "latest", "v1.0.5"] {
        registry.put_image("charts/shop", tag, &ImageSpec::default());
    }
    let source = ChartSource::new(client());
    let (charts, cursor) =
        found(look(&source, oci(&registry).constraint("^1").discovery_limit(3), None).await.unwrap());
    assert_eq!(versions(&charts), ["1.2.0+build.5", "1.1.0", "v1.0.5"]);
    assert_eq!(
        (charts[0].repo_url.clone(), charts[0].name.as_str()),
        (format!("oci://{}/charts/shop", registry.host()), "")
    );
    assert_eq!(registry.requests().len(), 4);
    let again = look(&source, oci(&registry).constraint("^1").discovery_limit(3), Some(&cursor)).await.unwrap();
    assert_eq!((again, registry.requests().len()), (Discovery::Unchanged, 8));
    registry.put_image("charts/shop", "1.3.0", &ImageSpec::default());
    let (charts, _) =
        found(look(&source, oci(&registry).constraint("^1").discovery_limit(3), Some(&cursor)).await.unwrap());
    assert_eq!(charts[0].version, "1.3.0");
}

#[tokio::test]
async fn oci_14_versions_with_a_v_are_offered_as_they_were_published() {
    let registry = Registry::start().await;
    for tag in ["v1.16.3", "v1.17.0", "1.18.0"] {
        registry.put_image("charts/shop", tag, &ImageSpec::default());
    }
    for constraint in ["v1.16.x", "1.16.x"] {
        let (charts, _) =
            found(look(&ChartSource::new(client()), oci(&registry).constraint(constraint), None).await.unwrap());
        assert_eq!(versions(&charts), ["v1.16.3"]);
    }
}

#[tokio::test]
async fn every_tag_of_a_chart_in_a_registry_has_its_reason() {
    let registry = Registry::builder().page_size(3).start().await;
    let signature = format!("sha256-{}.sig", "0".repeat(64));
    let tags = ["1.0.0", "1.1.0", "1.2.0_build.5", "1.2", "2.0.0", "latest", "1.3.0-rc9", &signature];
    for tag in tags {
        registry.put_image("charts/shop", tag, &ImageSpec::default());
    }
    let (source, subscription) =
        (ChartSource::new(client()), oci(&registry).constraint(">=1.0.0-0 <2").discovery_limit(3));
    let explanation = source.explain(&cx(), &subscription).await.unwrap();
    assert_eq!((explanation.tags.len(), registry.requests().len()), (tags.len(), 3), "the pages alone");
    let outcome = |tag: &str| &explanation.tag(tag).unwrap().outcome;
    for (rank, tag, version) in
        [(1, "1.3.0-rc9", "1.3.0-rc9"), (2, "1.2.0_build.5", "1.2.0+build.5"), (3, "1.1.0", "1.1.0")]
    {
        let TagOutcome::Offered { rank: offered, offer: Offer::Chart { version: offers } } = outcome(tag) else {
            panic!("{explanation}")
        };
        assert_eq!((*offered, offers.as_str()), (rank, version));
        assert_eq!(explanation.tags[rank - 1].tag, tag, "the offered ones come first, in their order");
    }
    assert!(matches!(outcome("1.0.0"), TagOutcome::BeyondLimit));
    assert!(matches!(outcome("1.2"), TagOutcome::Misfit(Misfit::NotAVersion(why)) if why.contains("three numbers")));
    assert!(matches!(outcome("latest"), TagOutcome::Misfit(Misfit::NotAVersion(_))));
    assert!(matches!(outcome("2.0.0"), TagOutcome::Misfit(Misfit::OutsideConstraint(by)) if by.contains("<2")));
    assert!(matches!(outcome(&signature), TagOutcome::Misfit(Misfit::Attachment)));
    let text = explanation.to_string();
    let host = registry.host();
    assert!(text.starts_with(&format!("oci://{host}/charts/shop: 8 tags\n")), "{text}");
    assert!(text.contains("  1.2.0_build.5: offered, number 2, version 1.2.0+build.5\n"), "{text}");
    assert!(text.contains("Note: In 1.3.0-rc9 a number"), "{text}");

    // What is explained is what is offered.
    let (charts, _) = found(look(&source, subscription, None).await.unwrap());
    assert_eq!(versions(&charts), ["1.3.0-rc9", "1.2.0+build.5", "1.1.0"]);
}

#[tokio::test]
async fn every_version_of_a_chart_in_an_index_has_its_reason() {
    let registry = Registry::start().await;
    let index = "entries:\n  other: [{version: 9.0.0}]\n  shop:\n  - version: 1.2\n  - version: 1.2\n  - version: 1.1.0\n  \
                 - version: 2.0.0\n  - version: \"a\\e[2Jb\"\n";
    registry.put_file("/stable/index.yaml", "text/yaml", index);
    let (source, subscription) = (ChartSource::new(client()), classic(&registry).constraint("^1").discovery_limit(1));
    let explanation = source.explain(&cx(), &subscription).await.unwrap();
    assert_eq!((explanation.name.as_str(), registry.requests().len()), ("shop", 1));
    let tags: Vec<&str> = explanation.tags.iter().map(|report| report.tag.as_str()).collect();
    assert_eq!(tags, ["1.2", "1.1.0", "2.0.0", "a\u{1b}[2Jb"], "each once, and none of another chart");
    let outcome = |tag: &str| &explanation.tag(tag).unwrap().outcome;
    assert!(matches!(outcome("1.2"), TagOutcome::Offered { rank: 1, .. }), "short versions count here");
    assert!(matches!(outcome("1.1.0"), TagOutcome::BeyondLimit));
    assert!(matches!(outcome("2.0.0"), TagOutcome::Misfit(Misfit::OutsideConstraint(_))));
    let text = explanation.to_string();
    let place = format!("shop in http://{}/stable: 4 versions\n", registry.host());
    assert!(text.starts_with(&place) && explanation.notes.is_empty(), "{text}");
    assert!(!text.replace('\n', "").chars().any(char::is_control), "{text:?}");

    // What discover would fail on, explain fails on.
    let other = ChartSubscription::classic(format!("http://{}/stable", registry.host()), "shopp");
    let error = source.explain(&cx(), &other).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("\"shop\""), "{error}");
    let wrong = source.explain(&cx(), &ChartSubscription::oci("ghcr.io/acme")).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn oci_06_half_a_listing_of_chart_versions_is_an_error() {
    let registry = Registry::builder().page_size(1).start().await;
    for tag in ["1.0.0", "2.0.0"] {
        registry.put_image("charts/shop", tag, &ImageSpec::default());
    }
    registry.inject(Fault::status(500).on("last="));
    let source = ChartSource::new(Client::builder().tries(1).build().unwrap());
    assert_eq!(look(&source, oci(&registry), None).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_index_of_twenty_thousand_versions_is_one_request_and_later_a_conditional_one() {
    let registry = Registry::start().await;
    registry.put_file("/stable/index.yaml", "text/yaml", index(20_000));
    let source = ChartSource::new(client());
    let (charts, cursor) =
        found(look(&source, classic(&registry).constraint("1.x").discovery_limit(2), None).await.unwrap());
    assert_eq!(versions(&charts), ["1.199.99", "1.199.98"]);
    assert_eq!((charts[0].name.as_str(), registry.requests().len()), ("shop", 1));
    let again = look(&source, classic(&registry).constraint("1.x").discovery_limit(2), Some(&cursor)).await.unwrap();
    assert_eq!(again, Discovery::Unchanged);
    assert_eq!(registry.requests().last().unwrap().status, 304);
    assert_eq!(registry.requests().len(), 2);

    registry.put_file("/stable/index.yaml", "text/yaml", index(20_001));
    let (charts, _) =
        found(look(&source, classic(&registry).constraint("1.x").discovery_limit(2), Some(&cursor)).await.unwrap());
    assert_eq!(charts[0].version, "1.200.0");
}

#[tokio::test]
async fn ten_subscriptions_to_one_chart_fetch_its_index_once() {
    let registry = Registry::start().await;
    registry.put_file("/stable/index.yaml", "text/yaml", index(100));
    let source = ChartSource::new(client());
    let looks = (0..10).map(|number| look(&source, classic(&registry).constraint(format!("1.0.{number}")), None));
    for (number, discovery) in futures::future::try_join_all(looks).await.unwrap().into_iter().enumerate() {
        assert_eq!(versions(&found(discovery).0), [format!("1.0.{number}")]);
    }
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn what_is_no_index_is_an_error_that_says_so() {
    let registry = Registry::start().await;
    registry.put_file("/stable/index.yaml", "text/yaml", index(1));
    let source = ChartSource::new(Client::builder().tries(1).build().unwrap());
    for (fault, needle) in [
        (Fault::html(), "address of a chart repository"),
        (Fault::body("text/yaml", vec![0xff, 0xfe, 0]), "no text"),
        (Fault::body("text/yaml", "entries:\n  shop: [".as_bytes()), "YAML"),
        (Fault::truncated(), "127.0.0.1"),
        (Fault::endless(), "bytes that this answer may have"),
        (Fault::body("text/yaml", "a: &a [x]\nentries: &b\n  shop: *b"), "alias"),
    ] {
        registry.clear_faults();
        registry.inject(fault);
        let error = look(&source, classic(&registry), None).await.unwrap_err();
        assert!(
            error.message().contains(needle) && error.report().contains("127.0.0.1"),
            "{needle}: {}",
            error.report()
        );
    }
    registry.clear_faults();
    let other = ChartSubscription::classic(format!("http://{}/stable", registry.host()), "shopp");
    let error = look(&source, other, None).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("\"shop\""), "{error}");
    let missing = ChartSubscription::classic(format!("http://{}/unstable", registry.host()), "shop");
    assert_eq!(look(&source, missing, None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn credentials_of_a_classic_repository_go_with_the_first_request_and_to_its_host_alone() {
    let registry = Registry::builder().auth(RegistryAuth::basic("robot", "right")).start().await;
    registry.put_file("/stable/index.yaml", "text/yaml", index(1));
    let other = Registry::start().await;
    other.put_file("/moved.yaml", "text/yaml", index(2));
    let client_with = |password: &str| {
        let credentials = StaticCredentials::new()
            .with(format!("http://{}/stable", registry.host()), Credentials::basic("robot", password));
        Client::builder().credentials(credentials).build().unwrap()
    };
    let source = ChartSource::new(client_with("right"));
    assert_eq!(versions(&found(look(&source, classic(&registry), None).await.unwrap()).0), ["1.0.0"]);
    assert_eq!(registry.requests().iter().map(|request| request.status).collect::<Vec<_>>(), [200]);

    let error = look(&ChartSource::new(client_with("hunter2")), classic(&registry), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!error.report().contains("hunter2") && error.report().contains("robot"), "{}", error.report());

    let moved = format!("http://{}/moved.yaml", other.host());
    registry.inject(Fault::status(302).with_header("location", moved));
    assert_eq!(versions(&found(look(&source, classic(&registry), None).await.unwrap()).0), ["1.0.1", "1.0.0"]);
    assert!(other.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn credentials_are_not_sent_where_everyone_could_read_them() {
    // A proxy, so that a host by any name is reached.
    let registry = Registry::builder().auth(RegistryAuth::basic("robot", "right")).start().await;
    registry.put_file("/stable/index.yaml", "text/yaml", index(1));
    let builder = || {
        let proxy = reqwest::Proxy::all(format!("http://{}", registry.host())).unwrap();
        Client::builder()
            .http(reqwest::Client::builder().proxy(proxy))
            .credentials(StaticCredentials::new().with("charts.example", Credentials::basic("robot", "right")))
    };
    let chart = || ChartSubscription::classic("http://charts.example/stable", "shop");
    let source = ChartSource::new(builder().build().unwrap());
    for _ in 0..2 {
        let error = look(&source, chart(), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.message().contains("use https"), "{error}");
    }
    assert!(registry.requests().iter().all(|request| request.authorization.is_none()));

    let trusting = ChartSource::new(builder().insecure_http("charts.example").build().unwrap());
    assert_eq!(versions(&found(look(&trusting, chart(), None).await.unwrap()).0), ["1.0.0"]);
}

#[tokio::test]
async fn oci_15_a_chart_is_the_same_however_kargo_argo_cd_and_helm_write_it() {
    let registry = Registry::start().await;
    registry.put_image("bitnamicharts/kube-prometheus", "9.5.0", &ImageSpec::default());
    let host = registry.host();
    let subscription = ChartSubscription::oci(format!("oci://{host}/bitnamicharts/kube-prometheus"));
    let (charts, _) = found(look(&ChartSource::new(client()), subscription, None).await.unwrap());
    let freight = Freight::new("main", charts.into_iter().map(Artifact::Chart).collect(), jiff::Timestamp::UNIX_EPOCH);
    let collection = FreightCollection::new().with(freight);
    let (repository, name) = (format!("{host}/bitnamicharts"), "kube-prometheus");
    for written in [
        // A subscription of Kargo's; a source of Argo CD's, which has both apart; and a dependency in a Chart.yaml.
        format!("oci://{repository}/{name}"),
        format!("{repository}/{name}"),
        format!("oci://{}/{name}", repository.to_uppercase()),
    ] {
        assert_eq!(Pick::ChartVersion(written.clone()).resolve(&collection).unwrap(), "9.5.0", "{written}");
    }
    Pick::ChartVersion(format!("oci://{repository}/other")).resolve(&collection).unwrap_err();

    // Helm writes the repository and the name apart, and the dependency gets the version of the freight.
    let chart =
        format!("name: shop\ndependencies:\n- name: {name}\n  repository: oci://{repository}\n  version: 9.4.0\n");
    let [dependency] = &dependencies(&chart).unwrap()[..] else { panic!("{chart}") };
    let pick = Pick::ChartVersion(format!("{}/{}", dependency.repository, dependency.name));
    let version = pick.resolve(&collection).unwrap();
    let wanted = Dependency::new(dependency.repository.as_str(), name, version);
    assert_eq!(set_dependencies(&chart, &[wanted]).unwrap(), chart.replace("9.4.0", "9.5.0"));
}
