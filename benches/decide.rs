//! What one event costs: applying it, and deciding on the stages it affects.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kargo_benches::{History, name};
use kargo_core::decide::{decide, decide_stage};
use kargo_core::state::Affected;

/// A whole promotion in one stage of a pipeline that grows. The curve must stay flat.
fn one_event(c: &mut Criterion) {
    let mut group = c.benchmark_group("one event through apply and decide, 100 freights");
    for stages in [10, 100, 1_000, 10_000] {
        let mut history = History::new(stages, 100);
        let freight = history.newest();
        let stage = name(0);
        group.throughput(Throughput::Elements(7));
        group.bench_with_input(BenchmarkId::new("stages", stages), &stages, |b, _| {
            b.iter(|| {
                for kind in history.promotion(&stage, &freight) {
                    let Affected::Stages(affected) = history.append(kind) else { continue };
                    for stage in &affected {
                        black_box(decide_stage(&history.pipeline, &history.state, stage, history.now()));
                    }
                }
            });
        });
    }
    group.finish();
}

/// Deciding on every stage from scratch, as after a start.
fn from_scratch(c: &mut Criterion) {
    let mut group = c.benchmark_group("all decisions from scratch, 100 freights");
    group.sample_size(10);
    for stages in [10, 100, 1_000, 10_000] {
        let history = History::new(stages, 100);
        group.throughput(Throughput::Elements(stages as u64));
        group.bench_with_input(BenchmarkId::new("stages", stages), &stages, |b, _| {
            b.iter(|| black_box(decide(&history.pipeline, &history.state, history.now())));
        });
    }
    group.finish();
}

criterion_group!(benches, one_event, from_scratch);
criterion_main!(benches);
