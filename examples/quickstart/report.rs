//! What the story shows: each event as it happens, and the tables at its end.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use futures::StreamExt;
use jiff::Timestamp;
use kargo_core::state::{Event, EventKind, State, Task};
use kargo_core::{Engine, FreightId};
use kargo_examples::shop::STAGES;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Places;

/// As `println!`, but a reader that has gone, such as `head`, ends the program without a noise.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        if writeln!(std::io::stdout(), $($text)*).is_err() {
            std::process::exit(141);
        }
    }};
}

pub(crate) fn places(places: &Places) {
    let ours = |ours: bool| if ours { ", in this process" } else { "" };
    say!("image       {}{}", places.image, ours(places.registry.is_some()));
    say!("repository  {}", places.config.url());
    say!(
        "Argo CD     {}{}",
        places.argocd_url,
        if places.argocd.is_some() { ", a fake one in this process" } else { "" }
    );
    say!("store       {}", places.store.display());
}

/// Prints what happens while it happens.
pub(crate) struct Live {
    engine: Engine,
    printed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Live {
    pub(crate) fn start(engine: &Engine) -> Self {
        let after = engine.read(State::seq);
        let (print, printed) = watch::channel(after);
        let follow = engine.clone();
        let task = tokio::spawn(async move {
            let mut events = Box::pin(follow.events(after));
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if let Some(text) = follow.read(|state| describe(state, &event)) {
                            say!("   {}  {}", time(event.at), short_ids(&text));
                        }
                        print.send_replace(event.seq);
                    }
                    Err(error) => say!("   the journal cannot be read: {}", error.report()),
                }
            }
        });
        Self { engine: engine.clone(), printed, task }
    }

    /// Begins a chapter, once all that happened before it is printed.
    pub(crate) async fn chapter(&self, title: &str) {
        self.caught_up().await;
        chapter(title);
    }

    pub(crate) async fn line(&self, text: &str) {
        self.caught_up().await;
        say!("   {text}");
    }

    async fn caught_up(&self) {
        let happened = self.engine.read(State::seq);
        // It fails only when the printing task has ended, and then there is nothing to wait for.
        let _ = self.printed.clone().wait_for(|printed| *printed >= happened).await;
    }

    /// Prints the rest; the engine must have stopped.
    pub(crate) async fn end(self) -> Result<()> {
        Ok(self.task.await?)
    }
}

fn chapter(title: &str) {
    say!("\n── {title}");
}

/// Commit ids as people write them: the first seven digits.
fn short_ids(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_hexdigit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits.len() == 40 { short(&digits) } else { &digits });
        digits.clear();
        out.push(c);
    }
    out.pop();
    out
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
        EventKind::FreightFound { freight, .. } => {
            format!("new freight {} carries {}", freight.id().short(), freight.label())
        }
        EventKind::DiscoveryFailed { reason, .. } => format!("no freight: {reason}"),
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
pub(crate) async fn tables(engine: &Engine, places: &Places) -> Result<()> {
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
                short(commit).to_owned(),
                live.as_deref().map_or("-", short).to_owned(),
                verified.map_or_else(|| "no".to_owned(), |verified| time(verified.at)),
                last.actor.to_string(),
            ]);
        }
    });
    say!("{table}");

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
                short(&commit.id).to_owned(),
                commit.subject.clone(),
                trailer("Kargo-Stage"),
                trailer("Kargo-Actor"),
                files,
            ]);
        }
        say!("{table}");
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
    say!("{table}");
    say!("{} events in all are in the journal.", engine.read(State::seq));
    Ok(())
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}
