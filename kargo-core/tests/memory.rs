//! How much memory it takes to read manifests that are made to take all there is. A process of its own, in which one thing happens after the
//! other, so that the numbers mean something.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use kargo_core::edit::yaml;
use kargo_core::manifest::{Manifests, STEPS, lint};

const MIB: usize = 1024 * 1024;

/// A line of this process's status, in bytes.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// What `work` gives, and by how much the memory of this process had grown at its peak.
fn measured<T>(name: &str, work: impl FnOnce() -> T) -> (T, usize) {
    // Forgets the peak so far.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, started) = (status("VmRSS:"), Instant::now());
    let made = work();
    let peak = status("VmHWM:").saturating_sub(before);
    println!("{name}: {} MiB, {:?}", peak / MIB, started.elapsed());
    (made, peak)
}

/// What is found in a stage whose one step has this configuration, and by how much the memory of this process had grown at its peak.
fn read(name: &str, config: &str) -> (Vec<String>, usize) {
    let config: String = config.lines().map(|line| format!("          {line}\n")).collect();
    let text = format!(
        "apiVersion: kargo.akuity.io/v1alpha1\nkind: Stage\nmetadata: {{name: dev, namespace: shop}}\nspec:\n  requestedFreight: [{{origin: {{name: main}}, sources: {{direct: true}}}}]\n  promotionTemplate:\n    spec:\n      steps:\n      - uses: compose-output\n        config:\n{config}"
    );
    measured(&format!("{name}, {} KiB of text", text.len() / 1024), || {
        let manifests = Manifests::parse("bomb.yaml", text.as_str());
        lint(&manifests, &STEPS).into_iter().map(|finding| finding.message).collect()
    })
}

/// Each level ten times the one before.
fn tenfold(first: &str, level: impl Fn(&str) -> String) -> String {
    let mut text = format!("a0: &a0 {first}\n");
    for number in 1..30 {
        text += &format!("a{number}: &a{number} {}\n", level(&format!("*a{}", number - 1)));
    }
    text
}

/// What reads the files of repositories and the answers of servers, on which nobody has looked before.
fn edits_take_a_bounded_room() {
    let long = "x".repeat(MIB);
    let many = |alias: &str| vec![alias; 350_000].join(", ");
    let deep = format!("{}{long}{}", "{k: ".repeat(100), "}".repeat(100));
    let (_, peak) = measured("a long text merged in deep", || yaml::merge("a: 1\n", &deep));
    assert!(peak < 60 * MIB, "as often as it is deep: {} MiB", peak / MIB);
    let texts = [
        ("a long text many times", format!("a: &a {long}\nb: [{}]\n", many("*a"))),
        ("a long key many times", format!("a: &a {{? {long} : 1}}\nb: [{}]\n", many("*a"))),
        ("a long text merged in", format!("a: &a {{k: {long}}}\nb: [{}]\n", many("{<<: *a}"))),
        ("a long text as a key", format!("a: &a {long}\nb: [{}]\n", many("{? *a : 1}"))),
        ("a long number many times", format!("a: &a {}\nb: [{}]\n", "1".repeat(MIB), many("*a"))),
    ];
    for (name, text) in texts {
        let (refused, peak) = measured(name, || (yaml::parse(&text).is_err(), yaml::merge("a: 1\n", &text).is_err()));
        assert_eq!(refused, (true, true), "{name} is refused");
        assert!(peak < 320 * MIB, "{name}: {} MiB", peak / MIB);
    }
}

#[test]
fn bombs_take_a_bounded_room() {
    edits_take_a_bounded_room();
    let ten = |of: &dyn Fn(usize) -> String| (0..10).map(of).collect::<Vec<_>>().join(", ");
    let bombs = [
        ("lists of lists", tenfold("[x, x]", |below| format!("[{}]", ten(&|_| below.to_owned())))),
        ("maps of maps", tenfold("{x: 1}", |below| format!("{{{}}}", ten(&|n| format!("k{n}: {below}"))))),
        ("merges of merges", {
            let wide: String = (0..1000).map(|n| format!("k{n}: 1, ")).collect();
            tenfold(&format!("{{{wide}}}"), |below| format!("{{<<: [{}], x: {below}}}", ten(&|_| below.to_owned())))
        }),
        ("aliases as keys", tenfold("[x, x]", |below| format!("{{{}}}", ten(&|_| format!("? {below} : 1"))))),
        ("a long text many times", format!("a: &a {}\nb: [{}]\n", "x".repeat(MIB), vec!["*a"; 10_000].join(", "))),
        ("anchors on anchors", format!("{}x{}\n", "a: &a [".to_owned() + &"&b [".repeat(60), "]".repeat(61))),
    ];
    for (name, text) in bombs {
        let (findings, peak) = read(name, &text);
        assert!(!findings.is_empty(), "{name} is told");
        assert!(peak < 160 * MIB, "{name}: {} MiB", peak / MIB);
    }
    // As many values as may be, without any alias: the largest that is read at all.
    let (findings, peak) = read("a million values", &format!("a: [{}]\n", vec!["1"; 990_000].join(", ")));
    assert!(findings.iter().all(|finding| finding.contains("\"main\"")), "only the warehouse is missing: {findings:?}");
    assert!(peak < 400 * MIB, "{} MiB", peak / MIB);
}
