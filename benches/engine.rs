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

const PIPELINES: usize = 100;

async fn engines(store: &Arc<dyn Store>) -> Vec<Engine> {
    let start = (0..PIPELINES).map(|number| {
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

fn promotions(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("promotions of three steps in 100 pipelines");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(PIPELINES as u64));
    let redb: Arc<dyn Store> = Arc::new(RedbStore::open(folder.path().join("kargo.redb")).expect("opens"));
    for (kind, store) in [("memory", Arc::new(MemoryStore::new()) as Arc<dyn Store>), ("redb", redb)] {
        let engines = runtime.block_on(engines(&store));
        let (mut promoted, busy) = (0, processor_time());
        group.bench_function(BenchmarkId::new("through", kind), |b| {
            b.iter_custom(|rounds| {
                promoted += rounds * PIPELINES as u64;
                runtime.block_on(promote(&engines, rounds))
            });
        });
        if promoted > 0 {
            let each = (processor_time() - busy).as_secs_f64() * 1e6 / promoted as f64;
            println!("{promoted} promotions, {each:.1} us of processor time each");
        }
        runtime.block_on(async {
            for engine in &engines {
                engine.shutdown().await.expect("stops");
            }
        });
    }
    group.finish();
}

criterion_group!(benches, promotions);
criterion_main!(benches);
