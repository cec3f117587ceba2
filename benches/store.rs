//! Durable appends: through the store, and as the floor a plain file with one `fdatasync` for each.
#![allow(missing_docs)]

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use kargo_core::PipelineName;
use kargo_core::store::{MemoryStore, RedbStore, Store};

const RECORD: [u8; 300] = [b'x'; 300];

fn appends(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("durable appends of 300 bytes");
    group.sample_size(10);

    group.throughput(Throughput::Elements(1));
    let mut file = std::fs::File::create(folder.path().join("plain")).expect("a file");
    group.bench_function("a plain file, one fdatasync each (the floor)", |b| {
        b.iter(|| {
            file.write_all(&RECORD).expect("writes");
            file.sync_data().expect("syncs");
        });
    });

    let stores: [(&str, Arc<dyn Store>); 2] = [
        ("redb", Arc::new(RedbStore::open(folder.path().join("kargo.redb")).expect("opens"))),
        ("memory", Arc::new(MemoryStore::new())),
    ];
    let run = AtomicU64::new(0);
    for (kind, store) in stores {
        for pipelines in [1_u64, 16, 256] {
            group.throughput(Throughput::Elements(pipelines));
            group.bench_with_input(
                BenchmarkId::new(kind, format!("{pipelines} pipelines at once")),
                &pipelines,
                |b, _| {
                    // Pipelines of its own, so that each journal begins at its beginning.
                    let run = run.fetch_add(1, Ordering::Relaxed);
                    let names: Vec<PipelineName> = (0..pipelines).map(|n| format!("r{run}-p{n}").into()).collect();
                    let mut seq = 0;
                    b.iter_custom(|rounds| {
                        let begun = Instant::now();
                        runtime.block_on(async {
                            for _ in 0..rounds {
                                let round =
                                    names.iter().map(|name| store.append(name, seq, vec![RECORD.to_vec()], None));
                                join_all(round).await.into_iter().for_each(|appended| appended.expect("appends"));
                                seq += 1;
                            }
                        });
                        begun.elapsed()
                    });
                },
            );
        }
    }
    group.finish();
}

criterion_group!(benches, appends);
criterion_main!(benches);
