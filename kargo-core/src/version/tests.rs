use proptest::prelude::*;

use super::{Constraint, Version};
use crate::ErrorKind;

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn admits(constraint: &str, text: &str) -> bool {
    Constraint::parse(constraint).unwrap().matches(&version(text))
}

/// What Masterminds/semver answers, case by case, where other libraries answer otherwise or not at all.
#[test]
fn constraints_admit_what_masterminds_admits() {
    let golden = [
        ("1.2.3", "1.2.4", false),
        ("1.2.3", "1.2.3", true),
        ("1.2", "1.3.0", false),
        ("=1.2", "1.2.7", true),
        (">=1.0 <2.0 || 3.x", "3.4.0", true),
        (">=1.0 <2.0 || 3.x", "2.4.0", false),
        (">=1.0 <2.0", "1.5.0", true),
        (">=1.0,<2.0", "1.5.0", true),
        (">=1.0.0 !=1.5.0", "1.5.0", false),
        ("!=1.x", "2.0.0", true),
        ("!=1.x", "1.9.0", false),
        ("!=1.2", "1.2.5", false),
        ("!=1.2", "1.3.0", true),
        ("1.2 - 1.4", "1.4.9", true),
        ("1.2 - 1.4", "1.5.0", false),
        ("1.2 - 1.4", "1.1.9", false),
        ("<=1.2", "1.2.9", true),
        ("<=1.2", "1.3.0", false),
        ("<=1", "1.9.0", true),
        ("<=1", "2.0.0", false),
        (">1.2", "1.2.5", false),
        (">1.2", "1.3.0", true),
        (">1", "1.5.0", false),
        (">1", "2.0.0", true),
        (">=1.2.0-0", "1.3.0-rc.1", true),
        (">=1.2.0-0 <2", "1.3.0-rc.1", true),
        ("^1.2.3-0 || 3.x", "3.1.0-rc.1", false),
        ("^1.2.3-0 || 3.x", "1.3.0-rc.1", true),
        ("<2.0.0-0", "2.0.0-alpha", false),
        ("*", "1.0.0-rc.1", false),
        ("*", "1.0.0", true),
        ("^1.2", "1.2.0-rc.1", false),
        ("~0.0.0", "5.0.0", true),
        ("~0", "3.0.0", false),
        ("^0.2", "0.3.0", false),
        ("^0.0", "0.0.9", true),
        ("^0", "0.9.0", true),
        ("^0.0.3", "0.0.4", false),
        ("=>1.2", "1.3.0", true),
        ("=<1.2", "1.2.9", true),
        ("~>1.2", "1.2.9", true),
        ("~>1.2", "1.3.0", false),
        ("v1.2.3", "1.2.3", true),
        (">=v1.2", "v1.3", true),
        ("^1.2", "1.3", true),
        ("^1", "v1", true),
        ("^1", "01.2.3", true),
        ("1.x.3", "1.5.9", true),
        ("1.2.3 1.2.4", "1.2.3", false),
        ("=1.2.3", "1.2.3+b2", true),
        ("^1.2.3+b1", "1.2.3+b2", true),
        ("v1.16.x", "1.16.3", true),
        ("v1.16.x", "1.17.0", false),
        ("^1 || ^2", "2.4.0", true),
        ("1.0.0 - 2.0.0", "2.0.0", true),
        ("1.0.0 - 2.0.0", "2.0.1", false),
        ("1 - 2 || 4 - 5", "4.4.0", true),
        ("1 - 2 || 4 - 5", "3.4.0", false),
        ("^1, 1.2 - 1.4", "1.3.0", true),
        (" ^1 ", "1.0.0", true),
    ];
    for (constraint, text, expected) in golden {
        assert_eq!(admits(constraint, text), expected, "{constraint:?} on {text}");
    }
}

#[test]
fn what_masterminds_cannot_read_is_an_error_that_shows_the_text() {
    for text in [
        "",
        " ",
        "1.2.3 ||",
        "|| 1",
        "latest",
        ">=",
        ">>1",
        "1.2.3.4",
        "1..2",
        "1|2",
        "^1,,2",
        "V1",
        "xx",
        "1x",
        "1.2.3-",
        "1.2.3-01",
        ">1<2",
        "99999999999999999999",
        "^1 1.2 - 1.4",
        "=1 - 2",
        "1 -2",
        "1.2.3+",
        "ü",
    ] {
        let error = Constraint::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        assert!(error.message().contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn oci_26_a_range_written_for_pre_releases_admits_them() {
    assert!(admits(">=2.0.300-0", "2.0.330-63-gc1cfb6864"));
    assert!(admits("^1.0.0-0", "1.2.0-rc1"));
    assert!(!admits("^1.0.0", "1.2.0-rc1"));
}

#[test]
fn oci_27_the_syntax_of_kargo_files_means_what_masterminds_says() {
    assert!(!admits("1.2.3", "1.9.0"));
    assert!(admits("!=1.2.3", "1.2.4"));
    assert!(admits("^1", "v1.2.3"));
    assert!(admits("^1", "1.24"));
    for (text, loose, strict) in [
        ("v1.2.3", true, true),
        ("1.2.3-rc.1+b7", true, true),
        ("1.24", true, false),
        ("v1", true, false),
        ("01.2.3", true, false),
        ("vv1.2.3", false, false),
        ("V1.2.3", false, false),
        ("1.2.3-0123456", false, false),
        ("1.2.3-", false, false),
        ("+1.2.3", false, false),
        ("1.2.x", false, false),
        ("1.2.3 ", false, false),
        ("", false, false),
        ("latest", false, false),
    ] {
        assert_eq!(Version::parse(text).is_ok(), loose, "{text:?} loosely");
        assert_eq!(Version::parse_strict(text).is_ok(), strict, "{text:?} strictly");
    }
}

#[test]
fn oci_28_pre_releases_follow_the_order_of_the_specification() {
    let mut versions = ["1.0.1-rc9", "1.0.1", "1.0.1-rc10", "1.0.1-rc.9", "1.0.1-rc.10"].map(version);
    versions.sort();
    assert_eq!(versions.map(|v| v.to_string()), ["1.0.1-rc.9", "1.0.1-rc.10", "1.0.1-rc10", "1.0.1-rc9", "1.0.1"]);
}

#[test]
fn oci_11_of_two_spellings_the_choice_is_always_the_same() {
    for order in [["1.24", "1.24.0", "v1.24.0"], ["v1.24.0", "1.24.0", "1.24"]] {
        let mut versions = order.map(version);
        versions.sort_by(|a, b| b.cmp(a));
        assert_eq!(versions.map(|v| v.to_string()), ["v1.24.0", "1.24.0", "1.24"]);
    }
}

/// Text that is made of the pieces of constraints, right and wrong.
fn constraint_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "1", "0", "2", "x", "*", ".", "-", "+", "rc", "v", ">", "<", "=", "!", "~", "^", ",", " ", "||", " - ", "01",
        "|", "é",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn any_version() -> impl Strategy<Value = String> {
    "v?(0|[1-9][0-9]{0,2})(\\.(0|[1-9][0-9]{0,2})){0,2}(-[a-z][a-z0-9]{0,3}(\\.[1-9][0-9]?)?)?(\\+[a-z0-9]{1,4})?"
}

proptest! {
    #[test]
    fn reading_never_panics(constraint in constraint_like(), text in any::<String>()) {
        if let Ok(constraint) = Constraint::parse(&constraint) {
            constraint.matches(&version("1.2.3-rc.1"));
        }
        let _ = (Constraint::parse(&text), Version::parse(&text), Version::parse_strict(&text));
    }

    #[test]
    fn a_version_fits_itself(text in any_version()) {
        let constraint = format!("={text}");
        prop_assert!(admits(&constraint, &text), "{}", constraint);
    }

    #[test]
    fn build_metadata_never_changes_the_answer(constraint in constraint_like(), text in any_version()) {
        let plain = text.split('+').next().unwrap().to_owned();
        if let Ok(constraint) = Constraint::parse(&constraint) {
            let with_build = version(&format!("{plain}+b7"));
            prop_assert_eq!(constraint.matches(&version(&plain)), constraint.matches(&with_build));
        }
    }

    #[test]
    fn the_order_is_total(texts in prop::collection::vec(any_version(), 0..8)) {
        let mut down: Vec<Version> = texts.iter().map(|text| version(text)).collect();
        let mut reversed: Vec<Version> = down.iter().rev().cloned().collect();
        down.sort();
        reversed.sort();
        prop_assert_eq!(down, reversed);
    }
}
