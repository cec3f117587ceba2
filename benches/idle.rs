//! Engines that have nothing to do: 10,000 pipelines of ten stages in one process, on one store. What memory they take, and what
//! time their leases cost while nothing happens. Each store is measured in a process of its own, so that its memory is its own.
#![allow(missing_docs, clippy::print_stdout)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kargo_benches::{processor_time, resident};
use kargo_core::store::{MemoryStore, RedbStore, Store};
use kargo_core::testing::{Scripted, ScriptedSource};
use kargo_core::{Engine, Pipeline, PipelineBuilder, Plugins, Stage, StepSpec, Subscription, Warehouse};
use serde_json::json;

/// How long idling is watched: several renewals of each lease.
const WATCHED: Duration = Duration::from_secs(30);

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match std::env::var("KARGO_BENCH_STORE") {
        Ok(kind) => runtime.block_on(idle(&kind, 10_000, WATCHED)),
        // `cargo test --benches` only wants to see it run.
        Err(_) if std::env::args().any(|arg| arg == "--test") => runtime.block_on(idle("memory", 10, Duration::ZERO)),
        Err(_) => {
            for kind in ["memory", "redb"] {
                let program = std::env::current_exe().expect("this program");
                let ended = Command::new(program).env("KARGO_BENCH_STORE", kind).status().expect("runs");
                assert!(ended.success());
            }
        }
    }
}

fn pipeline(number: usize) -> Pipeline {
    // Its looks are so far apart that they are no part of what is measured.
    let main =
        Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))).every(Duration::from_secs(86_400));
    let stage = |number: usize| {
        let stage = Stage::new(format!("s{number}")).step(StepSpec::new("ship", json!({})));
        if number == 0 { stage.direct("main") } else { stage.after("main", [format!("s{}", number - 1)]) }
    };
    let builder = Pipeline::builder(format!("p{number:05}")).warehouse(main);
    (0..10).map(stage).fold(builder, PipelineBuilder::stage).build().expect("a valid pipeline")
}

async fn idle(kind: &str, pipelines: usize, watched: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> = match kind {
        "redb" => Arc::new(RedbStore::open(folder.path().join("kargo.redb")).expect("opens")),
        _ => Arc::new(MemoryStore::new()),
    };
    let plugins = Plugins::builder()
        .source("versions", ScriptedSource::versions(["1.0.0"]))
        .step("ship", Scripted::succeeding())
        .build();
    let before = resident();
    let definitions: Vec<Pipeline> = (0..pipelines).map(pipeline).collect();
    let defined = resident() - before;
    let begun = Instant::now();
    let engines: Vec<Engine> = futures::stream::iter(definitions)
        .map(|pipeline| Engine::builder(pipeline, plugins.clone()).store(Arc::clone(&store)).start())
        .buffer_unordered(256)
        .map(|engine| engine.expect("starts"))
        .collect()
        .await;
    for engine in &engines {
        engine.until(|state| state.freight().next().map(|_| ())).await.expect("found");
    }
    let started = begun.elapsed();
    // What the first look has left to do is done.
    tokio::time::sleep(Duration::from_secs(2).min(watched)).await;
    let (busy, begun) = (processor_time(), Instant::now());
    tokio::time::sleep(watched).await;
    let busy = processor_time().saturating_sub(busy).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!(
        "{pipelines} idle pipelines of ten stages, {kind}: started in {started:.1?}, {} MiB resident, {} of them the definitions, {:.1} % of one processor",
        (resident() - before) >> 20,
        defined >> 20,
        busy * 100.0,
    );
    let begun = Instant::now();
    let stop: Vec<_> = engines.iter().map(Engine::shutdown).collect();
    futures::future::join_all(stop).await.into_iter().for_each(|stopped| stopped.expect("stops"));
    println!("  stopped in {:.1?}", begun.elapsed());
}
