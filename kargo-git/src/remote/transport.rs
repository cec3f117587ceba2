//! The ways to the two services of a repository, and what they have in common: a request, its answer, and what they may cost.

use kargo_core::{Error, ErrorKind, Result};

use super::Limits;
use super::http::Http;
use super::sign_in::SignIn;
use super::ssh::Ssh;

/// One of the two services of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Fetching.
    Upload,
    /// Pushing.
    Receive,
}

impl Service {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Upload => "git-upload-pack",
            Self::Receive => "git-receive-pack",
        }
    }
}

/// What a process of `git-upload-pack` gives true answers about only once, because it remembers for its life what it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    /// Where refs stand: later they still stand there.
    Refs,
    /// History to some depth: a greater depth is taken for no limit.
    History,
}

/// A request to a service, and how to know the end of its answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Service,
    /// In protocol version 2.
    pub(super) v2: bool,
    pub(super) body: Vec<u8>,
    /// How many flush packets the answer has; the last one ends it. HTTP has an end of its own.
    pub(super) flushes: u32,
}

/// A request that failed, and whether it may have had its effect all the same.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) may_have_taken_effect: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// The way to a repository, for one piece of work.
#[derive(Debug)]
pub(super) enum Transport {
    /// Each request stands alone.
    Http(Box<Http>),
    /// Each service is a conversation, which the server begins.
    Ssh(Box<Ssh>),
}

impl Transport {
    /// What a service offers, in its own words.
    pub(super) async fn advertisement(&mut self, service: Service, v2: bool) -> Result<Vec<u8>> {
        match self {
            Self::Http(http) => http.advertisement(service, v2).await,
            Self::Ssh(ssh) => ssh.advertisement(service, v2).await,
        }
    }

    /// Calls a service.
    pub(super) async fn call(&mut self, call: Call) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Http(http) => http.call(call).await,
            Self::Ssh(ssh) => ssh.call(call).await,
        }
    }

    /// Lets go of the connection until the next request. Those over HTTP are looked after by the client.
    pub(super) fn rest(&mut self) {
        match self {
            Self::Http(_) => {}
            Self::Ssh(ssh) => ssh.rest(),
        }
    }

    /// Who signs in.
    pub(super) fn sign_in(&self) -> &SignIn {
        match self {
            Self::Http(http) => http.sign_in(),
            Self::Ssh(ssh) => ssh.sign_in(),
        }
    }

    /// Says who signs in from now on. A conversation that has begun goes on.
    pub(super) fn set_sign_in(&mut self, sign_in: SignIn) -> Result<()> {
        match self {
            Self::Http(http) => http.set_sign_in(sign_in),
            Self::Ssh(ssh) => {
                ssh.set_sign_in(sign_in);
                Ok(())
            }
        }
    }

    /// To be said before something is asked about which a server's process can be asked but once.
    pub(super) fn turn_to(&mut self, topic: Topic) {
        match self {
            Self::Http(_) => {}
            Self::Ssh(ssh) => ssh.turn_to(topic),
        }
    }

    /// Whether the next piece of work is spared a round trip by what the server said about itself. Over ssh a server says it unasked.
    /// Behind a redirect the next one must find its own way.
    pub(super) fn can_skip_introduction(&self) -> bool {
        match self {
            Self::Http(http) => !http.is_redirected(),
            Self::Ssh(_) => false,
        }
    }

    /// Whether anything was asked yet.
    pub(super) fn was_used(&self) -> bool {
        match self {
            Self::Http(http) => http.meter.was_used(),
            Self::Ssh(ssh) => ssh.meter.was_used(),
        }
    }
}

/// Counts what one piece of work costs.
#[derive(Debug)]
pub(super) struct Meter {
    shown: String,
    limits: Limits,
    requests: u32,
    received: u64,
}

impl Meter {
    pub(super) fn new(shown: &str, limits: Limits) -> Self {
        Self { shown: shown.to_owned(), limits, requests: 0, received: 0 }
    }

    pub(super) fn was_used(&self) -> bool {
        self.requests > 0
    }

    /// Counts a request that is about to be made.
    pub(super) fn request(&mut self) -> Result<()> {
        self.requests += 1;
        if self.requests <= self.limits.requests {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "The work on {} needs more than {} requests; raise the limit of the remote, or split the work.",
                self.shown, self.limits.requests
            ),
        ))
    }

    /// Counts bytes that were received.
    pub(super) fn receive(&mut self, bytes: usize) -> Result<()> {
        self.received = self.received.saturating_add(bytes as u64);
        if self.received <= self.limits.bytes {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "The work on {} needs more than {} bytes; let the server filter (uploadpack.allowFilter), or raise the limit of the remote.",
                self.shown, self.limits.bytes
            ),
        ))
    }
}
