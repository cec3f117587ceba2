//! A process that starts again: opening a store that holds a journal of a million events, and starting the engine on it; and what
//! compacting that journal costs and saves. Each start is in a process of its own, so that its memory is its own.
#![allow(missing_docs, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kargo_benches::{Long, resident, resident_at_most};
use kargo_core::store::{RedbStore, Store};
use kargo_core::testing::{Scripted, ScriptedSource};
use kargo_core::{Engine, PipelineName, Plugins};
use serde_json::Value;

const STAGES: usize = 100;
const PAGE: usize = 1_000;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match std::env::var("KARGO_BENCH_START") {
        Ok(path) => runtime.block_on(start(Path::new(&path))),
        // `cargo test --benches` only wants to see it run.
        Err(_) if std::env::args().any(|arg| arg == "--test") => runtime.block_on(whole(11_000)),
        Err(_) => runtime.block_on(whole(1_000_000)),
    }
}

/// What the process that starts does.
async fn start(path: &Path) {
    let before = resident();
    let begun = Instant::now();
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(path).expect("opens"));
    let opened = begun.elapsed();
    let begun = Instant::now();
    let engine = engine(store).await;
    let started = begun.elapsed();
    println!(
        "  opened in {opened:.0?}, started in {started:.0?}; {} MiB resident, {} MiB at most ({} promotions)",
        (resident() - before) >> 20,
        (resident_at_most() - before) >> 20,
        engine.read(|state| state.promotions().count()),
    );
}

async fn engine(store: Arc<dyn Store>) -> Engine {
    let plugins = Plugins::builder()
        .source("versions", ScriptedSource::versions(["1.0.0"]))
        .step("ship", Scripted::succeeding())
        .build();
    let pipeline = (**Long::new(STAGES).pipeline()).clone();
    Engine::builder(pipeline, plugins).store(store).start().await.expect("starts")
}

fn started_apart(what: &str, path: &Path) {
    println!("{what}:");
    let program = std::env::current_exe().expect("this program");
    let ended = Command::new(program).env("KARGO_BENCH_START", path).status().expect("runs");
    assert!(ended.success());
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len() >> 20
}

async fn whole(events: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let name = PipelineName::from("bench");
    let mut long = Long::new(STAGES);

    let plain = folder.path().join("plain.redb");
    let store = RedbStore::open(&plain).expect("opens");
    let begun = Instant::now();
    let mut raw = 0;
    let mut seq = 0;
    while seq < events as u64 {
        let page = long.page(PAGE);
        raw += page.iter().map(Vec::len).sum::<usize>();
        let count = page.len() as u64;
        store.append(&name, seq, page, None).await.expect("appends");
        seq += count;
    }
    println!("{seq} events, {} MiB of records, written in {:.1?}", raw >> 20, begun.elapsed());

    let begun = Instant::now();
    let copy = long.state().clone();
    let copied = begun.elapsed();
    drop(copy);
    println!("a state of {} promotions is copied in {copied:.1?}", long.state().promotions().count());

    let crashed = folder.path().join("crashed.redb");
    std::fs::copy(&plain, &crashed).expect("copies");
    drop(store);
    started_apart("without a snapshot", &plain);
    started_apart("without a snapshot, after a crash", &crashed);

    let whole: Value = serde_json::to_value(long.state()).expect("encodes");
    for kept in [1_000, 10_000, 90_000] {
        let mut state = whole.clone();
        let promotions = state["promotions"].as_object_mut().expect("promotions");
        let too_many = promotions.len().saturating_sub(kept);
        let old: Vec<String> = promotions.keys().take(too_many).cloned().collect();
        old.iter().for_each(|id| drop(promotions.remove(id)));
        let file = folder.path().join(format!("kept-{kept}.redb"));
        std::fs::copy(&plain, &file).expect("copies");
        let store = RedbStore::open(&file).expect("opens");
        let typed: kargo_core::state::State = serde_json::from_value(state).expect("decodes");
        let begun = Instant::now();
        let copy = typed.clone();
        let copied = begun.elapsed();
        drop(copy);
        // One in the plain form first. An engine that starts from it keeps it in its own when it stops.
        let mut snapshot = vec![1];
        serde_json::to_writer(&mut snapshot, &typed).expect("encodes");
        store.save_snapshot(&name, typed.seq(), snapshot).await.expect("saves");
        let store: Arc<dyn Store> = Arc::new(store);
        let engine = engine(Arc::clone(&store)).await;
        let begun = Instant::now();
        engine.shutdown().await.expect("stops");
        let stopped = begun.elapsed();
        let (_, snapshot) = store.load_snapshot(&name).await.expect("reads").expect("kept");
        println!(
            "{kept} promotions kept: {} MiB of snapshot, copied in {copied:.1?}, kept in {stopped:.1?}",
            snapshot.len() >> 20
        );
        drop((engine, snapshot));
        let crashed = folder.path().join("crashed.redb");
        std::fs::copy(&file, &crashed).expect("copies");
        drop(store);
        started_apart("from the snapshot", &file);
        started_apart("from the snapshot, after a crash", &crashed);
        std::fs::remove_file(&file).expect("removes");
    }

    compaction(&folder.path().join("packed.redb"), &plain, events).await;
}

/// The same journal, packed while it grows, and appends to another pipeline beside it.
async fn compaction(path: &Path, plain: &Path, events: usize) {
    let name = PipelineName::from("bench");
    let other = PipelineName::from("other");
    let store = Arc::new(RedbStore::open(path).expect("opens"));
    let mut long = Long::new(STAGES);
    let (mut seq, mut packed, mut raw) = (0, 0, 0);
    let mut spent = Duration::ZERO;
    let mut waits = Vec::new();
    let mut beside = 0;
    while seq < events as u64 {
        for _ in 0..50 {
            let page = long.page(PAGE);
            raw += page.iter().map(Vec::len).sum::<usize>();
            let count = page.len() as u64;
            store.append(&name, seq, page, None).await.expect("appends");
            seq += count;
        }
        store.save_snapshot(&name, seq, b"not read".to_vec()).await.expect("saves");
        let begun = Instant::now();
        let compacting = tokio::spawn({
            let (store, name) = (Arc::clone(&store), name.clone());
            async move { store.compact(&name, seq - 10_000).await.expect("packs") }
        });
        while !compacting.is_finished() {
            let asked = Instant::now();
            store.append(&other, beside, vec![vec![b'x'; 300]], None).await.expect("appends");
            beside += 1;
            waits.push(asked.elapsed());
        }
        packed += compacting.await.expect("packs");
        spent += begun.elapsed();
    }
    waits.sort();
    let at = |part: usize| waits.get(waits.len() * part / 1_000).or(waits.last()).copied().unwrap_or_default();
    println!(
        "packed {packed} events in {spent:.1?} ({:.0} a second); {} MiB of records in a file of {} MiB, {} MiB without packing",
        packed as f64 / spent.as_secs_f64(),
        raw >> 20,
        size(path),
        size(plain),
    );
    println!(
        "appends beside it: {:.1?} in the median, {:.1?} at the 99.9th percentile, {:.1?} at most",
        at(500),
        at(999),
        at(1_000)
    );
    let begun = Instant::now();
    let mut read = 0;
    while let records = store.read(&name, read, PAGE).await.expect("reads")
        && !records.is_empty()
    {
        read += records.len() as u64;
    }
    println!("all {read} read again in {:.1?}", begun.elapsed());
}
