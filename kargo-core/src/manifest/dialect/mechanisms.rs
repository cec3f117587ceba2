//! `promotionMechanisms`, what stages did before they had steps, as the steps that do the same.
//!
//! Of each repository the branch to read is cloned; where another branch is written, it takes the tree of the first. Images and charts
//! are set, and what changed is committed and pushed, or proposed as a pull request and waited for.

use serde_json::{Map, Value, json};

use super::{artifact_of, image_value, output_of};
use crate::manifest::fields::{At, Fields, Notes};
use crate::manifest::finding::Rule;
use crate::manifest::kind::Step;
use crate::stage::RetryPolicy;

/// The steps that stand for the mechanisms at `at`.
pub(super) fn steps(at: &At<'_>, notes: &mut Notes<'_>) -> Vec<Step> {
    let Some(mut fields) = at.fields(notes) else { return Vec::new() };
    let mut steps = Vec::new();
    let origin = fields.json("origin");
    // The commit that Argo CD is to run, by repository.
    let mut commits: Vec<(String, String)> = Vec::new();
    for (index, item) in fields.items(notes, "gitRepoUpdates").iter().enumerate() {
        let Some(mut update) = item.fields(notes) else { continue };
        let mut git = Git { number: index + 1, origin: origin.clone(), steps: Vec::new(), updates: Vec::new() };
        commits.extend(git.repository(&mut update, notes));
        update.finish(notes);
        steps.append(&mut git.steps);
    }
    let apps: Vec<Value> = fields
        .items(notes, "argoCDAppUpdates")
        .iter()
        .filter_map(|item| app(item, origin.as_ref(), &commits, notes))
        .collect();
    if !apps.is_empty() {
        steps.push(step("argocd-update", Some("argocd".to_owned()), json!({"apps": apps})));
    }
    fields.finish(notes);
    steps
}

fn step(uses: &str, alias: Option<String>, config: Value) -> Step {
    Step {
        uses: Some(uses.to_owned()),
        task: None,
        alias,
        condition: None,
        continue_on_error: false,
        retry: RetryPolicy::default(),
        vars: Vec::new(),
        config,
    }
}

/// The steps for one repository.
struct Git {
    number: usize,
    origin: Option<Value>,
    steps: Vec<Step>,
    /// The steps whose outputs make the commit's message.
    updates: Vec<String>,
}

impl Git {
    fn add(&mut self, uses: &str, name: &str, config: Value) -> String {
        let alias = format!("{name}-{}", self.number);
        self.steps.push(step(uses, Some(alias.clone()), config));
        alias
    }

    /// The repository and the template of the commit that was made in it.
    fn repository(&mut self, fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Option<(String, String)> {
        let url = fields.required_text(notes, "repoURL")?;
        self.origin = fields.json("origin").or_else(|| self.origin.take());
        let insecure = fields.flag(notes, "insecureSkipTLSVerify").unwrap_or_default();
        let read = fields.some_text(notes, "readBranch");
        let write = fields.some_text(notes, "writeBranch");
        let write = write.or_else(|| read.clone());
        let moved = write != read;
        let (source, target) = (format!("./read-{}", self.number), format!("./write-{}", self.number));
        let path = if moved { target.clone() } else { source.clone() };
        let mut checkout = vec![json!({"path": source})];
        if let Some(branch) = &read {
            checkout[0]["branch"] = branch.as_str().into();
        }
        if moved {
            checkout.push(json!({"path": target, "branch": write, "create": true}));
        }
        let mut clone = json!({"repoURL": url, "checkout": checkout});
        if insecure {
            clone["insecureSkipTLSVerify"] = true.into();
        }
        self.add("git-clone", "clone", clone);
        if moved {
            self.add("git-clear", "clear", json!({"path": target}));
            self.add("copy", "copy", json!({"inPath": source, "outPath": target}));
        }
        if let Some(mut kustomize) = fields.object(notes, "kustomize") {
            self.kustomize(&mut kustomize, &path, notes);
            kustomize.finish(notes);
        }
        if let Some(mut helm) = fields.object(notes, "helm") {
            self.helm(&mut helm, &path, notes);
            helm.finish(notes);
        }
        if let Some(at) = fields.retired("render") {
            let message = "Kargo Render is gone; write steps with kustomize-build or helm-template.";
            at.error(notes, Rule::OldDialect, message);
        }
        let messages: Vec<String> = self.updates.iter().map(|alias| output_of(alias, "commitMessage")).collect();
        let message = if messages.is_empty() { "Promotion by Kargo".to_owned() } else { messages.join("\n\n") };
        self.add("git-commit", "commit", json!({"path": path, "message": message}));
        let request = fields.take("pullRequest");
        let mut push = json!({"path": path});
        match (&request, &write) {
            (Some(_), _) => push["generateTargetBranch"] = true.into(),
            (None, Some(branch)) => push["targetBranch"] = branch.as_str().into(),
            (None, None) => {}
        }
        let push = self.add("git-push", "push", push);
        let Some(request) = request else { return Some((url, output_of(&push, "commit"))) };
        let provider = request.fields(notes).and_then(|mut fields| {
            let known = ["github", "gitlab", "gitea", "azure", "bitbucket"];
            let provider = known.iter().find(|name| fields.take(name).is_some()).copied();
            fields.finish(notes);
            provider
        });
        let Some(target) = write else {
            request.error(notes, Rule::OldDialect, "A pull request needs a branch to go to; write writeBranch.");
            return None;
        };
        let branch = output_of(&push, "branch");
        let mut open = json!({"repoURL": url, "sourceBranch": branch, "targetBranch": target});
        let mut wait = json!({"repoURL": url});
        if let Some(provider) = provider {
            open["provider"] = provider.into();
            wait["provider"] = provider.into();
        }
        let open = self.add("git-open-pr", "open-pr", open);
        wait["prNumber"] = output_of(&open, "pr.id").into();
        let wait = self.add("git-wait-for-pr", "wait-for-pr", wait);
        // Without a difference there is nothing to wait for, and the target branch has it all.
        let (wait, open) = (Value::from(wait), Value::from(open));
        Some((url, format!("${{{{ outputs[{wait}].commit ?? outputs[{open}].commit }}}}")))
    }

    fn kustomize(&mut self, fields: &mut Fields<'_>, root: &str, notes: &mut Notes<'_>) {
        let mut folders: Vec<(String, Vec<Value>)> = Vec::new();
        for item in fields.items(notes, "images") {
            let Some(mut image) = item.fields(notes) else { continue };
            let (name, path) = (image.required_text(notes, "image"), image.required_text(notes, "path"));
            let digest = image.flag(notes, "useDigest").unwrap_or_default();
            let origin = image.json("origin").or_else(|| self.origin.clone());
            image.finish(notes);
            let (Some(name), Some(path)) = (name, path) else { continue };
            let (field, word) = if digest { ("digest", "Digest") } else { ("tag", "Tag") };
            let Some(value) = of_image(&item, &name, word, origin.as_ref(), notes) else { continue };
            let mut entry = Map::from_iter([("image".to_owned(), Value::from(name))]);
            entry.insert(field.to_owned(), value.into());
            let path = joined(root, &path);
            match folders.iter_mut().find(|(known, _)| *known == path) {
                Some((_, images)) => images.push(entry.into()),
                None => folders.push((path, vec![entry.into()])),
            }
        }
        for (index, (path, images)) in folders.into_iter().enumerate() {
            let name = format!("set-image-{}", index + 1);
            let alias = self.add("kustomize-set-image", &name, json!({"path": path, "images": images}));
            self.updates.push(alias);
        }
    }

    fn helm(&mut self, fields: &mut Fields<'_>, root: &str, notes: &mut Notes<'_>) {
        let mut files: Vec<(String, Vec<Value>)> = Vec::new();
        for item in fields.items(notes, "images") {
            let Some(mut image) = item.fields(notes) else { continue };
            let (name, file) = (image.required_text(notes, "image"), image.required_text(notes, "valuesFilePath"));
            let key = image.required_text(notes, "key");
            let word = image.word(notes, "value", &["Tag", "Digest", "ImageAndTag", "ImageAndDigest"]);
            let origin = image.json("origin").or_else(|| self.origin.clone());
            image.finish(notes);
            let (Some(name), Some(file), Some(key)) = (name, file, key) else { continue };
            let word = word.unwrap_or("ImageAndTag");
            let Some(value) = of_image(&item, &name, word, origin.as_ref(), notes) else { continue };
            let (path, update) = (joined(root, &file), json!({"key": key, "value": value}));
            match files.iter_mut().find(|(known, _)| *known == path) {
                Some((_, updates)) => updates.push(update),
                None => files.push((path, vec![update])),
            }
        }
        for (index, (path, updates)) in files.into_iter().enumerate() {
            let name = format!("update-values-{}", index + 1);
            let alias = self.add("yaml-update", &name, json!({"path": path, "updates": updates}));
            self.updates.push(alias);
        }
        for (index, item) in fields.items(notes, "charts").iter().enumerate() {
            let Some(mut chart) = item.fields(notes) else { continue };
            let repository = chart.required_text(notes, "repository");
            let (name, path) = (chart.required_text(notes, "name"), chart.required_text(notes, "chartPath"));
            let origin = chart.json("origin").or_else(|| self.origin.clone());
            chart.finish(notes);
            let (Some(repository), Some(name), Some(path)) = (repository, name, path) else { continue };
            let oci = repository.starts_with("oci://");
            let arguments: &[&str] = if oci { &[&repository] } else { &[&repository, &name] };
            let Some(call) = artifact_of("chartFrom", arguments, origin.as_ref()) else {
                item.error(notes, Rule::OldDialect, NO_CALL);
                continue;
            };
            let version = format!("${{{{ quote({call}.Version) }}}}");
            let charts = json!([{"repository": repository, "name": name, "version": version}]);
            let step = format!("update-chart-{}", index + 1);
            let alias = self.add("helm-update-chart", &step, json!({"path": joined(root, &path), "charts": charts}));
            self.updates.push(alias);
        }
    }
}

const NO_CALL: &str = "What is named here is no single expression, so that no step can be made of it; write promotionTemplate.spec.steps yourself.";

/// The value of an image. Where none can be made, that is said.
fn of_image(at: &At<'_>, image: &str, word: &str, origin: Option<&Value>, notes: &mut Notes<'_>) -> Option<String> {
    let value = image_value(image, word, origin);
    if value.is_none() {
        at.error(notes, Rule::OldDialect, NO_CALL);
    }
    value
}

fn joined(root: &str, path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    if path.is_empty() || path == "." { root.to_owned() } else { format!("{root}/{path}") }
}

/// An application that Argo CD is to sync.
fn app(at: &At<'_>, origin: Option<&Value>, commits: &[(String, String)], notes: &mut Notes<'_>) -> Option<Value> {
    let mut fields = at.fields(notes)?;
    let mut app = json!({"name": fields.required_text(notes, "appName")?});
    if let Some(namespace) = fields.some_text(notes, "appNamespace") {
        app["namespace"] = namespace.into();
    }
    let own = fields.json("origin").or_else(|| origin.cloned());
    let items = fields.items(notes, "sourceUpdates");
    let sources: Vec<Value> = items.iter().filter_map(|item| app_source(item, own.as_ref(), commits, notes)).collect();
    if !sources.is_empty() {
        app["sources"] = sources.into();
    }
    fields.finish(notes);
    Some(app)
}

fn app_source(
    at: &At<'_>,
    origin: Option<&Value>,
    commits: &[(String, String)],
    notes: &mut Notes<'_>,
) -> Option<Value> {
    let mut fields = at.fields(notes)?;
    let url = fields.required_text(notes, "repoURL")?;
    let mut source = json!({"repoURL": url});
    let chart = fields.some_text(notes, "chart");
    let own = fields.json("origin").or_else(|| origin.cloned());
    if let Some((_, commit)) = commits.iter().find(|(repository, _)| *repository == url) {
        source["desiredRevision"] = commit.as_str().into();
    } else if let Some(name) = &chart {
        match artifact_of("chartFrom", &[&url, name], own.as_ref()) {
            Some(call) => source["desiredRevision"] = format!("${{{{ quote({call}.Version) }}}}").into(),
            None => at.error(notes, Rule::OldDialect, NO_CALL),
        }
    }
    if let Some(chart) = chart {
        source["chart"] = chart.into();
    }
    if fields.flag(notes, "updateTargetRevision").unwrap_or_default() {
        source["updateTargetRevision"] = true.into();
    }
    if let Some(mut kustomize) = fields.object(notes, "kustomize") {
        let mut images = Vec::new();
        for item in kustomize.items(notes, "images") {
            let Some(mut image) = item.fields(notes) else { continue };
            let name = image.required_text(notes, "image");
            let digest = image.flag(notes, "useDigest").unwrap_or_default();
            let origin = image.json("origin").or_else(|| own.clone());
            image.finish(notes);
            let (field, word) = if digest { ("digest", "Digest") } else { ("tag", "Tag") };
            let Some(name) = name else { continue };
            let Some(value) = of_image(&item, &name, word, origin.as_ref(), notes) else { continue };
            let mut entry = Map::from_iter([("repoURL".to_owned(), Value::from(name))]);
            entry.insert(field.to_owned(), value.into());
            images.push(Value::from(entry));
        }
        kustomize.finish(notes);
        source["kustomize"] = json!({"images": images});
    }
    if let Some(mut helm) = fields.object(notes, "helm") {
        let mut images = Vec::new();
        for item in helm.items(notes, "images") {
            let Some(mut image) = item.fields(notes) else { continue };
            let (name, key) = (image.required_text(notes, "image"), image.required_text(notes, "key"));
            let word = image.word(notes, "value", &["Tag", "Digest", "ImageAndTag", "ImageAndDigest"]);
            let origin = image.json("origin").or_else(|| own.clone());
            image.finish(notes);
            let (Some(name), Some(key)) = (name, key) else { continue };
            let word = word.unwrap_or("ImageAndTag");
            let Some(value) = of_image(&item, &name, word, origin.as_ref(), notes) else { continue };
            images.push(json!({"key": key, "value": value}));
        }
        helm.finish(notes);
        source["helm"] = json!({"images": images});
    }
    fields.finish(notes);
    Some(source)
}
