//! Looking at images in a registry: listing 2,000 tags, inspecting 50 images, finding the newest build of 2,000, and copying images with
//! what refers to them. Beside it skopeo, where it is installed, and for what it can do the crate `oci-client`, against the same registry
//! in the same run. The registry is in this process, and counts what it is asked.
//!
//! The memory of this program is by how much it grew at its peak, its registry included; skopeo's is all that it had.
#![allow(missing_docs, clippy::print_stdout)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kargo_benches::{forget_most, resident, resident_at_most};
use kargo_core::Subscription;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source as _};
use kargo_oci::testing::Registry;
use kargo_oci::{Client, CopyOptions, ImageSource, ImageSpec, ImageSubscription, Repository, SelectionStrategy};
use oci_client::Reference;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use tokio::runtime::Runtime;

struct Size {
    tags: usize,
    inspected: usize,
    /// How many of all tags skopeo inspects, which would take it too long for all.
    sampled: usize,
    copied: usize,
    runs: usize,
}

fn main() {
    // `cargo test --benches` only wants to see it run.
    let test = std::env::args().any(|arg| arg == "--test");
    let size = if test {
        Size { tags: 20, inspected: 2, sampled: 2, copied: 2, runs: 1 }
    } else {
        Size { tags: 2_000, inspected: 50, sampled: 200, copied: 20, runs: 5 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let registry = runtime.block_on(Registry::start());
    let begin: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    for number in 0..size.tags {
        let minutes = i64::try_from(number).expect("a few thousand");
        // Its time is in the configuration, as most builders have it, so it takes a request of its own.
        let spec = ImageSpec::default()
            .created(begin + jiff::SignedDuration::from_mins(minutes))
            .label("number", number.to_string());
        registry.put_image("app", &tag(number), &spec);
    }
    let app = Repository::parse(&format!("{}/app", registry.host())).expect("a repository");
    let skopeo = Command::new("skopeo").arg("--version").stdout(Stdio::null()).status().is_ok();
    let bench = Bench { size, runtime, registry, app, skopeo };
    bench.list();
    bench.inspect();
    bench.newest_build();
    bench.copy();
}

fn tag(number: usize) -> String {
    format!("v1.{}.{}", number / 100, number % 100)
}

struct Bench {
    size: Size,
    runtime: Runtime,
    registry: Registry,
    app: Repository,
    skopeo: bool,
}

impl Bench {
    fn list(&self) {
        let client = client();
        self.measure(&format!("list {} tags", self.size.tags), self.size.runs, || {
            let tags = self.runtime.block_on(client.list_tags(&Context::system("list"), &self.app));
            assert_eq!(tags.expect("the registry answers").len(), self.size.tags);
        });
        let (peer, app) = (peer(), self.reference("latest"));
        self.measure("  oci-client list_tags, page by page", self.size.runs, || {
            assert_eq!(self.runtime.block_on(list_with_peer(&peer, &app)).len(), self.size.tags);
        });
        self.compare("skopeo list-tags", self.size.runs, 1, |_| {
            vec!["list-tags".into(), format!("docker://{}", self.app)]
        });
    }

    fn inspect(&self) {
        let count = self.size.inspected;
        let mut each = Vec::new();
        for at_once in [1, 8] {
            let took = self.measure(&format!("inspect {count} images, {at_once} at once"), self.size.runs, || {
                let client = client();
                let inspected = stream::iter(0..count)
                    .map(|number| {
                        let (client, app) = (client.clone(), self.app.clone());
                        async move { client.image_metadata(&Context::system("look"), &app, &tag(number), None).await }
                    })
                    .buffer_unordered(at_once)
                    .try_collect::<Vec<_>>();
                let inspected = self.runtime.block_on(inspected).expect("the registry answers");
                assert!(inspected.iter().all(|(_, image)| image.created_at.is_some() && !image.labels.is_empty()));
            });
            each.push(took);
            self.inspect_with_peer(count, at_once);
        }
        let Some(skopeo) = self.inspect_with_skopeo(count, self.size.runs) else { return };
        for (at_once, took) in [1, 8].into_iter().zip(each) {
            let factor = skopeo.as_secs_f64() / took.as_secs_f64();
            let took = took.as_secs_f64() * 1e3 / count as f64;
            println!("{at_once} at once: {took:.2} ms for each image, {factor:.0} times faster than skopeo");
            // Two images, unoptimised, show nothing.
            assert!(factor >= 5.0 || self.size.runs == 1, "at least five times faster for each image");
        }
    }

    /// Manifest, digest and configuration of each, which has its time and its labels.
    fn inspect_with_peer(&self, count: usize, at_once: usize) {
        self.measure(&format!("  oci-client, {count} images, {at_once} at once"), self.size.runs, || {
            let peer = peer();
            let inspected = stream::iter(0..count)
                .map(|number| {
                    let (peer, image) = (peer.clone(), self.reference(&tag(number)));
                    async move { peer.pull_manifest_and_config(&image, &RegistryAuth::Anonymous).await }
                })
                .buffer_unordered(at_once)
                .try_collect::<Vec<_>>();
            for (_, _, config) in self.runtime.block_on(inspected).expect("the registry answers") {
                let config: serde_json::Value = serde_json::from_str(&config).expect("a configuration");
                assert!(config["created"].is_string() && config["config"]["Labels"]["number"].is_string());
            }
        });
    }

    fn reference(&self, tag: &str) -> Reference {
        format!("{}:{tag}", self.app).parse().expect("a reference")
    }

    fn inspect_with_skopeo(&self, count: usize, runs: usize) -> Option<Duration> {
        self.compare(&format!("skopeo inspect --no-tags, {count} one after the other"), runs, count, |number| {
            vec!["inspect".into(), "--no-tags".into(), format!("docker://{}:{}", self.app, tag(number))]
        })
    }

    fn newest_build(&self) {
        let newest = tag(self.size.tags - 1);
        let subscription = ImageSubscription::new(self.app.to_string()).strategy(SelectionStrategy::NewestBuild);
        let name = format!("newest build of {} tags", self.size.tags);
        for (kind, subscription) in
            [("", subscription.clone()), (", tags that never move", subscription.immutable_tags(true))]
        {
            let mut last = None;
            let mut first_source = ImageSource::new(client());
            self.measure(&format!("{name}{kind}, first look"), self.size.runs, || {
                first_source = ImageSource::new(client());
                last = self.look(&first_source, &subscription, None, &newest);
            });
            self.measure(&format!("{name}{kind}, nothing new"), self.size.runs, || {
                assert!(self.look(&first_source, &subscription, last.as_ref(), &newest).is_none());
            });
        }
        // It has no way to find the newest but to inspect each.
        self.inspect_with_skopeo(self.size.sampled, 1);
    }

    fn copy(&self) {
        let count = self.size.copied;
        for number in 0..count {
            self.put_sbom(number);
        }
        let mut run = 0;
        for (what, options) in
            [("", CopyOptions::default()), (" with an SBOM that refers to each", CopyOptions::default().referrers())]
        {
            self.measure(&format!("copy {count} images{what}"), self.size.runs, || {
                run += 1;
                let to = Repository::parse(&format!("{}/copy-{run}", self.registry.host())).expect("a repository");
                let (client, cx) = (client(), Context::system("copy"));
                for number in 0..count {
                    let tag = tag(number);
                    let copied = self.runtime.block_on(client.copy(&cx, &self.app, &tag, &to, &tag, &options));
                    assert_eq!(copied.expect("the registry answers").referrers, usize::from(!what.is_empty()));
                }
            });
        }
        self.compare("skopeo copy, which takes no referrers along", 1, count, |number| {
            let tag = tag(number);
            let to = format!("docker://{}/copied:{tag}", self.registry.host());
            vec!["copy".into(), "--preserve-digests".into(), format!("docker://{}:{tag}", self.app), to]
        });
    }

    /// Stores an SBOM that refers to an image.
    fn put_sbom(&self, number: usize) {
        let (kind, media_type) = ("application/spdx+json", "application/vnd.oci.image.manifest.v1+json");
        let text = format!(r#"{{"spdxVersion":"SPDX-2.3","number":{number}}}"#);
        let (config, layer) = (self.registry.put_blob("app", "{}"), self.registry.put_blob("app", text.as_str()));
        let subject = self.registry.digest("app", &tag(number)).expect("the image is there");
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": kind, "digest": layer, "size": text.len()}],
            "subject": {"mediaType": media_type, "digest": subject, "size": 1},
        });
        self.registry.put_manifest("app", "sbom", media_type, manifest.to_string());
        self.registry.remove_tag("app", "sbom");
    }

    fn look(
        &self,
        source: &ImageSource,
        subscription: &ImageSubscription,
        cursor: Option<&Cursor>,
        newest: &str,
    ) -> Option<Cursor> {
        let config = Subscription::from(subscription.clone()).config;
        let request = DiscoverRequest::new(&config).with_cursor(cursor);
        let found = self.runtime.block_on(source.discover(&Context::system("discover"), &request));
        match found.expect("the registry answers") {
            Discovery::Unchanged => None,
            Discovery::Found { candidates, cursor } => {
                assert_eq!(candidates[0].version(), newest);
                cursor
            }
        }
    }

    /// Prints the median time of `work`, what it asked of the registry, and by how much it made this process grow.
    fn measure(&self, name: &str, runs: usize, mut work: impl FnMut()) -> Duration {
        let mut times: Vec<(Duration, usize, u64)> = (0..runs)
            .map(|_| {
                self.registry.clear_requests();
                forget_most();
                let before = resident();
                let begun = Instant::now();
                work();
                let took = begun.elapsed();
                (took, self.registry.requests().len(), resident_at_most().saturating_sub(before))
            })
            .collect();
        let grown = times.iter().map(|(_, _, grown)| *grown).max().unwrap_or_default();
        times.sort_unstable();
        let (took, requests, _) = times[runs / 2];
        print(name, took, requests, grown);
        took
    }

    /// The same for a program, called so many times in each run.
    fn compare(
        &self,
        name: &str,
        runs: usize,
        calls: usize,
        arguments: impl Fn(usize) -> Vec<String>,
    ) -> Option<Duration> {
        if !self.skopeo {
            println!("  {name}: skopeo is not installed");
            return None;
        }
        let mut most = 0;
        let mut times: Vec<(Duration, usize)> = (0..runs)
            .map(|_| {
                self.registry.clear_requests();
                let begun = Instant::now();
                for call in 0..calls {
                    let arguments = arguments(call);
                    let (command, rest) = arguments.split_first().expect("a command");
                    let mut skopeo = Command::new("skopeo");
                    let insecure: &[&str] = match command.as_str() {
                        "copy" => &["--src-tls-verify=false", "--dest-tls-verify=false"],
                        _ => &["--tls-verify=false"],
                    };
                    skopeo.arg(command).args(insecure).args(rest).stdout(Stdio::null());
                    let mut skopeo = skopeo.spawn().expect("skopeo was there");
                    most = most.max(peak(skopeo.id()));
                    assert!(skopeo.wait().expect("it ends").success());
                }
                (begun.elapsed(), self.registry.requests().len())
            })
            .collect();
        times.sort_unstable();
        let (took, requests) = times[runs / 2];
        print(&format!("  {name}"), took, requests, most);
        Some(took)
    }
}

fn client() -> Client {
    Client::anonymous().expect("a client")
}

fn peer() -> oci_client::Client {
    let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    oci_client::Client::try_from(config).expect("a client")
}

/// All tags. It leaves the pages to its callers, and does not tell them how the registry names the next one.
async fn list_with_peer(peer: &oci_client::Client, app: &Reference) -> Vec<String> {
    const PAGE: usize = 1_000;
    let mut tags: Vec<String> = Vec::new();
    loop {
        let last = tags.last().map(String::as_str);
        let page = peer.list_tags(app, &RegistryAuth::Anonymous, Some(PAGE), last).await.expect("the registry answers");
        let is_last = page.tags.len() < PAGE;
        tags.extend(page.tags);
        if is_last {
            return tags;
        }
    }
}

fn print(name: &str, took: Duration, requests: usize, memory: u64) {
    let memory = memory as f64 / 1e6;
    println!("{name:62} {:9.1} ms {requests:6} requests {memory:7.1} MB", took.as_secs_f64() * 1e3);
}

/// The most memory that another process had, as far as it was seen while it ran.
fn peak(id: u32) -> u64 {
    let mut most = 0;
    while let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) {
        // A process that has ended has no memory any more.
        let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
        most = most.max(line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kilobytes| kilobytes << 10));
        std::thread::sleep(Duration::from_millis(1));
    }
    most
}
