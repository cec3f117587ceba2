//! How long a read counts.

use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn snapshot(name: &str, version: u64) -> Snapshot {
    let metadata = json!({"name": name, "namespace": "argocd", "uid": "1", "resourceVersion": version.to_string()});
    let app = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
    Snapshot { app, server_time: Some(at(0)) }
}

fn event(name: &str, version: u64) -> Told {
    Told { metadata: snapshot(name, version).app.metadata, gist: None, compared: None }
}

/// One that was compared at `compared`, and is as healthy as that.
fn compared(name: &str, version: u64, compared: i64, health: &str) -> Snapshot {
    let mut snapshot = snapshot(name, version);
    snapshot.app.status = serde_json::from_value(json!({"health": {"status": health}})).unwrap();
    snapshot.app.status.reconciled_at = Some(at(compared));
    snapshot
}

fn known() -> Known {
    let mut known = Known::default();
    known.connected(true);
    known
}

fn shop() -> AppRef {
    AppRef::of(&snapshot("shop", 1).app)
}

fn version(snapshot: Option<Snapshot>) -> Option<u64> {
    version_of(&snapshot?.app.metadata)
}

#[test]
fn a_read_counts_until_something_newer_is_heard() {
    let mut known = known();
    known.expect(&shop());
    let began = known.clock();
    known.keep(&shop(), &snapshot("shop", 5), at(0), began);
    assert!(!known.heard_of(&event("shop", 5)), "it says that already");
    assert_eq!(version(known.still(&shop(), at(1))), Some(5));
    assert!(known.still(&shop(), at(300)).is_none(), "not for ever");
    assert!(known.heard_of(&event("shop", 6)));
    assert!(known.still(&shop(), at(1)).is_none());
}

#[test]
fn one_more_comparison_that_changes_nothing_is_no_news() {
    let mut known = known();
    let began = known.clock();
    known.keep(&shop(), &compared("shop", 5, 0, "Healthy"), at(0), began);
    known.keep_list(&Search::new(), &mut [compared("shop", 5, 0, "Healthy")], at(0), began);
    let told = |version, at, health| Told::of(&compared("shop", version, at, health).app);
    assert!(!known.heard_of(&told(6, 180, "Healthy")));
    assert_eq!(version(known.still(&shop(), at(181))), Some(5));
    // Of those that nobody asked for neither, once it is known how they were.
    let stranger = |version, at| Told::of(&compared("other", version, at, "Healthy").app);
    known.heard_of(&stranger(7, 0));
    let clock = known.clock();
    known.heard_of(&stranger(8, 180));
    assert_eq!(known.clock(), clock);
    known.heard_of(&stranger(9, 180));
    assert!(known.clock() > clock, "without a comparison it is something else that has changed");
    assert!(known.heard_of(&told(10, 180, "Degraded")));
    assert!(known.still(&shop(), at(181)).is_none());
    // What is waited for is news.
    let mut running = compared("till", 5, 0, "Healthy");
    running.app.operation = Some(super::super::super::Operation::default());
    let till = AppRef::of(&running.app);
    let began = known.clock();
    known.keep(&till, &running, at(0), began);
    running.app.status.reconciled_at = Some(at(10));
    running.app.metadata.resource_version = Some("6".into());
    assert!(known.heard_of(&Told::of(&running.app)));
}

#[test]
fn one_list_confirms_many_reads_and_shows_what_was_not_told() {
    let mut known = known();
    let began = known.clock();
    let all: Vec<Snapshot> = (0..10).map(|number| compared(&format!("app-{number}"), 5, 0, "Healthy")).collect();
    for app in &all {
        known.keep(&AppRef::of(&app.app), app, at(0), began);
    }
    let app = |number: usize| AppRef::of(&all[number].app);
    assert!(!known.wants_confirmation(&app(0), at(299)) && known.wants_confirmation(&app(0), at(300)));
    let mut listed: Vec<Told> = all.iter().map(|app| Told::of(&app.app)).collect();
    listed[3] = Told::of(&compared("app-3", 6, 0, "Degraded").app);
    listed.pop();
    assert!(known.confirm(&listed, at(300)));
    assert!(known.still(&app(0), at(599)).is_some(), "it still holds");
    assert!(known.still(&app(3), at(300)).is_none(), "this one has changed");
    assert!(known.still(&app(9), at(300)).is_none(), "of this one nothing was shown");
    assert!(!known.wants_confirmation(&app(9), at(300)), "a few are read one by one");
}

#[test]
fn what_is_told_while_a_read_is_under_way_counts_only_when_the_read_does_not_hold_it() {
    for (told, holds) in [(6, true), (8, false)] {
        let mut known = known();
        known.expect(&shop());
        let began = known.clock();
        known.heard_of(&event("shop", told));
        known.keep(&shop(), &snapshot("shop", 7), at(0), began);
        assert_eq!(known.still(&shop(), at(1)).is_some(), holds, "{told}");
    }
    // Our own change has no version that could be compared.
    let mut known = known();
    known.expect(&shop());
    let began = known.clock();
    known.touched(&shop());
    known.heard_of(&event("shop", 6));
    known.keep(&shop(), &snapshot("shop", 7), at(0), began);
    assert!(known.still(&shop(), at(1)).is_none());
}

#[test]
fn a_list_is_a_read_of_each_and_no_older_one_takes_the_place_of_a_newer() {
    let mut known = known();
    let search = Search::new().project("web");
    let began = known.clock();
    known.keep_list(&search, &mut [snapshot("shop", 5), snapshot("till", 4)], at(0), began);
    assert_eq!(version(known.still(&shop(), at(1))), Some(5));
    assert_eq!(known.still_listed(&search, at(1)).map(|found| found.len()), Some(2));
    assert!(known.still_listed(&Search::new(), at(1)).is_none(), "another search");
    // Read anew; a list from an older cache comes in later.
    let began = known.clock();
    known.keep(&shop(), &snapshot("shop", 7), at(1), began);
    let mut late = [snapshot("shop", 5)];
    known.keep_list(&search, &mut late, at(2), began);
    assert_eq!(version(Some(late[0].clone())), Some(7));
    assert_eq!(version(known.still(&shop(), at(2))), Some(7));
}

#[test]
fn a_list_does_not_count_once_anything_was_heard_even_of_what_it_does_not_hold() {
    let mut known = known();
    let search = Search::new();
    let began = known.clock();
    known.keep_list(&search, &mut [snapshot("shop", 5)], at(0), began);
    known.heard_of(&event("other", 9));
    assert!(known.still_listed(&search, at(1)).is_none());
    assert!(known.still(&shop(), at(1)).is_some(), "of this one nothing was heard");
}

#[test]
fn what_is_told_of_an_unknown_application_while_a_list_is_under_way_is_not_lost() {
    let mut known = known();
    let began = known.clock();
    known.heard_of(&event("shop", 6));
    known.keep_list(&Search::new(), &mut [snapshot("shop", 5)], at(0), began);
    assert!(known.still(&shop(), at(1)).is_none());
}

#[test]
fn when_too_many_are_known_those_that_were_not_used_for_longest_are_forgotten() {
    let mut known = known();
    let began = known.clock();
    let app = |number: usize| snapshot(&format!("app-{number}"), 1);
    for number in 0..MAX_KNOWN {
        known.keep(&AppRef::of(&app(number).app), &app(number), at(0), began);
    }
    assert!(known.still(&AppRef::of(&app(0).app), at(1)).is_some(), "used just now");
    known.keep(&AppRef::of(&app(MAX_KNOWN).app), &app(MAX_KNOWN), at(0), began);
    let kept = |known: &mut Known, number| known.still(&AppRef::of(&app(number).app), at(1)).is_some();
    assert!(kept(&mut known, 0) && kept(&mut known, MAX_KNOWN) && kept(&mut known, MAX_KNOWN - 1));
    assert!(!kept(&mut known, 1));
    let left = (0..=MAX_KNOWN).filter(|number| kept(&mut known, *number)).count();
    assert_eq!(left, MAX_KNOWN - MAX_KNOWN / 8 + 1);
    assert_eq!(known.count, left);
}

#[test]
fn a_new_stream_begins_with_nothing() {
    let mut known = known();
    let began = known.clock();
    known.keep_list(&Search::new(), &mut [snapshot("shop", 5)], at(0), began);
    known.connected(false);
    known.connected(true);
    assert!(known.still(&shop(), at(1)).is_none() && known.still_listed(&Search::new(), at(1)).is_none());
    // A read that began before the stream did may miss what nobody told.
    known.keep(&shop(), &snapshot("shop", 5), at(0), began);
    assert!(known.still(&shop(), at(1)).is_none());
}
