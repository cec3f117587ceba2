//! Applications whose manifests Argo CD renders ahead: the wanted revision is a dry one, what is synced is a commit of Argo CD's.

use serde_json::{Value, json};

use super::super::{Next, Verdict, Wanted, observe};
use super::{Read, earlier, later, read, stamp, wanted};
use crate::client::Application;

/// The commit that holds what came of the wanted revision.
fn commit() -> String {
    "e".repeat(40)
}

fn hydrator() -> Value {
    json!({
        "drySource": {"repoURL": "https://git.example/config", "targetRevision": "main", "path": "dev"},
        "syncSource": {"targetBranch": "env/dev", "path": "dev"},
    })
}

/// The wanted revision was rendered, and the commit is synced and healthy: live, until a test changes something.
fn rendered() -> Read {
    let synced = json!({"repoURL": "https://git.example/config", "targetRevision": "env/dev", "path": "dev"});
    read()
        .operation("Succeeded", &commit())
        .set("spec", json!({"project": "web", "sourceHydrator": hydrator()}))
        .set("status.sync", json!({"status": "Synced", "revision": commit(), "comparedTo": {"source": synced}}))
        .set(
            "status.sourceHydrator",
            json!({
                "lastComparedDryRevision": wanted(),
                "currentOperation": {"phase": "Hydrated", "drySHA": wanted(), "hydratedSHA": commit()},
                "lastSuccessfulOperation": {"drySHA": wanted(), "hydratedSHA": commit(), "sourceHydrator": hydrator()},
            }),
        )
}

/// The same, where the wanted revision is one that the last rendering does not hold.
fn looked_at_only() -> Read {
    rendered()
        .set("status.sourceHydrator.lastSuccessfulOperation.drySHA", earlier())
        .set("status.sourceHydrator.currentOperation.drySHA", earlier())
}

#[test]
fn a_dry_revision_is_live_when_the_commit_that_holds_it_is() {
    match rendered().verdict() {
        Verdict::Live { revision, evidence } => {
            assert_eq!(revision.as_str(), wanted(), "the dry revision is what is promoted");
            assert!(evidence.contains(&commit()), "{evidence}");
        }
        other => panic!("{other:?}"),
    }
    let app: Application = serde_json::from_value(rendered().app).unwrap();
    assert_eq!(observe(&app, 0).revision.unwrap().as_str(), wanted());
}

#[test]
fn a_rendering_that_is_not_synced_yet_is_not_live() {
    let old = "9".repeat(40);
    let behind = rendered().set("status.sync.revision", old.clone()).operation("Succeeded", &old).of_another();
    behind.is_pending(&Next::Relate { observed: old.into(), wanted: commit().into() });
    let unapplied = rendered().set("status.sync.status", "OutOfSync").set("status.operationState", Value::Null);
    // A commit of Argo CD's own is never asked for by its id.
    unapplied.is_pending(&Next::Sync { pin: false });
    rendered().set("status.health.status", "Progressing").is_pending(&Next::Look);
    let stale = rendered().set("status.reconciledAt", stamp("10:00:05"));
    stale.is_pending(&Next::Refresh);
}

#[test]
fn an_older_rendering_that_is_synced_and_healthy_is_not_live() {
    let older = looked_at_only().set("status.sourceHydrator.lastComparedDryRevision", earlier());
    assert!(older.is_pending(&Next::Refresh).contains("before the wanted"));
    let none = rendered().set("status.sourceHydrator", Value::Null);
    assert!(none.is_pending(&Next::Refresh).contains("not rendered"));
    let under_way = looked_at_only().set("status.sourceHydrator.currentOperation.phase", "Hydrating");
    assert!(under_way.is_pending(&Next::Look).contains("env/dev"));
}

#[test]
fn report_37_a_revision_that_brings_nothing_new_is_live_once_it_is_rendered_all_the_same() {
    // Newer servers note that they have looked before they begin to render, and may take as long as they like to begin.
    let no_op = looked_at_only();
    assert!(no_op.is_pending(&Next::RefreshHard).contains("not known until it has"));
    no_op.clone().again_after(3_600).is_pending(&Next::RefreshHard);
    let begun = no_op.again_after(50).set("status.sourceHydrator.currentOperation.phase", "Hydrating");
    begun.is_pending(&Next::Look);
    // Asked for anew, it is rendered although nothing is new, and comes to the commit that is there.
    let rendered = begun
        .again_after(20)
        .set("status.sourceHydrator.currentOperation", json!({"phase": "Hydrated", "drySHA": wanted()}))
        .set("status.sourceHydrator.lastSuccessfulOperation.drySHA", wanted());
    assert!(rendered.is_live().contains(&commit()));
    // And the rendered commit must be synced: after a revision without news `sync.revision` may lag.
    let mut behind = rendered.set("status.sync.revision", "9".repeat(40));
    behind.related = false;
    assert!(!matches!(behind.verdict(), Verdict::Live { .. } | Verdict::Later { .. }));
}

#[test]
fn a_later_rendering_holds_the_wanted_revision() {
    let moved = rendered().set("status.sourceHydrator.lastSuccessfulOperation.drySHA", later());
    assert!(matches!(moved.verdict(), Verdict::Later { observed, .. } if observed.as_str() == later()));
    let next = moved.set("status.sourceHydrator.currentOperation.phase", "Hydrating");
    assert!(matches!(next.verdict(), Verdict::Later { .. }), "what comes next is no matter: {:?}", next.verdict());
}

#[test]
fn what_is_rendered_after_our_sync_is_not_chased() {
    let next = "9".repeat(40);
    let noted = rendered().judgement().latches;
    assert_eq!(noted.rendered, [(wanted(), commit())]);
    let mut moved = rendered()
        .set("status.sourceHydrator.lastSuccessfulOperation.drySHA", later())
        .set("status.sourceHydrator.lastSuccessfulOperation.hydratedSHA", next.clone())
        .set("status.sync.revision", next.clone())
        .set("status.sync.status", "OutOfSync")
        .set("status.reconciledAt", stamp("10:00:15"));
    moved.latches = noted;
    // Nobody has to be asked how the commits follow each other.
    assert!(matches!(moved.verdict(), Verdict::Live { revision, .. } if revision.as_str() == wanted()));
    let synced = moved.set("status.sync.status", "Synced");
    assert!(matches!(synced.verdict(), Verdict::Later { observed, .. } if observed.as_str() == later()));
}

#[test]
fn a_rendering_that_fails_is_a_failure_after_the_grace_with_argo_cds_words() {
    let failed = looked_at_only()
        .set("status.sourceHydrator.currentOperation.phase", "Failed")
        .set("status.sourceHydrator.currentOperation.message", "helm template failed");
    failed.is_pending(&Next::Refresh);
    // Each refresh has it tried again.
    let again = failed.again_after(40).set("status.sourceHydrator.currentOperation.phase", "Hydrating");
    again.is_pending(&Next::Look);
    let failed = again.again_after(20).set("status.sourceHydrator.currentOperation.phase", "Failed");
    assert!(failed.is_failed().contains("helm template failed"));
}

#[test]
fn a_rendering_with_other_settings_says_nothing_of_these() {
    let edited = rendered().set("spec.sourceHydrator.drySource.path", "prod");
    edited.is_pending(&Next::Refresh);
    let mut any = rendered();
    any.wanted = Wanted::anything();
    assert!(matches!(any.verdict(), Verdict::Live { revision, .. } if revision.as_str() == wanted()));
    any.set("status.sourceHydrator.currentOperation.phase", "Hydrating").is_pending(&Next::Look);
}

#[test]
fn what_is_rendered_onto_another_branch_waits_until_somebody_brings_it_over() {
    let mut staged = rendered().set("spec.sourceHydrator.hydrateTo", json!({"targetBranch": "env/dev-next"}));
    staged.related = true;
    staged.is_live();
    let old = "9".repeat(40);
    let waiting = staged.set("status.sync.revision", old.clone()).operation("Succeeded", &old).of_another();
    waiting.is_pending(&Next::Relate { observed: old.into(), wanted: commit().into() });
}

#[test]
fn a_failed_sync_of_the_rendered_commit_is_a_failure() {
    let failed = rendered().operation("Failed", &commit()).set("status.operationState.message", "quota exceeded");
    assert!(failed.is_failed().contains("quota exceeded"));
    let others = failed.of_another().set("status.sync.status", "OutOfSync");
    assert!(others.is_failed().contains("quota exceeded"));
}

#[test]
fn report_19_a_later_rendering_whose_sync_failed_does_not_take_the_place_of_what_ours_applied() {
    let next = "9".repeat(40);
    let failed = json!({
        "operation": {"initiatedBy": {"automated": true}}, "phase": "Failed", "message": "quota exceeded",
        "syncResult": {"revision": next}, "startedAt": stamp("10:00:07"), "finishedAt": stamp("10:00:10"),
    });
    let mut overtaken = rendered()
        .set("status.sourceHydrator.lastSuccessfulOperation.drySHA", later())
        .set("status.sourceHydrator.lastSuccessfulOperation.hydratedSHA", next.clone())
        .set("status.operationState", failed)
        .set("status.sync.revision", next.clone())
        .set("status.sync.status", "OutOfSync")
        .set("status.reconciledAt", stamp("10:00:20"))
        .now("10:00:21");
    overtaken.latches = rendered().judgement().latches;
    assert!(overtaken.is_pending(&Next::Refresh).contains("quota exceeded"));
    let changed = json!([{"kind": "Deployment", "name": "shop", "status": "Synced"}]);
    let halfway = overtaken.set("status.operationState.syncResult.resources", changed);
    halfway.again_after(3_600).is_pending(&Next::Refresh);
}
