//! What an image has to be before it is offered, beyond fitting: signed, or attested.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use tokio::sync::Mutex;

use super::memory::{Judged, Judgements, Key};
use crate::attestation::AttestationCheck;
use crate::client::Client;
use crate::repository::sha256_hex;
use crate::signature::{Rule, SignatureCheck, TrustedRoot};

/// How long an image that is not what is demanded is taken for that before it is asked for again, at first and in the end: most are
/// signed moments after they were pushed, or never.
const AT_FIRST: Duration = Duration::from_secs(60);
const IN_THE_END: Duration = Duration::from_secs(60 * 60);
/// How many images are judged at the same time.
const CONCURRENCY: usize = 8;

/// The demands of a subscription.
#[derive(Debug)]
pub(super) struct Gate {
    rules: Vec<Box<dyn Rule>>,
    /// Of what is demanded, and of what certificates are judged by: a judgement holds for as long as both stay.
    pub(super) hash: Arc<str>,
}

impl Gate {
    /// What a subscription demands, if anything.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it cannot be demanded.
    pub(super) fn read(
        signature: Option<&SignatureCheck>,
        attestation: Option<&AttestationCheck>,
        root: Option<&TrustedRoot>,
    ) -> Result<Option<Self>> {
        let mut rules: Vec<Box<dyn Rule>> = Vec::new();
        let mut text = root.map(|root| root.fingerprint().to_owned()).unwrap_or_default();
        if let Some(check) = signature {
            rules.push(Box::new(check.rule(root)?));
            text += &serde_json::Value::from(check.clone()).to_string();
        }
        if let Some(check) = attestation {
            rules.push(Box::new(check.clone().rule(root)?));
            text += &serde_json::Value::from(check.clone()).to_string();
        }
        if rules.iter().any(|rule| !rule.images().is_empty()) {
            let text =
                "A subscription demands signatures and attestations of its own images, so these checks name none.";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok((!rules.is_empty()).then(|| Self { rules, hash: sha256_hex(text.as_bytes()).into() }))
    }
}

/// Judges images, and remembers what came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) cx: &'a Context,
    pub(super) client: &'a Client,
    pub(super) gate: &'a Gate,
    pub(super) memory: &'a Mutex<Judgements>,
}

impl Judge<'_> {
    /// Judges each of these, in their order.
    ///
    /// # Errors
    /// When the registry cannot be asked: what it did not say makes no image one that is not signed.
    pub(super) async fn all(self, keys: Vec<Key>) -> Result<Vec<Judged>> {
        stream::iter(keys).map(|key| self.one(key)).buffered(CONCURRENCY).try_collect().await
    }

    async fn one(self, key: Key) -> Result<Judged> {
        let key = (key, Arc::clone(&self.gate.hash));
        let remembered = self.memory.lock().await.get(&key);
        let now = self.cx.now();
        let pause = match remembered {
            Some(known) if known.until().is_none_or(|until| until > now) => return Ok(known),
            Some(Judged::Bad { pause, .. }) => (pause * 2).min(IN_THE_END),
            _ => AT_FIRST,
        };
        let judged = self.ask(&key.0, pause).await?;
        self.memory.lock().await.insert(key, judged.clone());
        Ok(judged)
    }

    async fn ask(self, key: &Key, pause: Duration) -> Result<Judged> {
        let mut until: Option<Timestamp> = None;
        let Key { repository, digest, platform, .. } = key;
        for rule in &self.gate.rules {
            match rule.judge(self.cx, self.client, repository, digest, platform.as_ref()).await? {
                Ok(good) => until = [until, good.until].into_iter().flatten().min(),
                Err(why) => {
                    let until = self.cx.now().checked_add(pause).unwrap_or(Timestamp::MAX);
                    return Ok(Judged::Bad { why: why.into(), until, pause });
                }
            }
        }
        Ok(Judged::Good { until })
    }
}

impl Judged {
    /// When this has to be found out again; never, when nothing is said.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Good { until } => *until,
            Self::Bad { until, .. } => Some(*until),
        }
    }
}
