//! Files that are made to take all the time and memory there is. What would take the square of these sizes would not end while somebody
//! waits for a test; how long it does take is a matter of the machine, and the bench's.

use super::*;

/// What is found, and told in a bounded room.
fn bounded(documents: &[String]) -> Vec<Finding> {
    let findings = found(documents);
    assert!(findings.len() <= 10_000, "{}", findings.len());
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

/// One line of ten megabytes, which is JSON and so YAML, with a stage in it for each thousand fields that there are not.
#[test]
fn a_line_of_ten_megabytes_with_a_hundred_thousand_faults_is_told_up_to_the_limit() {
    let fields: Vec<String> =
        (0..1000).map(|n| format!("\"field{n:03}\": {{\"value\": \"{}\"}}", "v".repeat(76))).collect();
    let fields = fields.join(", ");
    let stages: Vec<String> = (0..100)
        .map(|n| {
            format!(
                r#"{{"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {{"name": "s{n}", "namespace": "shop"}}, "spec": {{{fields}}}}}"#
            )
        })
        .collect();
    let text = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}]}}"#, stages.join(", "));
    assert!(text.len() > 10_000_000 && !text.contains('\n'), "{}", text.len());
    let findings = bounded(std::slice::from_ref(&text));
    assert_eq!(findings.len(), 10_000);
    let places = findings.iter().filter_map(|finding| finding.place.as_ref());
    let columns: Vec<usize> = places.filter(|place| place.path.contains("field")).map(|place| place.column).collect();
    assert!(columns.len() > 9_000 && columns.is_sorted());
    assert!(findings.iter().any(|finding| finding.message.contains("field999")));
    // A stage in the midst of it is shown where it is.
    let last = findings.iter().rfind(|finding| finding.message.contains("There is no field")).unwrap();
    let place = last.place.as_ref().unwrap();
    let shown = &text[place.column - 1..place.column + 9];
    assert_eq!(marked(last), shown);
}

#[test]
fn a_map_of_a_hundred_thousand_wrong_expressions_and_a_text_of_them_are_told_up_to_the_limit() {
    let keys: Vec<String> = (0..100_000).map(|n| format!("k{n}: '${{{{ x{n} }}}}'")).collect();
    let wide = stage(&format!("- uses: compose-output\n  config: {{{}}}", keys.join(", ")));
    assert_eq!(bounded(&[wide]).len(), 10_000);
    let long = stage(&format!("- uses: compose-output\n  config: {{all: '{}'}}", "${{ x }} ".repeat(100_000)));
    // In so long a text the place is the text, and what is said twice is said once.
    assert!(one(bounded(&[long]), "x").message.contains("variable x"));
    // Keys that are as long as can be, as deep as can be, above many expressions.
    let open: String = (0..50).map(|n| format!("k{n}{}: {{", "k".repeat(1000))).collect();
    let deep = format!("- uses: compose-output\n  config: {{{open}{}{}}}", keys[..10_001].join(", "), "}".repeat(50));
    assert_eq!(bounded(&[stage(&deep)]).len(), 10_000);
}

#[test]
fn thousands_of_names_that_are_not_there_are_told() {
    let stages: Vec<String> = (0..3000)
        .map(|n| {
            stage("- uses: copy")
                .replace("name: dev,", &format!("name: stage-{n},"))
                .replace("direct: true", &format!("stages: [stege-{n}]"))
        })
        .collect();
    let findings = bounded(&stages);
    assert!(
        findings.iter().any(|finding| finding.message.contains("Did you mean \"stage-")),
        "{}",
        told(&findings[..1])
    );
    let upstream: Vec<String> = (0..1000).map(|n| format!("u{n}")).collect();
    let requests: String = (0..200)
        .map(|n| {
            format!("- origin: {{kind: Warehouse, name: w{n}}}\n  sources: {{stages: [{}]}}\n", upstream.join(", "))
        })
        .collect();
    let findings = bounded(&[document("Stage", "dev", &format!("requestedFreight:\n{requests}"))]);
    assert!(findings.len() >= 1000, "{}", findings.len());
}

#[test]
fn keys_that_are_too_long_are_told_by_their_beginning() {
    let key = "k".repeat(1 << 20);
    for text in [format!("? {key}\n: 1\n"), format!("? \"{key}\"\n: 1\n"), format!("{{{key}: 1}}")] {
        let findings =
            bounded(&[stage(&format!("- uses: copy\n  config:\n    {}", text.replace('\n', "\n    ").trim_end()))]);
        assert!(!findings.is_empty() && findings.iter().all(|finding| finding.place.is_some()), "{}", told(&findings));
    }
}

#[test]
fn a_thousand_documents_each_with_a_fault_are_all_told() {
    let stages: Vec<String> =
        (0..1000).map(|n| stage("- uses: copy\n  iff: x").replace("name: dev,", &format!("name: s{n},"))).collect();
    let findings = bounded(&stages);
    let unknown = findings.iter().filter(|finding| finding.message.contains("\"iff\""));
    assert_eq!(unknown.count(), 1000);
}

#[test]
fn bombs_of_aliases_end_with_a_word_about_aliases() {
    let mut bomb = stage("- uses: copy\n  config:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]");
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("          a{level}: &a{level} [{previous}]\n");
    }
    let findings = bounded(&[bomb]);
    assert!(findings.iter().any(|finding| finding.message.contains("aliases")), "{}", told(&findings));
}

#[test]
fn a_byte_order_mark_is_passed_over_and_other_encodings_are_named() {
    let text = format!("{}---\n{}", warehouse(), stage("- uses: copy"));
    let marked = Manifests::from_reader("x.yaml", format!("\u{feff}{text}").as_bytes()).unwrap();
    assert_eq!((marked.findings(), marked.iter().count()), (&[][..], 2));
    for (name, mark, wide) in [
        ("little", vec![0xff, 0xfe], text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()),
        ("big", vec![0xfe, 0xff], text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ] {
        let error = Manifests::from_reader("x.yaml", &[mark, wide.clone()].concat()[..]).unwrap_err();
        assert!(error.to_string().contains("x.yaml is UTF-16; save it as UTF-8"), "{name}: {error}");
        // Without the mark it is UTF-8 with a NUL after each letter.
        let findings = Manifests::from_reader("x.yaml", &wide[..]).unwrap().findings().to_vec();
        assert!(one(findings, name).message.contains("NUL"), "{name}");
    }
}

#[test]
fn texts_that_only_open_brackets_end() {
    for piece in ["[", "{", "{a: ", "- ", "? ", "[{", "&a [", "- - ", "\"", "'", "|\n ", "!", "*", "${{"] {
        let text = format!("kargo.akuity.io: {}", piece.repeat(200_000));
        let findings = bounded(&[text]);
        assert!(!findings.is_empty(), "{piece}");
    }
}
