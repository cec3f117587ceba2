//! The pages of `docs/steps` say what the configurations of the steps are, because they are made of their types: of the fields, of what
//! `serde` is told about them, and of the comments over them. Each page's example is loaded and checked as a host would do it.
//!
//! `UPDATE=1 cargo test -p kargo-tests --test step_pages` writes the pages anew; without it, one that is not up to date is a failure.

mod page;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use kargo_core::Plugins;
use kargo_core::manifest::{Manifests, lint};
use page::Page;
use serde_json::{Map, Value, json};
use source::{Row, Sources};

/// Every step of the workspace, as a host would register it.
fn plugins() -> Result<Plugins> {
    Ok(kargo_examples::steps::every_step()?.build())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages(plugins: &Plugins) -> Result<BTreeMap<String, Page>> {
    let sources = Sources::read(&root())?;
    let documented = sources.steps()?;
    let registered: Vec<&str> = plugins.step_names().collect();
    for name in &registered {
        ensure!(
            documented.contains_key(*name),
            "no type says that it is the configuration of {name}: the comment over it must begin with \"`{name}`: \""
        );
    }
    let mut pages = BTreeMap::new();
    for (name, found) in documented {
        ensure!(registered.contains(&name.as_str()), "{name} has a configuration; have `plugins` register the step");
        let bounds = plugins.step(&name)?.defaults();
        let page = Page::new(&name, &sources, found, bounds).with_context(|| format!("the page of {name}"))?;
        pages.insert(name, page);
    }
    Ok(pages)
}

#[test]
fn the_pages_are_what_the_types_say() -> Result<()> {
    let pages = pages(&plugins()?)?;
    let folder = root().join("docs/steps");
    let mut wanted: BTreeMap<String, String> =
        pages.iter().map(|(name, page)| (format!("{name}.md"), page.to_string())).collect();
    wanted.insert("README.md".to_owned(), page::index(&pages));
    let mut there = BTreeMap::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            there.insert(name, std::fs::read_to_string(path)?);
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder)?;
        for (name, text) in &wanted {
            std::fs::write(folder.join(name), text)?;
        }
        for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
            std::fs::remove_file(folder.join(name))?;
        }
        return Ok(());
    }
    let names = wanted.keys().chain(there.keys());
    let differing: Vec<&String> = names.filter(|name| wanted.get(*name) != there.get(*name)).collect();
    ensure!(
        differing.is_empty(),
        "docs/steps is not what the types say: {differing:?}; run UPDATE=1 cargo test -p kargo-tests --test step_pages"
    );
    Ok(())
}

/// The stage around an example, as docs/steps/README.md describes it.
fn manifests_with(example: &str) -> String {
    let steps: String = example.lines().map(|line| format!("      {line}\n")).collect();
    format!("{}{steps}", page::AROUND)
}

#[test]
fn each_example_is_loaded_and_fits_its_step() -> Result<()> {
    let plugins = plugins()?;
    for (name, page) in pages(&plugins)? {
        let text = manifests_with(&page.example);
        let manifests = Manifests::parse(format!("{name}.md"), text.as_str());
        let findings = lint(&manifests, &plugins);
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        ensure!(findings.is_empty(), "the example of {name}:\n{}", told.join("\n"));
        let pipelines = manifests.pipelines()?;
        let pipeline = &pipelines.first().context("the example is no pipeline")?.pipeline;
        let used = pipeline.stages().flat_map(|stage| stage.steps()).any(|step| step.uses == name);
        ensure!(used, "the example of {name} does not use it");
        // Of the plug-ins only the steps are here.
        if let Err(error) = plugins.check(pipeline)
            && error.message().contains(", step ")
        {
            bail!("the example of {name}: {error}");
        }
    }
    Ok(())
}

/// A value of a field's kind, for what is only asked whether it is there. One with fields of its own has those that must be there.
fn any(row: &Row, rows: &[Row]) -> Value {
    match row.kind.as_str() {
        kind if kind.starts_with("list") => json!([]),
        kind if kind.starts_with("map") => {
            let below = |one: &&Row| {
                let own = one.path.strip_prefix(&row.path).and_then(|rest| rest.strip_prefix('.'));
                one.required && own.is_some_and(|own| !own.contains(['.', '[']))
            };
            let name = |one: &Row| one.path.rsplit('.').next().unwrap_or_default().to_owned();
            Value::Object(rows.iter().filter(below).map(|one| (name(one), any(one, rows))).collect())
        }
        "true or false" => json!(true),
        "whole number" => json!(1),
        kind if kind.starts_with('`') => json!(kind.split('`').nth(1).unwrap_or_default()),
        _ => json!("x"),
    }
}

/// What stands in the message of `serde` behind its first words.
fn said(plugins: &Plugins, name: &str, config: &Map<String, Value>) -> Result<String> {
    let checked = plugins.step(name)?.validate(&Value::Object(config.clone()));
    Ok(checked.err().map(|error| error.to_string()).unwrap_or_default())
}

/// The tables are read from the sources; this asks what was built of them.
#[test]
fn the_steps_take_the_fields_of_their_tables_and_no_others() -> Result<()> {
    let plugins = plugins()?;
    for (name, page) in pages(&plugins)? {
        let fields: Vec<&Row> = page.rows.iter().filter(|row| !row.path.contains(['.', '['])).collect();
        let required: Vec<&&Row> = fields.iter().filter(|row| row.required).collect();
        let whole: Map<String, Value> = required.iter().map(|row| (row.path.clone(), any(row, &page.rows))).collect();
        let message = said(&plugins, &name, &whole)?;
        ensure!(!message.contains("missing field"), "{name}: {message}");
        for row in &required {
            let mut without = whole.clone();
            without.remove(&row.path);
            let message = said(&plugins, &name, &without)?;
            ensure!(
                message.contains(&format!("missing field `{}`", row.path)),
                "{name} without {}: {message}",
                row.path
            );
        }
        if !page.is_closed {
            continue;
        }
        let message = said(&plugins, &name, &Map::from_iter([("no-such-field".to_owned(), Value::Null)]))?;
        let (_, expected) = message.split_once(", expected ").with_context(|| format!("{name}: {message}"))?;
        let mut expected: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let mut told: Vec<&str> =
            page.rows.iter().filter(|row| !row.path.contains(['.', '['])).flat_map(Row::names).collect();
        expected.sort_unstable();
        told.sort_unstable();
        ensure!(expected == told, "{name} takes {expected:?}, and its page has {told:?}");
    }
    Ok(())
}
