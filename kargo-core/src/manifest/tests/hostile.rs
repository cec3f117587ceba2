//! Files that are made to take all the time and memory there is.

use std::time::{Duration, Instant};

use super::*;

/// What is found, in a bounded time, and told in a bounded room.
fn bounded(documents: &[String]) -> Vec<Finding> {
    let started = Instant::now();
    let findings = found(documents);
    assert!(started.elapsed() < Duration::from_secs(60), "took {:?}", started.elapsed());
    assert!(findings.iter().all(|finding| finding.to_string().len() < 10_000));
    findings
}

#[test]
fn tasks_in_steps_do_not_multiply_without_end() {
    let task = document("PromotionTask", "many", &format!("steps:\n{}", "- uses: copy\n".repeat(1000)));
    let vars = (0..1000).map(|n| format!("{{name: v{n}, value: x}}")).collect::<Vec<_>>().join(", ");
    let stage = stage(&"- task: {name: many}\n".repeat(1000))
        .replace("  promotionTemplate:", &format!("  vars: [{vars}]\n  promotionTemplate:"));
    let finding = one(bounded(&[stage, task]), "a million million variables");
    assert!(finding.message.contains("more than a million"), "{finding}");
}

#[test]
fn long_lists_and_long_names_are_told_and_cut() {
    let findings = bounded(&[stage(&"- uses: copy\n".repeat(1001))]);
    assert!(one(findings, "steps").message.contains("has 1001 items; it can have 1000"));
    let many: String = (0..101).map(|n| format!("- image: {{repoURL: ghcr.io/acme/app{n}}}\n")).collect();
    let findings =
        bounded(&[stage("- uses: copy"), document("Warehouse", "other", &format!("subscriptions:\n{many}"))]);
    assert!(told(&findings).contains("at most 100 subscriptions"), "{}", told(&findings));
    let long = "x".repeat(1 << 20);
    let findings = bounded(&[stage(&format!("- uses: {long}\n  {long}: 1\n  as: {long}"))]);
    assert_eq!(findings.len(), 2, "{}", told(&findings));
    let unknown: String = (0..900).map(|n| format!("field{n}: 1\n")).collect();
    let stages: Vec<String> = (0..20).map(|n| document("Stage", &format!("s{n}"), &unknown)).collect();
    assert_eq!(bounded(&stages).len(), 10_000);
}
