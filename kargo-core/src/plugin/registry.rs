//! Plug-ins by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::adapt::{DeployStep, VerifyStep, WriteStep};
use super::criterion::ask;
use super::{Criterion, Deployer, Judgement, ProjectData, Source, Step, Verifier, Writer};
use crate::artifact::Artifact;
use crate::engine::{Texts, has_expression};
use crate::error::{Error, ErrorKind, Result};
use crate::name::near_match;
use crate::pipeline::Pipeline;
use crate::warehouse::Subscription;

/// The plug-ins that pipelines refer to, by name. Cheap to clone.
///
/// ```
/// use kargo_core::plugin::Plugins;
/// # use async_trait::async_trait;
/// # use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest};
/// # #[derive(Debug)] struct Announce;
/// # #[async_trait] impl Step for Announce {
/// #     async fn run(&self, _: &Context, _: &StepRequest<'_>) -> kargo_core::Result<StepOutcome> { Ok(StepOutcome::succeeded()) }
/// # }
///
/// let plugins = Plugins::builder().step("announce", Announce).build();
/// assert!(plugins.step("announce").is_ok());
/// assert!(plugins.step("anounce").unwrap_err().to_string().contains("Did you mean \"announce\"?"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Plugins(Arc<PluginsBuilder>);

/// Collects plug-ins. A later one under the same name takes the earlier one's place.
#[derive(Debug, Clone, Default)]
pub struct PluginsBuilder {
    sources: BTreeMap<String, Arc<dyn Source>>,
    steps: BTreeMap<String, Arc<dyn Step>>,
    deployers: BTreeMap<String, Arc<dyn Deployer>>,
    verifiers: BTreeMap<String, Arc<dyn Verifier>>,
    criteria: BTreeMap<String, Arc<dyn Criterion>>,
    data: Option<Arc<dyn ProjectData>>,
}

impl PluginsBuilder {
    /// Registers a source, for subscriptions.
    #[must_use]
    pub fn source(mut self, name: impl Into<String>, source: impl Source) -> Self {
        self.sources.insert(name.into(), Arc::new(source));
        self
    }

    /// Registers a writer; steps use it as `write:<name>`.
    #[must_use]
    pub fn writer(self, name: impl AsRef<str>, writer: impl Writer) -> Self {
        self.step(format!("write:{}", name.as_ref()), WriteStep(writer))
    }

    /// Registers a deployer; steps use it as `deploy:<name>`.
    #[must_use]
    pub fn deployer(mut self, name: impl AsRef<str>, deployer: impl Deployer) -> Self {
        let deployer: Arc<dyn Deployer> = Arc::new(deployer);
        self.deployers.insert(name.as_ref().to_owned(), Arc::clone(&deployer));
        self.step(format!("deploy:{}", name.as_ref()), DeployStep(deployer))
    }

    /// Registers a verifier, for stages' verification. Steps use it as `verify:<name>`, as a gate before what they do next: see
    /// [`StepSpec::verify`](crate::StepSpec::verify).
    #[must_use]
    pub fn verifier(mut self, name: impl AsRef<str>, verifier: impl Verifier) -> Self {
        let verifier: Arc<dyn Verifier> = Arc::new(verifier);
        self.verifiers.insert(name.as_ref().to_owned(), Arc::clone(&verifier));
        self.step(format!("verify:{}", name.as_ref()), VerifyStep(verifier))
    }

    /// Registers a criterion, for what warehouses make by themselves.
    #[must_use]
    pub fn criterion(mut self, name: impl Into<String>, criterion: impl Criterion) -> Self {
        self.criteria.insert(name.into(), Arc::new(criterion));
        self
    }

    /// Sets where expressions get secrets and config maps from. Without it, one that asks for such is an error.
    #[must_use]
    pub fn data(mut self, data: impl ProjectData) -> Self {
        self.data = Some(Arc::new(data));
        self
    }

    /// Registers a step under the name that entries use.
    #[must_use]
    pub fn step(mut self, uses: impl Into<String>, step: impl Step) -> Self {
        self.steps.insert(uses.into(), Arc::new(step));
        self
    }

    /// The plug-ins, ready for use.
    pub fn build(self) -> Plugins {
        Plugins(Arc::new(self))
    }
}

/// The one step of this crate that needs something of the host's.
const SEND_MESSAGE: &str = "send-message";

fn find<'a, T: ?Sized>(map: &'a BTreeMap<String, Arc<T>>, kind: &str, name: &str) -> Result<&'a Arc<T>> {
    map.get(name).ok_or_else(|| {
        let near = near_match(name, map.keys().map(String::as_str));
        let hint = match near {
            _ if kind == "step" && name == SEND_MESSAGE => {
                "It tells people something through the host: register steps::send_message with a messenger of the host's under this name.".to_owned()
            }
            Some(near) => format!("Did you mean {near:?}?"),
            None if map.is_empty() => format!("No {kind} is registered."),
            None => {
                format!("Registered are {}.", map.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
            }
        };
        Error::new(ErrorKind::InvalidInput, format!("No {kind} is registered as {name:?}. {hint}"))
    })
}

/// A panic while a plug-in checks a configuration is a refusal of that configuration.
fn caught(check: impl FnOnce() -> Result<()>) -> Result<()> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).unwrap_or_else(|_| {
        let message = "The plug-in panicked while it checked its configuration; report that to its author.";
        Err(Error::new(ErrorKind::Panicked, message))
    })
}

impl Plugins {
    /// Begins a set of plug-ins.
    pub fn builder() -> PluginsBuilder {
        PluginsBuilder::default()
    }

    /// The source of this name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with a near match when there is none. The same holds for the other look-ups.
    pub fn source(&self, name: &str) -> Result<&Arc<dyn Source>> {
        find(&self.0.sources, "source", name)
    }

    /// The step of this name.
    ///
    /// # Errors
    /// As for [`Plugins::source`].
    pub fn step(&self, uses: &str) -> Result<&Arc<dyn Step>> {
        find(&self.0.steps, "step", uses)
    }

    /// The names of all steps, in order.
    pub fn step_names(&self) -> impl Iterator<Item = &str> {
        self.0.steps.keys().map(String::as_str)
    }

    /// The deployer of this name.
    ///
    /// # Errors
    /// As for [`Plugins::source`].
    pub fn deployer(&self, name: &str) -> Result<&Arc<dyn Deployer>> {
        find(&self.0.deployers, "deployer", name)
    }

    /// The verifier of this name.
    ///
    /// # Errors
    /// As for [`Plugins::source`].
    pub fn verifier(&self, name: &str) -> Result<&Arc<dyn Verifier>> {
        find(&self.0.verifiers, "verifier", name)
    }

    /// The criterion of this name.
    ///
    /// # Errors
    /// As for [`Plugins::source`].
    pub fn criterion(&self, name: &str) -> Result<&Arc<dyn Criterion>> {
        find(&self.0.criteria, "criterion", name)
    }

    pub(crate) fn data(&self) -> Option<&Arc<dyn ProjectData>> {
        self.0.data.as_ref()
    }

    /// Why the first of `criteria` that is not satisfied with `artifacts` is not; nothing when all are.
    ///
    /// # Errors
    /// When one cannot tell, is not registered, or panics.
    pub(crate) fn unmet(&self, criteria: &[String], artifacts: &[Artifact]) -> Result<Option<String>> {
        for name in criteria {
            let judged = self.criterion(name).and_then(|criterion| ask(name, &**criterion, artifacts));
            if let Judgement::Unsatisfied(reason) = judged.map_err(|error| error.plugin(name.clone()))? {
                return Ok(Some(format!("{name}: {reason}")));
            }
        }
        Ok(None)
    }

    /// `pipeline` with each step's own bounds where its entry sets none, so that decisions need not know the plug-ins.
    pub(crate) fn with_defaults(&self, pipeline: Pipeline) -> Pipeline {
        pipeline.map_steps(|step| {
            if let Ok(plugin) = self.step(&step.uses) {
                // One that panics here panics again when it is called, and that is then the step's failure.
                let defaults = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plugin.defaults()));
                let defaults = defaults.unwrap_or_default();
                step.retry.timeout.get_or_insert(defaults.timeout);
                step.retry.error_threshold.get_or_insert(defaults.error_threshold);
            }
        })
    }

    /// Checks that the step `uses` is here and accepts `config`, as far as its expressions leave it to be seen.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it does not; [`ErrorKind::Panicked`] when it panics.
    pub(crate) fn check_step(&self, uses: &str, config: &Value) -> Result<()> {
        let step = self.step(uses)?;
        caught(|| if has_expression(config) { step.validate_template(config) } else { step.validate(config) })
    }

    /// Checks that the source of a subscription is here and accepts its configuration.
    ///
    /// # Errors
    /// As for [`Plugins::check_step`].
    pub(crate) fn check_subscription(&self, subscription: &Subscription) -> Result<()> {
        let source = self.source(&subscription.source)?;
        caught(|| source.validate(&subscription.config))
    }

    /// Checks that every plug-in that `pipeline` names is here and accepts its configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with every fault found, each with the place.
    pub fn check(&self, pipeline: &Pipeline) -> Result<()> {
        let mut faults = Vec::new();
        let mut note = |place: String, result: Result<()>| {
            if let Err(error) = result {
                faults.push(format!("{place}: {}", error.report()));
            }
        };
        for warehouse in pipeline.warehouses() {
            for (index, subscription) in warehouse.subscriptions().iter().enumerate() {
                let result = self.check_subscription(subscription);
                note(format!("warehouse {:?}, subscription {}", warehouse.name(), index + 1), result);
            }
            for name in warehouse.criteria() {
                note(format!("warehouse {:?}", warehouse.name()), self.criterion(name).map(|_| ()));
            }
        }
        for stage in pipeline.stages() {
            for (index, step) in stage.steps().iter().enumerate() {
                let known = self.step(&step.uses).and_then(|_| Texts::of_step(step).check());
                let result = known.and_then(|()| self.check_step(&step.uses, &step.config));
                note(format!("stage {:?}, step {} ({})", stage.name(), index + 1, step.uses), result);
            }
            for spec in stage.verification() {
                let (texts, validate) = (Texts::of_verifier(spec), !has_expression(&spec.config));
                let result = self.verifier(&spec.verifier).and_then(|found| {
                    texts.check()?;
                    if validate { caught(|| found.validate(&spec.config)) } else { Ok(()) }
                });
                note(format!("stage {:?}, verifier {:?}", stage.name(), spec.verifier), result);
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("The pipeline {:?} cannot run with these plug-ins: {}", pipeline.name(), faults.join(" ")),
        ))
    }
}
