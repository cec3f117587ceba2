//! The world outside the engines, and the plug-ins that reach it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::random::Random;
use crate::artifact::{Artifact, GenericArtifact};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{
    Context, Cursor, DeployRequest, Deployer, Deployment, DiscoverRequest, Discovery, Health, Observation,
    ObserveRequest, Source, Step, StepOutcome, StepRequest, Verdict, Verifier, VerifyRequest,
};
use crate::store::Store;

/// What is there outside the engines: it outlives their crashes.
#[derive(Debug, Clone)]
pub(super) struct World(Arc<Mutex<Inner>>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) random: Random,
    /// How much goes wrong, in percent of the default.
    pub(super) trouble: u32,
    /// How many versions have been published.
    pub(super) versions: usize,
    /// Effects that have happened, by key.
    pub(super) effects: BTreeMap<String, usize>,
    /// Calls, oldest first.
    pub(super) calls: Vec<Call>,
    /// The true journal, which crashes do not touch.
    pub(super) store: Arc<dyn Store>,
    /// What went wrong in the world itself, such as a call that claimed to be the first and was not.
    pub(super) wrongs: Vec<String>,
}

/// A call that a step or a verifier got.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) key: String,
    /// The journal's end when the call began.
    pub(super) head: u64,
}

/// How a call ends.
enum Fate {
    Well,
    Wait,
    Fail,
    Passing,
    Lasting,
    Panic,
    Hang,
    Late,
}

impl World {
    pub(super) fn new(seed: u64, trouble: u32, store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            random: Random::new(seed),
            trouble,
            versions: 1,
            effects: BTreeMap::new(),
            calls: Vec::new(),
            store,
            wrongs: Vec::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something that goes wrong in `per_mille` of cases does now.
    pub(super) fn goes_wrong(&self, per_mille: u32) -> bool {
        let mut inner = self.lock();
        let per_mille = per_mille * inner.trouble / 100;
        per_mille > 0 && inner.random.chance(per_mille)
    }

    pub(super) fn below(&self, end: usize) -> usize {
        self.lock().random.below(end)
    }

    pub(super) fn source(&self) -> SimulatedSource {
        SimulatedSource(self.clone())
    }

    pub(super) fn step(&self) -> SimulatedStep {
        SimulatedStep(self.clone())
    }

    pub(super) fn verifier(&self) -> SimulatedVerifier {
        SimulatedVerifier(self.clone())
    }

    pub(super) fn deployer(&self) -> SimulatedDeployer {
        SimulatedDeployer(self.clone())
    }

    async fn began(&self, cx: &Context, pipeline: &crate::PipelineName) {
        let store = Arc::clone(&self.lock().store);
        let head = store.head(pipeline).await.unwrap_or(u64::MAX);
        self.lock().calls.push(Call { key: cx.key().to_owned(), head });
    }

    fn fate(&self) -> Fate {
        let fates = [
            (60, (|| Fate::Fail) as fn() -> Fate),
            (80, || Fate::Passing),
            (20, || Fate::Lasting),
            (40, || Fate::Panic),
            (30, || Fate::Hang),
            (40, || Fate::Late),
        ];
        for (per_mille, fate) in fates {
            if self.goes_wrong(per_mille) {
                return fate();
            }
        }
        if self.lock().random.chance(150) { Fate::Wait } else { Fate::Well }
    }

    async fn pause(&self) {
        let milliseconds = self.lock().random.below(3_000) as u64;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    /// An effect under a key: it happens once, however often it is asked for, as a plug-in has to see to.
    fn happen(&self, key: &str) {
        self.lock().effects.entry(key.to_owned()).or_insert(1);
    }
}

/// A panic that the process's hook does not print: runs by the thousand would drown in it.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("the simulation says so"))
}

#[derive(Debug)]
pub(super) struct SimulatedSource(World);

#[async_trait]
impl Source for SimulatedSource {
    async fn discover(&self, _cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        self.0.pause().await;
        if self.0.goes_wrong(150) {
            match self.0.below(4) {
                0 => return Err(Error::new(ErrorKind::Unavailable, "The registry is away.")),
                1 => return Err(Error::new(ErrorKind::InvalidResponse, "The registry answered with half a list.")),
                2 => panic_quietly(),
                _ => pending::<()>().await,
            }
        }
        let versions = self.0.lock().versions;
        let cursor = Cursor(json!(versions));
        if request.cursor == Some(&cursor) {
            return Ok(Discovery::Unchanged);
        }
        let candidates = (1..=versions).rev().map(|version| {
            Artifact::Generic(GenericArtifact {
                artifact_type: "simulated".into(),
                subscription_name: request.config.to_string(),
                version: format!("1.0.{version}"),
                metadata: Value::Null,
            })
        });
        Ok(Discovery::Found { candidates: candidates.collect(), cursor: Some(cursor) })
    }
}

#[derive(Debug)]
pub(super) struct SimulatedStep(World);

#[async_trait]
impl Step for SimulatedStep {
    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let world = &self.0;
        world.began(cx, &request.promotion.pipeline).await;
        if !request.resumed && world.lock().effects.contains_key(cx.key()) {
            world
                .lock()
                .wrongs
                .push(format!("{} was told that no call came before, and one had taken effect", cx.key()));
        }
        let fate = world.fate();
        world.pause().await;
        match fate {
            Fate::Well => {
                world.happen(cx.key());
                let outputs = Map::from_iter([("revision".to_owned(), Value::from(cx.key()))]);
                Ok(StepOutcome::Succeeded { outputs, message: String::new() })
            }
            Fate::Wait => {
                world.happen(cx.key());
                let check_after = Duration::from_secs(world.below(60) as u64);
                let state = Some(json!(world.below(3)));
                Ok(StepOutcome::Running { reason: "not yet".into(), check_after, state })
            }
            Fate::Fail => Ok(StepOutcome::Failed { reason: "it cannot be".into() }),
            Fate::Passing => {
                // The answer is lost; the effect may have happened.
                if world.below(2) == 0 {
                    world.happen(cx.key());
                }
                let error = Error::new(ErrorKind::Unavailable, "The connection broke.");
                Err(if world.below(3) == 0 { error.retry_as(Retry::After(Duration::from_secs(20))) } else { error })
            }
            Fate::Lasting => Err(Error::new(ErrorKind::InvalidInput, "The configuration is wrong.")),
            Fate::Panic => panic_quietly(),
            Fate::Hang => pending().await,
            Fate::Late => {
                // Past its deadline it is dropped here, before or after the effect.
                if world.below(2) == 0 {
                    world.happen(cx.key());
                }
                tokio::time::sleep(Duration::from_secs(1_000)).await;
                world.happen(cx.key());
                Ok(StepOutcome::succeeded())
            }
        }
    }

    async fn abort(&self, _cx: &Context, _request: &StepRequest<'_>) -> Result<()> {
        self.0.pause().await;
        if self.0.goes_wrong(100) {
            match self.0.below(3) {
                0 => return Err(Error::new(ErrorKind::Unavailable, "It could not be stopped.")),
                1 => panic_quietly(),
                _ => pending::<()>().await,
            }
        }
        Ok(())
    }
}

/// How targets are after a promotion. What deploys is played by [`SimulatedStep`].
#[derive(Debug)]
pub(super) struct SimulatedDeployer(World);

#[async_trait]
impl Deployer for SimulatedDeployer {
    async fn deploy(&self, _cx: &Context, _request: &DeployRequest<'_>) -> Result<Deployment> {
        Err(Error::new(ErrorKind::Unsupported, "The simulation plays deployments as steps."))
    }

    async fn observe(&self, _cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        let world = &self.0;
        let fate = world.fate();
        world.pause().await;
        let health = match fate {
            Fate::Well => Health::Healthy,
            Fate::Wait => Health::Progressing,
            Fate::Fail => Health::Unhealthy,
            Fate::Passing => return Err(Error::new(ErrorKind::Unavailable, "The connection broke.")),
            Fate::Lasting => return Err(Error::new(ErrorKind::InvalidInput, "The configuration is wrong.")),
            Fate::Panic => panic_quietly(),
            Fate::Hang | Fate::Late => pending().await,
        };
        Ok(Observation::new(request.revision.clone(), health, format!("look {}", world.below(3))))
    }
}

#[derive(Debug)]
pub(super) struct SimulatedVerifier(World);

#[async_trait]
impl Verifier for SimulatedVerifier {
    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        let world = &self.0;
        world.began(cx, &request.promotion.pipeline).await;
        let fate = world.fate();
        world.pause().await;
        match fate {
            Fate::Well => Ok(Verdict::pass("all is well")),
            Fate::Wait => Ok(Verdict::pending("not yet", Duration::from_secs(world.below(60) as u64))),
            Fate::Fail if world.below(3) == 0 => Ok(Verdict::inconclusive("who knows")),
            Fate::Fail => Ok(Verdict::fail("it is bad")),
            Fate::Passing => Err(Error::new(ErrorKind::Unavailable, "The connection broke.")),
            Fate::Lasting => Err(Error::new(ErrorKind::InvalidInput, "The configuration is wrong.")),
            Fate::Panic => panic_quietly(),
            Fate::Hang | Fate::Late => pending().await,
        }
    }
}
