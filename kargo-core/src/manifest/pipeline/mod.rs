//! From manifests to pipelines: one for each project that has stages.

mod data;
mod index;
mod problem;
mod steps;

use serde_json::{Value, json};

pub(super) use index::Index;
use steps::inflate;
pub(super) use steps::{OF_STAGES, OF_TASKS, find, texts_in};

use super::Manifests;
use super::finding::{Finding, Rule, Severity};
use super::kind::{self, Resource};
use super::set::Manifest;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Pipeline, PipelineError};
use crate::plugin::{ExpressionCriterion, PluginsBuilder};
use crate::stage::{Stage, Variable, VerifierSpec};
use crate::warehouse::{FreightCreationPolicy, Subscription, Warehouse};

/// The name under which the verifier of stages with analysis templates is to be registered.
///
/// Its configuration is what the stage's `verification` says, with the `spec` of each template put in:
/// `{"analysisTemplates": [{"name", "kind", "spec"}], "args": [{"name", "value"}], "labels": {…}, "annotations": {…}}`. The values of `args`
/// may hold expressions, which see the stage's variables.
pub const ANALYSIS: &str = "analysis";

/// How many stages a project may have.
const MAX_STAGES: usize = 10_000;
/// How many steps and variables of steps a project may have once its tasks are written out.
const MAX_WRITTEN_OUT: usize = 1_000_000;

/// How many findings an error tells in full.
const TOLD: usize = 20;

/// The pipeline of a project, and what it refers to beside plug-ins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProjectPipeline {
    /// The pipeline. It has the project's name.
    pub pipeline: Pipeline,
    /// The criteria of its warehouses, by the names by which the pipeline knows them.
    pub criteria: Vec<(String, ExpressionCriterion)>,
}

impl ProjectPipeline {
    /// Registers the criteria.
    #[must_use]
    pub fn register(&self, plugins: PluginsBuilder) -> PluginsBuilder {
        self.criteria.iter().fold(plugins, |plugins, (name, criterion)| plugins.criterion(name, criterion.clone()))
    }
}

impl Manifests {
    /// The pipelines of all projects that have stages, by their names. Tasks are written out where they are used.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with what keeps the set from being pipelines, from reading or from putting it together.
    pub fn pipelines(&self) -> Result<Vec<ProjectPipeline>> {
        let index = Index::new(self);
        let mut errors: Vec<Finding> = self.findings().iter().filter(|finding| finding.is_error()).cloned().collect();
        let mut pipelines = Vec::new();
        for project in index.projects("Stage") {
            let draft = Draft::new(&index, project);
            errors.extend(draft.findings.iter().filter(|finding| finding.is_error()).cloned());
            match draft.pipeline {
                Ok(pipeline) => pipelines.push(ProjectPipeline { pipeline, criteria: draft.criteria }),
                Err(error) => errors.extend(problem::findings(&index, project, error.problems())),
            }
        }
        if errors.is_empty() { Ok(pipelines) } else { Err(refusal(&errors)) }
    }
}

fn refusal(errors: &[Finding]) -> Error {
    let mut text = String::from("The manifests are no pipelines yet:");
    for error in errors.iter().take(TOLD) {
        text.push('\n');
        text += &error.to_string();
    }
    if errors.len() > TOLD {
        text += &format!("\nThere are {} more.", errors.len() - TOLD);
    }
    Error::new(ErrorKind::InvalidInput, text).operation("read manifests")
}

/// A project on its way to a pipeline.
pub(super) struct Draft {
    pub(super) pipeline: std::result::Result<Pipeline, PipelineError>,
    pub(super) criteria: Vec<(String, ExpressionCriterion)>,
    /// What is wrong beside what the pipeline itself finds.
    pub(super) findings: Vec<Finding>,
}

impl Draft {
    pub(super) fn new(index: &Index<'_>, project: &str) -> Self {
        let (mut findings, mut criteria) = (Vec::new(), Vec::new());
        let mut builder = Pipeline::builder(project);
        for (manifest, warehouse) in index.warehouses(project) {
            builder = builder.warehouse(to_warehouse(manifest, warehouse, &mut criteria, &mut findings));
        }
        let mut room = MAX_WRITTEN_OUT;
        for (at, (manifest, stage)) in index.stages(project).enumerate() {
            if at == MAX_STAGES {
                let message = format!("The project has more than {MAX_STAGES} stages; make it several projects.");
                findings.push(manifest.finding(Severity::Error, Rule::Pipeline, "/metadata/name", message));
                break;
            }
            builder = builder.stage(to_stage(index, manifest, stage, &mut room, &mut findings));
        }
        for (_, config) in index.configs(project) {
            builder = config.promotion_policies.iter().cloned().fold(builder, crate::PipelineBuilder::policy);
        }
        Self { pipeline: builder.build(), criteria, findings }
    }

    /// Everything that is wrong beside what was found while reading.
    pub(super) fn into_findings(mut self, index: &Index<'_>, project: &str) -> Vec<Finding> {
        if let Err(error) = &self.pipeline {
            self.findings.extend(problem::findings(index, project, problem::unread(error)));
        }
        self.findings
    }
}

fn to_warehouse(
    manifest: &Manifest,
    said: &kind::Warehouse,
    criteria: &mut Vec<(String, ExpressionCriterion)>,
    findings: &mut Vec<Finding>,
) -> Warehouse {
    let mut warehouse = Warehouse::new(manifest.metadata.name.as_str()).every(said.interval);
    if said.freight_creation_policy == FreightCreationPolicy::Manual {
        warehouse = warehouse.manual();
    }
    if let Some(expression) = &said.freight_creation_criteria {
        let name = format!("freightCreationCriteria of {}", manifest.metadata.name);
        match ExpressionCriterion::compile(expression) {
            Ok(criterion) => {
                criteria.push((name.clone(), criterion));
                warehouse = warehouse.when(name);
            }
            Err(error) => {
                let pointer = "/spec/freightCreationCriteria/expression";
                let message = error.message().to_owned();
                findings.push(manifest.finding_in(
                    Severity::Error,
                    Rule::Expression,
                    pointer,
                    Some(error.place()),
                    message,
                ));
            }
        }
    }
    said.subscriptions.iter().cloned().map(to_subscription).fold(warehouse, Warehouse::subscribe)
}

/// A source of a host's gets its `config`; those of Kargo's have their fields right under their key.
pub(super) fn to_subscription(mut subscription: Subscription) -> Subscription {
    if !matches!(subscription.source.as_str(), "git" | "image" | "chart")
        && let Value::Object(said) = &mut subscription.config
    {
        let mut config = said.remove("config").unwrap_or_else(|| json!({}));
        if let (Some(limit), Value::Object(config)) = (said.remove("discoveryLimit"), &mut config) {
            config.entry("discoveryLimit").or_insert(limit);
        }
        subscription.config = config;
    }
    subscription
}

fn to_stage(
    index: &Index<'_>,
    manifest: &Manifest,
    said: &kind::Stage,
    room: &mut usize,
    findings: &mut Vec<Finding>,
) -> Stage {
    let mut stage = Stage::new(manifest.metadata.name.as_str());
    for (key, value) in &manifest.metadata.labels {
        stage = stage.label(key, value);
    }
    stage = said.requested_freight.iter().cloned().fold(stage, Stage::request);
    let (steps, mut faults) = inflate(index, manifest, said, room);
    findings.append(&mut faults);
    stage = steps.iter().enumerate().map(|(at, step)| step.to_spec(at)).fold(stage, Stage::step);
    // The one step by which Kargo says how healthy a stage is, without which nothing is verified there.
    if stage.steps().iter().any(|step| step.uses == "argocd-update") {
        stage = stage.require_health();
    }
    if let Some(verification) = &said.verification
        && !verification.analysis_templates.is_empty()
    {
        stage = stage.verify_with(to_verifier(index, manifest, said, verification, findings));
    }
    stage
}

fn to_verifier(
    index: &Index<'_>,
    manifest: &Manifest,
    said: &kind::Stage,
    verification: &kind::Verification,
    findings: &mut Vec<Finding>,
) -> VerifierSpec {
    let mut templates = Vec::new();
    for (at, template) in verification.analysis_templates.iter().enumerate() {
        let kind = if template.cluster { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" };
        let found = match index.find(kind, manifest.project(), &template.name).map(|manifest| &manifest.resource) {
            Some(Resource::AnalysisTemplate(found) | Resource::ClusterAnalysisTemplate(found)) => Some(&found.spec),
            _ => None,
        };
        match found {
            Some(spec) => templates.push(json!({"name": template.name, "kind": kind, "spec": spec})),
            None => {
                let pointer = format!("/spec/verification/analysisTemplates/{at}/name");
                let hint = index.proposal(kind, manifest.project(), &template.name);
                let message = format!("There is no {kind} {:?} here; {hint}", template.name);
                findings.push(manifest.finding(Severity::Error, Rule::Reference, &pointer, message));
            }
        }
    }
    let args: Vec<Value> = verification.args.iter().map(Variable::value_of).collect();
    let mut config = json!({"analysisTemplates": templates, "args": args});
    for (name, texts) in [("labels", &verification.labels), ("annotations", &verification.annotations)] {
        if !texts.is_empty() {
            config[name] = json!(texts);
        }
    }
    VerifierSpec { vars: said.vars.clone(), ..VerifierSpec::new(ANALYSIS, config) }
}
