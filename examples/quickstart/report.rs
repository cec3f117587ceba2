//! What the story shows: each event as it happens, and the tables at its end.
#![allow(clippy::print_stdout)]

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use futures::StreamExt;
use jiff::Timestamp;
use kargo_core::state::{Event, EventKind, State, Task};
use kargo_core::{Engine, FreightId};
use kargo_examples::shop::STAGES;

use super::Places;

pub fn places(places: &Places) {
    let ours = |ours: bool| if ours { ", in this process" } else { "" };
    println!("image       {}{}", places.image, ours(places.registry.is_some()));
    println!("repository  {}", places.config.url());
    println!(
        "Argo CD     {}{}",
        places.argocd_url,
        if places.argocd.is_some() { ", a fake one in this process" } else { "" }
    );
    println!("store       {}", places.store.display());
}

pub fn chapter(title: &str) {
    println!("\n── {title}");
}

pub fn line(text: &str) {
    println!("   {text}");
}

/// Prints what happens while it happens, until the engine stops.
pub async fn live(engine: Engine, after: u64) {
    let mut events = Box::pin(engine.events(after));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(text) = engine.read(|state| describe(state, &event)) {
                    println!("   {}  {text}", time(event.at));
                }
            }
            Err(error) => println!("   the journal cannot be read: {}", error.report()),
        }
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

fn version(state: &State, freight: &FreightId) -> String {
    state.freight_by_id(freight).map_or_else(|| freight.short().to_owned(), |known| known.freight().label())
}

/// The event for people who watch; nothing for those that only matter to the record.
fn describe(state: &State, event: &Event) -> Option<String> {
    let of = |id| state.promotion(id).map(|p| (p.stage.to_string(), version(state, &p.freight)));
    Some(match &event.kind {
        EventKind::FreightFound { freight } => {
            format!("new freight {} carries {}", freight.id().short(), freight.label())
        }
        EventKind::DiscoveryFailed { reason, .. } => format!("cannot look for new images: {reason}"),
        EventKind::PromotionRequested { stage, freight, .. } => {
            format!("{stage:<8} {} asks for {}", event.actor, version(state, freight))
        }
        EventKind::TaskFinished { task: task @ Task::Step { promotion, index }, phase, message, .. } => {
            let (stage, _) = of(task.promotion())?;
            let step = state.promotion(promotion)?.steps.get(*index)?.alias.clone();
            format!("{stage:<8}   {step} {phase}: {message}")
        }
        EventKind::TaskWaiting { task, reason, .. } => format!("{:<8}   … {reason}", of(task.promotion())?.0),
        EventKind::TaskErrored { task, reason, .. } => {
            format!("{:<8}   tries again: {reason}", of(task.promotion())?.0)
        }
        EventKind::PromotionFinished { promotion, phase, message } if !phase.is_success() => {
            let (stage, version) = of(promotion)?;
            format!("{stage:<8} {version} {phase}: {message}")
        }
        EventKind::VerificationFinished { promotion, phase, message } => {
            let (stage, version) = of(promotion)?;
            match phase.is_success() {
                true => format!("{stage:<8} {version} is verified"),
                false => format!("{stage:<8} {version} is not verified, {phase}: {message}"),
            }
        }
        _ => return None,
    })
}

/// The stages, the commits and the audit trail.
pub async fn tables(engine: &Engine, places: &Places) -> Result<()> {
    chapter("What runs where");
    let mut table = new_table(["stage", "runs", "commit", "live in Argo CD", "verified", "by"]);
    engine.read(|state| {
        for stage in STAGES {
            let known = state.stage(&stage.into());
            let last = known.and_then(|known| state.promotion(known.history.front()?));
            let Some(last) = last else {
                table.add_row([stage, "-", "-", "-", "-", "-"]);
                continue;
            };
            let commit = last.revision().unwrap_or("-");
            let live = places.argocd.as_ref().and_then(|argocd| argocd.live_revision(&format!("shop-{stage}")));
            let verified = state.freight_by_id(&last.freight).and_then(|known| known.verified().get(stage));
            table.add_row([
                stage.to_owned(),
                version(state, &last.freight),
                short(commit),
                live.as_deref().map_or_else(|| "-".to_owned(), short),
                verified.map_or_else(|| "no".to_owned(), |verified| time(verified.at)),
                last.actor.to_string(),
            ]);
        }
    });
    println!("{table}");

    if let Some(repository) = &places.repository {
        chapter("The commits on branch main, newest first");
        let mut table = new_table(["commit", "subject", "stage", "actor", "files"]);
        for commit in repository.log("main") {
            let trailer = |key: &str| commit.trailers.get(key).cloned().unwrap_or_default();
            let files = match commit.trailers.is_empty() {
                true => format!("{} files", commit.changed_files.len()),
                false => commit.changed_files.join(", "),
            };
            table.add_row([
                short(&commit.id),
                commit.subject.clone(),
                trailer("Kargo-Stage"),
                trailer("Kargo-Actor"),
                files,
            ]);
        }
        println!("{table}");
    }

    chapter("The audit trail: what was asked for and what came of it");
    let mut table = new_table(["no.", "time", "actor", "what"]);
    for event in engine.journal().await? {
        let told = matches!(
            event.kind,
            EventKind::PipelineDefined { .. }
                | EventKind::FreightFound { .. }
                | EventKind::PromotionRequested { .. }
                | EventKind::PromotionFinished { .. }
                | EventKind::VerificationFinished { .. }
        );
        if told {
            table.add_row([event.seq.to_string(), time(event.at), event.actor.to_string(), event.kind.to_string()]);
        }
    }
    println!("{table}");
    println!("{} events in all are in the journal.", engine.read(State::seq));
    Ok(())
}

fn short(commit: &str) -> String {
    commit.get(..7).unwrap_or(commit).to_owned()
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}
