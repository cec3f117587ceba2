//! Whole promotions through engines: three steps that do nothing, every one of them journaled before and after.
#![allow(missing_docs, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use kargo_benches::processor_time;
use kargo_core::store::{MemoryStore, RedbStore, Store};
use kargo_core::testing::{Scripted, ScriptedSource};
use kargo_core::{Actor, Engine, Pipeline, Plugins, Stage, StepSpec, Subscription, Warehouse};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PIPELINES: usize = 100;
/// Promotions in each pipeline, one after the other.
const EACH: u64 = 10;

async fn engines(store: &Arc<dyn Store>, first: usize) -> Vec<Engine> {
    let start = (first..first + PIPELINES).map(|number| {
        let stage = Stage::new("prod").direct("main");
        let stage = (0..3).fold(stage, |stage, _| stage.step(StepSpec::new("nothing", json!({}))));
        let pipeline = Pipeline::builder(format!("p{number}"))
            .warehouse(Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))))
            .stage(stage)
            .build()
            .expect("a valid pipeline");
        let plugins = Plugins::builder()
            .source("versions", ScriptedSource::versions(["1.0.0"]))
            .step("nothing", Scripted::succeeding())
            .build();
        Engine::builder(pipeline, plugins).store(Arc::clone(store)).start()
    });
    join_all(start).await.into_iter().map(|engine| engine.expect("starts")).collect()
}

/// Promotes in all pipelines at once, `rounds` times one after the other.
async fn promote(engines: &[Engine], rounds: u64) -> Duration {
    let begun = Instant::now();
    // On the runtime's own threads, as a host's requests are.
    let all = engines.iter().cloned().map(|engine| {
        tokio::spawn(async move {
            let freight = engine.until(|state| state.freight().next().map(|known| known.freight().id().clone())).await;
            let freight = freight.expect("found");
            for _ in 0..rounds {
                let promotion = engine.promote("prod", &freight, Actor::user("bench")).await.expect("allowed");
                assert!(engine.finished(&promotion).await.expect("ends").phase.is_success());
            }
        })
    });
    for ended in join_all(all).await {
        ended.expect("no promotion panics");
    }
    begun.elapsed()
}

/// Engines whose past is short, as retention keeps it: each round is on new pipelines, and what grows for ever is not measured.
async fn rounds(store: impl Fn() -> Arc<dyn Store>, rounds: u64, first: &mut usize, busy: &mut Duration) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..rounds {
        let engines = engines(&store(), *first).await;
        *first += PIPELINES;
        let before = processor_time();
        took += promote(&engines, EACH).await;
        *busy += processor_time() - before;
        for stopped in join_all(engines.iter().map(Engine::shutdown)).await {
            stopped.expect("stops");
        }
    }
    took
}

fn promotions(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("1,000 promotions of three steps in 100 pipelines");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(PIPELINES as u64 * EACH));
    let redb: Arc<dyn Store> = Arc::new(RedbStore::open(folder.path().join("kargo.redb")).expect("opens"));
    let memory = || Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let redb = || Arc::clone(&redb);
    for (kind, store) in [("memory", &memory as &dyn Fn() -> Arc<dyn Store>), ("redb", &redb)] {
        let (mut first, mut busy) = (0, Duration::ZERO);
        group.bench_function(BenchmarkId::new("through", kind), |b| {
            b.iter_custom(|n| runtime.block_on(rounds(store, n, &mut first, &mut busy)));
        });
        if first > 0 {
            let promoted = first as u64 * EACH;
            let each = busy.as_secs_f64() * 1e6 / promoted as f64;
            println!("{promoted} promotions, {each:.1} us of processor time each");
        }
    }
    group.finish();
}

criterion_group!(benches, promotions);
criterion_main!(benches);
