//! The pipeline: warehouses and stages as a directed acyclic graph.

mod graph;
mod policy;
mod problem;
mod retention;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{PipelineName, StageName, WarehouseName, name_fault};
use crate::stage::{PromotionPolicy, Stage};
use crate::warehouse::Warehouse;

use graph::Graph;
pub use problem::{PipelineError, Problem};
pub use retention::Retention;

/// Warehouses and stages that fit together: names are unique, every reference resolves, there is no cycle.
///
/// A value of this type is always valid, also when it was deserialised. One from a journal was valid when it was journaled: later
/// versions may ask more of new definitions.
///
/// ```
/// use kargo_core::{Pipeline, Stage, Subscription, Warehouse};
/// use serde_json::json;
///
/// let pipeline = Pipeline::builder("shop")
///     .warehouse(Warehouse::new("main").subscribe(Subscription::new("image", json!({"repoURL": "ghcr.io/acme/app"}))))
///     .stage(Stage::new("dev").direct("main").auto_promote())
///     .stage(Stage::new("prod").after("main", ["dev"]))
///     .build()?;
/// assert_eq!(pipeline.downstream(&"dev".into()).map(|stage| stage.name().as_str()).collect::<Vec<_>>(), ["prod"]);
/// # Ok::<(), kargo_core::PipelineError>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Definition", into = "Definition")]
pub struct Pipeline {
    name: PipelineName,
    /// By name, as the stages: nothing is added any more, so that lists take the least room.
    warehouses: Box<[Warehouse]>,
    stages: Box<[Stage]>,
    /// The place of each stage. Names in a tree's node are neighbours in memory; halving a list would touch a far one at each step.
    places: BTreeMap<StageName, u32>,
    graph: Graph,
    retention: Retention,
}

impl PartialEq for Pipeline {
    fn eq(&self, other: &Self) -> bool {
        // The graph follows from the rest.
        self.name == other.name
            && self.warehouses == other.warehouses
            && self.stages == other.stages
            && self.retention == other.retention
    }
}

/// A pipeline as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Definition {
    name: PipelineName,
    warehouses: Vec<Warehouse>,
    stages: Vec<Stage>,
    #[serde(default, skip_serializing_if = "Retention::is_default")]
    retention: Retention,
}

impl From<Pipeline> for Definition {
    fn from(pipeline: Pipeline) -> Self {
        Self {
            name: pipeline.name,
            warehouses: pipeline.warehouses.into_vec(),
            stages: pipeline.stages.into_vec(),
            retention: pipeline.retention,
        }
    }
}

impl TryFrom<Definition> for Pipeline {
    type Error = PipelineError;

    fn try_from(definition: Definition) -> Result<Self, PipelineError> {
        let Definition { name, warehouses, stages, retention } = definition;
        PipelineBuilder { name, warehouses, stages, policies: Vec::new(), retention }.build()
    }
}

/// Reads a definition from a journal. It was checked when it was journaled, perhaps by rules that have become stricter since;
/// a journal must stay readable all the same.
pub(crate) fn journaled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Pipeline>, D::Error> {
    let Definition { name, warehouses, stages, retention } = Definition::deserialize(deserializer)?;
    let warehouses = warehouses.into_iter().map(|warehouse| (warehouse.name.clone(), warehouse)).collect();
    let stages = stages.into_iter().map(|stage| (stage.name.clone(), stage)).collect();
    let graph = Graph::new(&warehouses, &stages);
    let graph = graph.map_err(|_| D::Error::custom("the stages wait for each other in a ring"))?;
    Ok(Arc::new(Pipeline::compact(name, warehouses, stages, graph, retention)))
}

/// As [`journaled`], for a state that may have no definition yet.
pub(crate) fn journaled_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Pipeline>>, D::Error> {
    #[derive(Deserialize)]
    struct Journaled(#[serde(deserialize_with = "journaled")] Arc<Pipeline>);
    Ok(Option::<Journaled>::deserialize(deserializer)?.map(|Journaled(pipeline)| pipeline))
}

impl Pipeline {
    /// Begins a pipeline. Its name is also its journal's name in the store: keep it.
    pub fn builder(name: impl Into<PipelineName>) -> PipelineBuilder {
        let (policies, retention) = (Vec::new(), Retention::default());
        PipelineBuilder { name: name.into(), warehouses: Vec::new(), stages: Vec::new(), policies, retention }
    }

    /// The pipeline with every step changed; steps do not bear on what makes it valid.
    pub(crate) fn map_steps(mut self, mut change: impl FnMut(&mut crate::stage::StepSpec)) -> Self {
        self.stages.iter_mut().flat_map(|stage| &mut stage.steps).for_each(|step| change(Arc::make_mut(step)));
        self
    }

    /// In as little memory as it needs: a definition stays for as long as its engine, lists that were pushed to have room for more,
    /// and each mention of a name is a text of its own.
    fn compact(
        name: PipelineName,
        mut warehouses: BTreeMap<WarehouseName, Warehouse>,
        mut stages: BTreeMap<StageName, Stage>,
        graph: Graph,
        retention: Retention,
    ) -> Self {
        for warehouse in warehouses.values_mut() {
            warehouse.subscriptions.shrink_to_fit();
        }
        let places: BTreeMap<StageName, u32> = stages.keys().cloned().zip(0..).collect();
        for stage in stages.values_mut() {
            stage.requests.shrink_to_fit();
            for request in &mut stage.requests {
                request.stages.shrink_to_fit();
                for upstream in &mut request.stages {
                    let known = places.get_key_value(upstream);
                    known.into_iter().for_each(|(name, _)| upstream.clone_from(name));
                }
                let origin = warehouses.get_key_value(&request.origin);
                origin.into_iter().for_each(|(name, _)| request.origin.clone_from(name));
            }
            stage.steps.shrink_to_fit();
            stage.verification.shrink_to_fit();
        }
        let (warehouses, stages) = (warehouses.into_values().collect(), stages.into_values().collect());
        Self { name, warehouses, stages, places, graph, retention }
    }

    fn place_of_warehouse(&self, name: &WarehouseName) -> Option<usize> {
        self.warehouses.binary_search_by(|warehouse| warehouse.name.cmp(name)).ok()
    }

    fn place_of_stage(&self, name: &StageName) -> Option<usize> {
        self.places.get(name).map(|place| *place as usize)
    }

    /// The name.
    pub fn name(&self) -> &PipelineName {
        &self.name
    }

    /// How much of the past its state keeps.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// The warehouses, by name.
    pub fn warehouses(&self) -> impl Iterator<Item = &Warehouse> {
        self.warehouses.iter()
    }

    /// The warehouse of this name.
    pub fn warehouse(&self, name: &WarehouseName) -> Option<&Warehouse> {
        self.place_of_warehouse(name).map(|place| &self.warehouses[place])
    }

    /// The stages, by name.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter()
    }

    /// The stages in the order in which freight meets them: upstream before downstream, by name among equals.
    pub fn stages_in_order(&self) -> impl Iterator<Item = &Stage> {
        self.graph.order().map(|place| &self.stages[place])
    }

    /// The stage of this name.
    pub fn stage(&self, name: &StageName) -> Option<&Stage> {
        self.place_of_stage(name).map(|place| &self.stages[place])
    }

    /// The stages that take freight from `stage`.
    pub fn downstream(&self, stage: &StageName) -> impl Iterator<Item = &Stage> {
        let place = self.place_of_stage(stage);
        place.into_iter().flat_map(|place| self.graph.after_stage(place)).map(|place| &self.stages[place])
    }

    /// The stages that ask for freight of `warehouse`, whether straight or through others.
    pub fn requesting(&self, warehouse: &WarehouseName) -> impl Iterator<Item = &Stage> {
        let place = self.place_of_warehouse(warehouse);
        place.into_iter().flat_map(|place| self.graph.requesting(place)).map(|place| &self.stages[place])
    }
}

/// Collects warehouses and stages; [`PipelineBuilder::build`] checks them.
#[derive(Debug, Clone)]
pub struct PipelineBuilder {
    name: PipelineName,
    warehouses: Vec<Warehouse>,
    stages: Vec<Stage>,
    policies: Vec<PromotionPolicy>,
    retention: Retention,
}

impl PipelineBuilder {
    /// Adds a warehouse.
    #[must_use]
    pub fn warehouse(mut self, warehouse: Warehouse) -> Self {
        self.warehouses.push(warehouse);
        self
    }

    /// Adds a stage. Stages may be added in any order.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Adds a policy, after those already there. The first that matches a stage decides whether it promotes, and goes back, by
    /// itself; the definition keeps what was decided, not the policies.
    #[must_use]
    pub fn policy(mut self, policy: PromotionPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Sets how much of the past the state keeps. Default: Kargo's numbers.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Checks everything and makes the pipeline.
    ///
    /// # Errors
    /// A [`PipelineError`] with every problem found, not only the first.
    pub fn build(self) -> Result<Pipeline, PipelineError> {
        let mut problems = Vec::new();
        bad_name(&mut problems, "pipeline", self.name.as_str());
        if self.stages.is_empty() {
            problems.push(Problem::NoStages);
        }

        let mut warehouses = BTreeMap::new();
        for warehouse in self.warehouses {
            bad_name(&mut problems, "warehouse", warehouse.name.as_str());
            if warehouse.subscriptions.is_empty() {
                problems.push(Problem::NoSubscriptions { warehouse: warehouse.name.clone() });
            }
            problem::check_subscriptions(&warehouse, &mut problems);
            let name = warehouse.name.clone();
            if warehouses.insert(name.clone(), warehouse).is_some() {
                problems.push(Problem::Duplicate { kind: "warehouse", name: name.to_string() });
            }
        }
        let mut stages = BTreeMap::new();
        for stage in self.stages {
            bad_name(&mut problems, "stage", stage.name.as_str());
            let name = stage.name.clone();
            if stages.insert(name.clone(), stage).is_some() {
                problems.push(Problem::Duplicate { kind: "stage", name: name.to_string() });
            }
        }
        policy::decide(&self.policies, &mut stages, &mut problems);
        for stage in stages.values() {
            problem::check_stage(stage, &warehouses, &stages, &mut problems);
        }
        let graph = match Graph::new(&warehouses, &stages) {
            Ok(graph) => graph,
            Err(cycles) => {
                problems.extend(cycles.into_iter().map(|members| Problem::Cycle { members }));
                Graph::default()
            }
        };
        if problems.is_empty() {
            Ok(Pipeline::compact(self.name, warehouses, stages, graph, self.retention))
        } else {
            Err(PipelineError::new(self.name, problems))
        }
    }
}

fn bad_name(problems: &mut Vec<Problem>, kind: &'static str, name: &str) {
    if let Some(fault) = name_fault(name) {
        problems.push(Problem::BadName { kind, name: name.to_owned(), fault });
    }
}

#[cfg(test)]
mod tests;
