//! Stages: where freight goes, and what is done there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::step::Step;
use super::{At, Fields, Notes, origin, origin_value, put, put_flag, put_list, put_some, put_texts, spec};
use crate::manifest::finding::{Rule, Severity};
use crate::manifest::{dialect, duration};
use crate::stage::{Availability, FreightRequest, Selection, Variable};

/// A `Stage`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stage {
    /// The shard whose controller looks after it. Of no effect here.
    pub shard: Option<String>,
    /// Variables of the steps and of the verification's arguments.
    pub vars: Vec<Variable>,
    /// What it asks for.
    pub requested_freight: Vec<FreightRequest>,
    /// Variables of the promotion template, after those of the stage.
    pub template_vars: Vec<Variable>,
    /// The promotion template's steps. None: freight passes through.
    pub steps: Vec<Step>,
    /// How what it runs is verified.
    pub verification: Option<Verification>,
    /// The upstream stages whose warehouses it takes freight of, as files from before `requestedFreight` say it. It is empty once the
    /// set of manifests is read.
    pub(in crate::manifest) upstream: Vec<String>,
}

/// How the result of a promotion is verified.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Verification {
    /// The templates, which are evaluated together.
    pub analysis_templates: Vec<TemplateRef>,
    /// Labels for the run.
    pub labels: BTreeMap<String, String>,
    /// Annotations for the run.
    pub annotations: BTreeMap<String, String>,
    /// The templates' arguments. Values are templates.
    pub args: Vec<Variable>,
}

/// A reference to an analysis template.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateRef {
    /// The name.
    pub name: String,
    /// Whether it is one for all projects.
    pub cluster: bool,
}

impl Stage {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let mut stage = Self::default();
        let Some(mut fields) = spec(fields, notes) else { return stage };
        stage.shard = fields.some_text(notes, "shard");
        stage.vars = Variable::decode_all(&mut fields, notes);
        let requests = fields.items(notes, "requestedFreight");
        let mut origins = BTreeSet::new();
        for item in &requests {
            let Some(request) = decode_request(item, notes) else { continue };
            if !origins.insert(request.origin.clone()) {
                let message =
                    format!("The stage asks for freight of warehouse {:?} twice; merge the two.", request.origin);
                item.error(notes, Rule::Duplicate, message);
                continue;
            }
            stage.requested_freight.push(request);
        }
        if let Some(mut fields) = fields.object(notes, "promotionTemplate") {
            if let Some(mut spec) = fields.object(notes, "spec") {
                stage.template_vars = Variable::decode_all(&mut spec, notes);
                let steps = spec.items(notes, "steps");
                stage.steps = Step::decode_all(&steps, notes);
                spec.finish(notes);
            }
            fields.finish(notes);
        }
        if let Some(at) = fields.take("verification") {
            stage.verification = decode_verification(&at, notes);
        }
        let instead = "its fan-out is refused; write a stage for each target.";
        fields.commercial(notes, "targets", Severity::Error, instead);
        dialect::stage(&mut stage, &mut fields, notes);
        if stage.requested_freight.is_empty() && stage.upstream.is_empty() && requests.is_empty() {
            fields.missing(notes, "requestedFreight");
        }
        fields.finish(notes);
        stage
    }

    pub(super) fn spec(&self) -> Value {
        let mut object = Map::new();
        put_some(&mut object, "shard", self.shard.as_deref());
        put_list(&mut object, "vars", self.vars.iter().map(Variable::value_of));
        put_list(&mut object, "requestedFreight", self.requested_freight.iter().map(request_value));
        if !self.steps.is_empty() || !self.template_vars.is_empty() {
            let mut spec = Map::new();
            put_list(&mut spec, "vars", self.template_vars.iter().map(Variable::value_of));
            put_list(&mut spec, "steps", Step::values(&self.steps));
            put(&mut object, "promotionTemplate", json!({"spec": spec}));
        }
        put_some(&mut object, "verification", self.verification.as_ref().map(Verification::value));
        object.into()
    }
}

fn decode_request(at: &At<'_>, notes: &mut Notes<'_>) -> Option<FreightRequest> {
    let mut fields = at.fields(notes)?;
    let origin = match fields.take("origin") {
        Some(at) => origin(&at, notes),
        None => {
            fields.missing(notes, "origin");
            None
        }
    };
    let mut request = FreightRequest { direct: false, ..FreightRequest::direct(origin.as_deref().unwrap_or_default()) };
    match fields.object(notes, "sources") {
        None => fields.missing(notes, "sources"),
        Some(mut sources) => {
            request.direct = sources.flag(notes, "direct").unwrap_or_default();
            for item in sources.items(notes, "stages") {
                let Some(name) = item.text(notes) else { continue };
                if request.stages.iter().any(|known| *known == *name) {
                    item.error(notes, Rule::Duplicate, format!("The stage {name:?} is named twice; name it once."));
                    continue;
                }
                request.stages.push(name.into());
            }
            request.required_soak = sources.duration(notes, "requiredSoakTime");
            if sources.word(notes, "availabilityStrategy", &["All", "OneOf"]) == Some("All") {
                request.availability = Availability::All;
            }
            if let Some(mut options) = sources.object(notes, "autoPromotionOptions") {
                if options.word(notes, "selectionPolicy", &["NewestFreight", "MatchUpstream"]) == Some("MatchUpstream")
                {
                    request.selection = Selection::MatchUpstream;
                    if request.direct || request.stages.len() != 1 {
                        let message =
                            "MatchUpstream follows one upstream stage; name exactly one, and take direct out.";
                        notes.error(Rule::BadValue, options.span, &options.pointer, message);
                    }
                }
                options.finish(notes);
            }
            if !request.direct && request.stages.is_empty() {
                let message = "The request names no source; set direct: true, or name upstream stages.";
                notes.error(Rule::MissingField, sources.span, &sources.pointer, message);
            }
            sources.finish(notes);
        }
    }
    fields.finish(notes);
    origin.is_some().then_some(request)
}

pub(in crate::manifest) fn request_value(request: &FreightRequest) -> Value {
    let mut sources = Map::new();
    put_flag(&mut sources, "direct", request.direct);
    put_list(&mut sources, "stages", request.stages.iter().map(|stage| stage.as_str()));
    put_some(&mut sources, "requiredSoakTime", request.required_soak.map(duration::write));
    if request.availability == Availability::All {
        put(&mut sources, "availabilityStrategy", "All");
    }
    if request.selection == Selection::MatchUpstream {
        put(&mut sources, "autoPromotionOptions", json!({"selectionPolicy": "MatchUpstream"}));
    }
    json!({"origin": origin_value(request.origin.as_str()), "sources": sources})
}

fn decode_verification(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Verification> {
    let mut fields = at.fields(notes)?;
    let mut verification = Verification::default();
    for item in fields.items(notes, "analysisTemplates") {
        let Some(mut fields) = item.fields(notes) else { continue };
        let name = fields.resource_name(notes, "name");
        let kind = fields.word(notes, "kind", &["AnalysisTemplate", "ClusterAnalysisTemplate"]);
        fields.finish(notes);
        let cluster = kind == Some("ClusterAnalysisTemplate");
        verification.analysis_templates.extend(name.map(|name| TemplateRef { name, cluster }));
    }
    if let Some(mut metadata) = fields.object(notes, "analysisRunMetadata") {
        verification.labels = metadata.text_map(notes, "labels");
        verification.annotations = metadata.text_map(notes, "annotations");
        metadata.finish(notes);
    }
    let args = fields.items(notes, "args");
    verification.args = args.iter().filter_map(|item| decode_argument(item, notes)).collect();
    fields.finish(notes);
    Some(verification)
}

/// An argument's name may be anything, unlike a variable's.
fn decode_argument(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Variable> {
    let mut fields = at.fields(notes)?;
    let name = fields.required_text(notes, "name");
    let value = fields.text(notes, "value").unwrap_or_default();
    fields.finish(notes);
    Some(Variable { name: name?, value })
}

impl Verification {
    fn value(&self) -> Value {
        let mut object = Map::new();
        put_list(
            &mut object,
            "analysisTemplates",
            self.analysis_templates.iter().map(|template| {
                let kind = template.cluster.then_some("ClusterAnalysisTemplate");
                let mut value = Map::new();
                put(&mut value, "name", template.name.as_str());
                put_some(&mut value, "kind", kind);
                value
            }),
        );
        let mut metadata = Map::new();
        put_texts(&mut metadata, "labels", &self.labels);
        put_texts(&mut metadata, "annotations", &self.annotations);
        if !metadata.is_empty() {
            put(&mut object, "analysisRunMetadata", metadata);
        }
        put_list(&mut object, "args", self.args.iter().map(Variable::value_of));
        object.into()
    }
}
