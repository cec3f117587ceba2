//! A messenger that keeps what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{Channel, Context, Message, Messenger, Sent};

/// A message as it was seen by people.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OutboxMessage {
    /// Its id.
    pub id: String,
    /// Where it went.
    pub channel: Channel,
    /// What it said.
    pub text: String,
    /// The same as data, when it was encoded.
    pub payload: Option<Value>,
    /// The thread at Slack that it is in.
    pub thread: String,
}

/// A [`Messenger`] that keeps messages, each once by its id, as one of a host's has to. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    sent: Vec<OutboxMessage>,
    calls: usize,
    faults: VecDeque<(bool, ErrorKind, String)>,
    channels: Option<Vec<String>>,
}

impl Outbox {
    /// One that takes messages for any channel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows these channels alone.
    #[must_use]
    pub fn channels<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.lock().channels = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    /// The next call ends in this error, and nothing is sent.
    #[must_use]
    pub fn then_refuse(self, kind: ErrorKind, message: &str) -> Self {
        self.lock().faults.push_back((false, kind, message.to_owned()));
        self
    }

    /// The next call sends, and ends in this error all the same: its answer is lost.
    #[must_use]
    pub fn then_lose_answer(self, kind: ErrorKind, message: &str) -> Self {
        self.lock().faults.push_back((true, kind, message.to_owned()));
        self
    }

    /// What people have seen, oldest first.
    pub fn sent(&self) -> Vec<OutboxMessage> {
        self.lock().sent.clone()
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Messenger for Outbox {
    fn check(&self, channel: &Channel) -> Result<()> {
        match &self.lock().channels {
            Some(known) if !known.contains(&channel.name) => {
                let message = format!("There is no channel {:?}; there are {}.", channel.name, known.join(", "));
                Err(Error::new(ErrorKind::InvalidInput, message).retry_as(Retry::Never))
            }
            _ => Ok(()),
        }
    }

    async fn send(&self, _: &Context, message: &Message<'_>) -> Result<Sent> {
        let mut inner = self.lock();
        inner.calls += 1;
        let fault = inner.faults.pop_front();
        if let Some((false, kind, message)) = fault {
            return Err(Error::new(kind, message));
        }
        let known = inner.sent.iter().find(|sent| sent.id == message.id).map(|sent| sent.thread.clone());
        let thread = known.unwrap_or_else(|| {
            let continued = message.slack.and_then(|slack| slack.thread_ts.clone());
            let thread = continued.unwrap_or_else(|| format!("thread-{}", inner.sent.len() + 1));
            inner.sent.push(OutboxMessage {
                id: message.id.to_owned(),
                channel: message.channel.clone(),
                text: message.text.to_owned(),
                payload: message.payload.cloned(),
                thread: thread.clone(),
            });
            thread
        });
        match fault {
            Some((_, kind, message)) => Err(Error::new(kind, message)),
            None => Ok(Sent::in_slack_thread(thread)),
        }
    }
}
