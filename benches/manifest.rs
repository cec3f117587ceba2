//! What reading manifests costs: loading and checking a thousand stages in one file, and making their pipeline.
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kargo_benches::promise;
use kargo_core::manifest::{Manifests, STEPS, lint};

const STAGES: usize = 1000;

/// A warehouse, and stages in chains of ten, each with the seven steps of an everyday promotion.
fn file() -> String {
    let mut text = String::from(
        "apiVersion: kargo.akuity.io/v1alpha1
kind: Warehouse
metadata: {name: main, namespace: shop}
spec:
  subscriptions:
  - image: {repoURL: ghcr.io/acme/app, constraint: ^1}
",
    );
    for stage in 0..STAGES {
        let sources = match stage % 10 {
            0 => "direct: true".to_owned(),
            _ => format!("stages: [stage-{}]", stage - 1),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---
apiVersion: kargo.akuity.io/v1alpha1
kind: Stage
metadata:
  name: stage-{stage}
  namespace: shop
spec:
  requestedFreight:
  - origin:
      kind: Warehouse
      name: main
    sources:
      {sources}
  promotionTemplate:
    spec:
      vars:
      - name: repo
        value: https://git.example/acme/config.git
      - name: image
        value: ghcr.io/acme/app
      steps:
      - uses: git-clone
        config:
          repoURL: ${{{{ vars.repo }}}}
          checkout:
          - branch: main
            path: ./src
          - branch: stage/${{{{ ctx.stage }}}}
            create: true
            path: ./out
      - uses: git-clear
        config:
          path: ./out
      - uses: kustomize-set-image
        as: update
        config:
          path: ./src/base
          images:
          - image: ${{{{ vars.image }}}}
            tag: ${{{{ quote(imageFrom('ghcr.io/acme/app').Tag) }}}}
      - uses: kustomize-build
        config:
          path: ./src/stages/${{{{ ctx.stage }}}}
          outPath: ./out
      - uses: git-commit
        as: commit
        config:
          path: ./out
          message: ${{{{ outputs.update.commitMessage }}}}
      - uses: git-push
        as: push
        if: ${{{{ status('commit') == 'Succeeded' }}}}
        config:
          path: ./out
      - uses: argocd-update
        config:
          apps:
          - name: app-${{{{ ctx.stage }}}}
            sources:
            - repoURL: ${{{{ vars.repo }}}}
              desiredRevision: ${{{{ outputs.push.commit }}}}
"
        );
    }
    text
}

fn manifests(c: &mut Criterion) {
    let text = file();
    let loaded = Manifests::parse("stages.yaml", text.as_str());
    assert_eq!(lint(&loaded, &STEPS), [], "nothing is wrong with the file");
    let mut group = c.benchmark_group(format!("manifests: {STAGES} stages"));
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("load", |b| b.iter(|| Manifests::parse("stages.yaml", black_box(text.as_str()))));
    group.bench_function("lint", |b| b.iter(|| lint(black_box(&loaded), &STEPS)));
    group.bench_function("load and lint", |b| {
        b.iter(|| lint(&Manifests::parse("stages.yaml", black_box(text.as_str())), &STEPS));
    });
    group.bench_function("pipelines", |b| b.iter(|| black_box(&loaded).pipelines().expect("a pipeline")));
    group.finish();
    promise("loading and checking", Duration::from_secs(1), 5, || {
        black_box(lint(&Manifests::parse("stages.yaml", black_box(text.as_str())), &STEPS));
    });
}

criterion_group!(benches, manifests);
criterion_main!(benches);
