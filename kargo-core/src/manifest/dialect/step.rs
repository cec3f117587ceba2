//! Fields and steps from before Kargo 1.3, when steps could refer to others and to freight without expressions.

use serde_json::{Map, Value, json};

use super::{artifact_of, expression, image_value, output_of};
use crate::manifest::fields::{At, Notes, named};
use crate::manifest::finding::{Rule, below};
use crate::manifest::kind::Step;

/// Reads what older files say in a step's configuration, which stands at `at`.
pub(in crate::manifest) fn step(step: &mut Step, at: &At<'_>, notes: &mut Notes<'_>) {
    let Some(uses) = step.uses.clone() else { return };
    let Value::Object(config) = &mut step.config else { return };
    let mut old = Old { at, notes };
    match uses.as_str() {
        "git-clone" => old.git_clone(config),
        "git-commit" => old.git_commit(config),
        "git-open-pr" => {
            if let Some(alias) =
                old.text(config, "sourceBranchFromStep", "write sourceBranch: ${{ outputs.push.branch }}.")
            {
                config.entry("sourceBranch").or_insert_with(|| output_of(&alias, "branch").into());
            }
            old.take(config, "createTargetBranch", "leave it out: it does nothing any more.");
        }
        "git-wait-for-pr" | "git-merge-pr" => {
            if let Some(alias) = old.text(config, "prNumberFromStep", "write prNumber: ${{ outputs.pr.pr.id }}.") {
                config.entry("prNumber").or_insert_with(|| output_of(&alias, "pr.id").into());
            }
        }
        "helm-update-image" => {
            old.note("", "write yaml-update with a key and a value for each image; that is what is taken.");
            old.helm_update_image(config);
            step.uses = Some("yaml-update".to_owned());
        }
        "helm-update-chart" => old.helm_update_chart(config),
        "kustomize-set-image" => {
            old.each(config, "images", |old, image, pointer| old.set_image(image, "image", pointer))
        }
        "argocd-update" => old.each(config, "apps", |old, app, pointer| {
            old.each_below(app, "sources", pointer, Old::argocd_source);
        }),
        _ => {}
    }
}

struct Old<'o, 'n, 's> {
    at: &'o At<'n>,
    notes: &'o mut Notes<'s>,
}

type Object = Map<String, Value>;

impl Old<'_, '_, '_> {
    /// Warns of what stands at `pointer`, which counts from the configuration.
    fn note(&mut self, pointer: &str, instead: &str) {
        let whole = format!("{}{pointer}", self.at.pointer);
        let span = self.at.node.at(pointer).span;
        if pointer.is_empty() {
            let message = format!("The step helm-update-image is of an older Kargo; {instead}");
            self.notes.warn(Rule::OldDialect, span, &whole, message);
        } else {
            let message = format!("{} is of an older Kargo; {instead}", named(&whole));
            self.notes.warn(Rule::OldDialect, span, &whole, message);
        }
    }

    /// What cannot be translated is an error.
    fn fail(&mut self, pointer: &str, message: &str) {
        let whole = format!("{}{pointer}", self.at.pointer);
        let span = self.at.node.at(pointer).span;
        self.notes.error(Rule::OldDialect, span, &whole, format!("{}: {message}", named(&whole)));
    }

    /// Takes an old field out of `object`, which stands at `pointer`.
    fn take_at(&mut self, object: &mut Object, name: &str, pointer: &str, instead: &str) -> Option<Value> {
        let value = object.remove(name)?;
        self.note(&below(pointer, name), instead);
        Some(value)
    }

    fn take(&mut self, config: &mut Object, name: &str, instead: &str) -> Option<Value> {
        self.take_at(config, name, "", instead)
    }

    fn text(&mut self, config: &mut Object, name: &str, instead: &str) -> Option<String> {
        match self.take(config, name, instead)? {
            Value::String(text) => Some(text),
            _ => {
                self.fail(&below("", name), "here should be the name of a step.");
                None
            }
        }
    }

    fn each(&mut self, config: &mut Object, list: &str, change: impl FnMut(&mut Self, &mut Object, &str)) {
        self.each_below(config, list, "", change);
    }

    fn each_below(
        &mut self,
        object: &mut Object,
        list: &str,
        pointer: &str,
        mut change: impl FnMut(&mut Self, &mut Object, &str),
    ) {
        let Some(Value::Array(items)) = object.get_mut(list) else { return };
        let pointer = below(pointer, list);
        for (index, item) in items.iter_mut().enumerate() {
            if let Value::Object(item) = item {
                change(self, item, &below(&pointer, index));
            }
        }
    }

    fn git_clone(&mut self, config: &mut Object) {
        let repository = config.get("repoURL").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.each(config, "checkout", |old, checkout, pointer| {
            let instead = "write commit: ${{ commitFrom(\"https://…\").ID }}.";
            let from_freight = old.take_at(checkout, "fromFreight", pointer, instead) == Some(Value::Bool(true));
            let origin = old.take_at(checkout, "fromOrigin", pointer, instead);
            if !from_freight && origin.is_none() {
                return;
            }
            match artifact_of("commitFrom", &[&repository], origin.as_ref()) {
                Some(call) => drop(checkout.insert("commit".into(), format!("${{{{ {call}.ID }}}}").into())),
                None => old.fail(pointer, "the repository is no single expression; write commit: yourself."),
            }
        });
    }

    fn git_commit(&mut self, config: &mut Object) {
        if config.contains_key("author") {
            self.note("/author", "name the author in git-clone, under author:. Here it is still taken.");
        }
        let instead = "write message: ${{ outputs.update.commitMessage }}.";
        let Some(steps) = self.take(config, "messageFromSteps", instead) else { return };
        let aliases: Vec<&str> = steps.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if aliases.is_empty() {
            self.fail("/messageFromSteps", "here should be a list of steps' names.");
            return;
        }
        let parts: Vec<String> = aliases.iter().map(|alias| output_of(alias, "commitMessage")).collect();
        config.entry("message").or_insert_with(|| parts.join("\n\n").into());
    }

    fn helm_update_image(&mut self, config: &mut Object) {
        let images = config.remove("images").unwrap_or_default();
        let mut updates = Vec::new();
        for (index, image) in images.as_array().into_iter().flatten().enumerate() {
            let text = |name: &str| image.get(name).and_then(Value::as_str).unwrap_or_default();
            match image_value(text("image"), text("value"), image.get("fromOrigin")) {
                Some(value) => updates.push(json!({"key": text("key"), "value": value})),
                None => {
                    let message = "value can be Tag, Digest, ImageAndTag or ImageAndDigest, of an image that is named.";
                    self.fail(&below("/images", index), message);
                }
            }
        }
        config.insert("updates".into(), updates.into());
    }

    fn helm_update_chart(&mut self, config: &mut Object) {
        self.each(config, "charts", |old, chart, pointer| {
            let instead = "write version: ${{ chartFrom(\"https://…\", \"name\").Version }}.";
            let Some(origin) = old.take_at(chart, "fromOrigin", pointer, instead) else { return };
            let text = |name: &str| chart.get(name).and_then(Value::as_str).unwrap_or_default();
            let (repository, name) = (text("repository").to_owned(), text("name").to_owned());
            let arguments: &[&str] =
                if repository.starts_with("oci://") { &[&repository] } else { &[&repository, &name] };
            match artifact_of("chartFrom", arguments, Some(&origin)) {
                Some(call) => {
                    chart.entry("version").or_insert_with(|| format!("${{{{ {call}.Version }}}}").into());
                }
                None => old.fail(pointer, "the chart is no single expression; write version: yourself."),
            }
        });
    }

    /// `useDigest` and `fromOrigin` of an image whose name is in the field `name`.
    fn set_image(&mut self, image: &mut Object, name: &str, pointer: &str) {
        let instead = "write tag: ${{ quote(imageFrom(\"…\").Tag) }}, or digest.";
        let digest = self.take_at(image, "useDigest", pointer, instead);
        let origin = self.take_at(image, "fromOrigin", pointer, instead);
        if (digest.is_none() && origin.is_none()) || image.contains_key("tag") || image.contains_key("digest") {
            return;
        }
        let repository = image.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (field, word) = if digest == Some(Value::Bool(true)) { ("digest", "Digest") } else { ("tag", "Tag") };
        match image_value(&repository, word, origin.as_ref()) {
            Some(value) => drop(image.insert(field.into(), value.into())),
            None => self.fail(pointer, "the image is no single expression; write tag: or digest: yourself."),
        }
    }

    fn argocd_source(&mut self, source: &mut Object, pointer: &str) {
        let instead = "write desiredRevision: ${{ outputs.push.commit }}.";
        if let Some(Value::String(alias)) = self.take_at(source, "desiredCommitFromStep", pointer, instead) {
            source.entry("desiredRevision").or_insert_with(|| output_of(&alias, "commit").into());
        }
        if let Some(commit) = self.take_at(source, "desiredCommit", pointer, "write desiredRevision.") {
            source.entry("desiredRevision").or_insert(commit);
        }
        self.take_at(
            source,
            "fromOrigin",
            pointer,
            "name the origin in the expressions: imageFrom(\"…\", warehouse(\"main\")).",
        );
        if let Some(Value::Object(kustomize)) = source.get_mut("kustomize") {
            let pointer = below(pointer, "kustomize");
            self.each_below(kustomize, "images", &pointer, |old, image, pointer| {
                old.set_image(image, "repoURL", pointer)
            });
        }
        if let Some(Value::Object(helm)) = source.get_mut("helm") {
            let pointer = below(pointer, "helm");
            self.each_below(helm, "images", &pointer, Self::helm_image);
        }
    }

    fn helm_image(&mut self, image: &mut Object, pointer: &str) {
        let word = image.get("value").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !matches!(word.as_str(), "Tag" | "Digest" | "ImageAndTag" | "ImageAndDigest") {
            return;
        }
        let repository = image.remove("repoURL").or_else(|| image.remove("image")).unwrap_or_default();
        let origin = image.remove("fromOrigin");
        let repository = repository.as_str().unwrap_or_default();
        if expression(repository).is_none() || repository.is_empty() {
            self.fail(pointer, "the image is no single expression; write value: yourself.");
            return;
        }
        self.note(&below(pointer, "value"), "write value: ${{ quote(imageFrom(\"…\").Tag) }}.");
        if let Some(value) = image_value(repository, &word, origin.as_ref()) {
            image.insert("value".into(), value.into());
        }
    }
}
