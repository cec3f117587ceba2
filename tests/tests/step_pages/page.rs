//! A page about a step.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kargo_core::plugin::StepDefaults;

use crate::source::{Found, Row, Sources, unlinked};

/// The manifests that the steps of an example stand in.
pub(crate) const AROUND: &str = "\
apiVersion: kargo.akuity.io/v1alpha1
kind: Warehouse
metadata: {name: main, namespace: shop}
spec:
  subscriptions:
  - image: {repoURL: ghcr.io/acme/app}
  - git: {repoURL: https://git.example/acme/config.git}
  - chart: {repoURL: oci://ghcr.io/acme/charts/service}
---
apiVersion: kargo.akuity.io/v1alpha1
kind: Stage
metadata: {name: dev, namespace: shop}
spec:
  vars:
  - {name: repo, value: https://git.example/acme/config.git}
  - {name: image, value: ghcr.io/acme/app}
  requestedFreight:
  - origin: {kind: Warehouse, name: main}
    sources: {direct: true}
  promotionTemplate:
    spec:
      steps:
";

pub(crate) struct Page {
    name: String,
    purpose: String,
    pub(crate) rows: Vec<Row>,
    outputs: String,
    errors: String,
    bounds: StepDefaults,
    pub(crate) example: String,
    pub(crate) is_closed: bool,
}

impl Page {
    pub(crate) fn new(name: &str, sources: &Sources, found: &Found, bounds: StepDefaults) -> Result<Self> {
        let mut sections = sections(&found.doc);
        let mut section = |title: &str| {
            let text = sections.remove(title).filter(|text| !text.is_empty());
            text.with_context(|| format!("the comment over the configuration has no section \"# {title}\""))
        };
        let (_, purpose) = found.doc.split_once("`: ").unwrap_or_default();
        let purpose = unlinked(purpose.split("\n# ").next().unwrap_or_default().trim());
        let (outputs, errors) = (unlinked(&section("Outputs")?), unlinked(&section("Errors")?));
        let examples = section("Example")?;
        let uses = format!("- uses: {name}");
        let example = fences(&examples).into_iter().find(|example| example.lines().any(|line| line == uses));
        let example = example.with_context(|| format!("no example has a step with \"{uses}\""))?;
        ensure!(!purpose.is_empty(), "it is not said what the step does");
        let rows = sources.rows(found)?;
        Ok(Self {
            name: name.to_owned(),
            purpose,
            rows,
            outputs,
            errors,
            bounds,
            example,
            is_closed: found.is_closed(),
        })
    }

    /// What it does, in a sentence.
    fn gist(&self) -> String {
        let paragraph = self.purpose.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let end = paragraph.find(". ").map_or(paragraph.len(), |end| end + 1);
        capital(&paragraph[..end])
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}\n\n{}\n", self.name, capital(&self.purpose))?;
        writeln!(f, "## Configuration\n")?;
        if self.rows.is_empty() {
            writeln!(f, "Any map.\n")?;
        } else {
            writeln!(f, "| field | takes | required | default | meaning |\n|---|---|---|---|---|")?;
            for row in &self.rows {
                let required = if row.required { "yes" } else { "" };
                let cells = [&row.kind, required, &row.default, &row.meaning].map(|cell| cell.replace('|', "\\|"));
                writeln!(f, "| `{}` | {} |", row.path, cells.join(" | "))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "## Outputs\n\n{}\n", self.outputs)?;
        writeln!(f, "## Errors\n\n{}\n", self.errors)?;
        writeln!(
            f,
            "Unless `retry` says otherwise, the step may take {} in all, and {} errors in a row that may pass. One call of it takes at most {}.\n",
            shown(self.bounds.timeout),
            self.bounds.error_threshold,
            shown(self.bounds.call_deadline),
        )?;
        write!(f, "## Example\n\n```yaml\n{}\n```\n", self.example)
    }
}

/// The page that leads to the others.
pub(crate) fn index(pages: &BTreeMap<String, Page>) -> String {
    let mut text = String::from(
        "# Steps\n\nWhat promotions are made of. These pages are made of the types of the configurations, by a test \
         (`UPDATE=1 cargo test -p kargo-tests --test step_pages`); what is to be changed in them is changed there.\n\n\
         Paths are relative to the promotion's workspace, and none leads out of it. A configuration is checked when the pipeline is put \
         together, as far as its expressions let it be seen, and again when the step runs: one that is wrong then ends the step.\n\n\
         | step | does |\n|---|---|\n",
    );
    for (name, page) in pages {
        text += &format!("| [`{name}`]({name}.md) | {} |\n", page.gist());
    }
    text + "\nThe examples stand in a stage such as this one:\n\n```yaml\n" + AROUND + "```\n"
}

/// The sections of a comment, by their titles.
fn sections(doc: &str) -> BTreeMap<&str, String> {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let (mut title, mut in_fence) = ("", false);
    for line in doc.lines() {
        in_fence ^= line.starts_with("```");
        match line.strip_prefix("# ").filter(|_| !in_fence) {
            Some(next) => title = next,
            None => {
                let text = sections.entry(title).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    sections.into_iter().map(|(title, text)| (title, text.trim().to_owned())).collect()
}

/// The code in a text.
fn fences(text: &str) -> Vec<String> {
    let parts = text.split("```").skip(1).step_by(2);
    parts.map(|part| part.split_once('\n').map_or("", |(_, code)| code).trim_end().to_owned()).collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        s if s >= 2 * 86_400 && s % 86_400 == 0 => (s / 86_400, "day"),
        s if s >= 3_600 && s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s >= 60 && s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
