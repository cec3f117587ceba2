//! The ssh transport: Git's protocol in a conversation with a program on the server, through the system's program `ssh`.
//!
//! It is that program, and no implementation of the protocol in here, so that the agents, jump hosts, hardware keys and configuration
//! that people have work as they do for `git`.

mod command;
mod connection;
mod destination;
mod fault;
mod process;

use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result, Retry};

pub(super) use command::{Access, HostKeys};
pub(crate) use connection::Connections;
use connection::{Conversation, Way};
pub(super) use destination::Destination;
use process::Broken;

use super::Limits;
use super::sign_in::SignIn;
use super::transport::{Call, Failure, Meter, Service, Topic};

/// A repository's ssh side, for one piece of work.
#[derive(Debug)]
pub(super) struct Ssh {
    /// With the key of `sign_in`.
    access: Access,
    sign_in: SignIn,
    pub(super) meter: Meter,
    upload: Option<Conversation>,
    /// What the process in `upload` spoke of.
    topics: Vec<Topic>,
    receive: Option<Conversation>,
}

impl Ssh {
    pub(super) fn new(access: &Access, sign_in: SignIn, shown: &str, limits: Limits) -> Self {
        let (access, meter) = (access.signed_in(&sign_in), Meter::new(shown, limits));
        Self { access, sign_in, meter, upload: None, topics: Vec::new(), receive: None }
    }

    pub(super) fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// Who signs in from now on.
    pub(super) fn set_sign_in(&mut self, sign_in: SignIn) {
        self.access = self.access.signed_in(&sign_in);
        self.sign_in = sign_in;
    }

    /// Starts a service, and returns the words with which it begins.
    pub(super) async fn advertisement(&mut self, service: Service, v2: bool) -> Result<Vec<u8>> {
        if service == Service::Upload {
            self.topics.clear();
        }
        self.start(service, v2).await
    }

    /// Begins a conversation anew when it was on `topic` already.
    pub(super) fn turn_to(&mut self, topic: Topic) {
        if self.topics.contains(&topic) {
            self.upload = None;
            self.topics.clear();
        }
        self.topics.push(topic);
    }

    /// Ends the conversations; the next request begins one.
    pub(super) fn rest(&mut self) {
        self.upload = None;
        self.receive = None;
        self.topics.clear();
    }

    async fn start(&mut self, service: Service, v2: bool) -> Result<Vec<u8>> {
        // The old one goes first: servers count the connections of a user.
        *self.place(service) = None;
        let mut alone = false;
        loop {
            self.meter.request()?;
            // Once signed in, the file is needed no more.
            let key = self.access.key_file()?;
            // What is asked one question ends with its answer.
            let way = if alone { Way::Alone } else { self.access.way(service == Service::Upload && v2)? };
            let command = self.access.command(service, v2, key.as_ref().map(tempfile::NamedTempFile::path), &way)?;
            let conversation = Conversation::begin(command, way);
            let mut conversation = conversation.map_err(|error| fault::no_program(&self.access, error))?;
            let patience = self.access.timeouts.connect.saturating_add(self.access.timeouts.read);
            match conversation.exchange(b"", 1, patience, &mut self.meter).await {
                Ok(words) => {
                    *self.place(service) = Some(conversation);
                    return Ok(words);
                }
                Err(broken) if conversation.may_go_alone(&broken) => alone = true,
                Err(broken) => {
                    let refused = matches!(&broken, Broken::Gone { begun: false, status, said } if fault::is_key_refused(*status, said));
                    if !(refused && self.sign_in.renew().await?) {
                        let error = self.fault(broken);
                        return Err(if refused { self.sign_in.hopeful(error) } else { error });
                    }
                    self.access = self.access.signed_in(&self.sign_in);
                }
            }
        }
    }

    /// Asks a service, which is started unless it listens already.
    pub(super) async fn call(&mut self, call: Call) -> Result<Vec<u8>, Failure> {
        let Call { service, v2, body, flushes } = call;
        let nothing_sent = |error| Failure { error, may_have_taken_effect: false };
        let mut conversation = match self.place(service).take() {
            Some(conversation) => conversation,
            None => {
                let words = self.start(service, v2).await.map_err(nothing_sent)?;
                if speaks_v2(&words) != v2 {
                    return Err(nothing_sent(self.changed_its_mind()));
                }
                match self.place(service).take() {
                    Some(conversation) => conversation,
                    None => return Err(nothing_sent(self.changed_its_mind())),
                }
            }
        };
        self.meter.request().map_err(nothing_sent)?;
        let patience = self.access.timeouts.read.max(Duration::from_millis(1));
        match conversation.exchange(&body, flushes, patience, &mut self.meter).await {
            Ok(answer) => {
                // Version 2 goes on for as long as it is asked; all else is one question.
                match v2 {
                    true => *self.place(service) = Some(conversation),
                    false => conversation.finish().await,
                }
                Ok(answer)
            }
            Err(broken) => Err(Failure { error: self.fault(broken), may_have_taken_effect: true }),
        }
    }

    fn place(&mut self, service: Service) -> &mut Option<Conversation> {
        match service {
            Service::Upload => &mut self.upload,
            Service::Receive => &mut self.receive,
        }
    }

    fn fault(&self, broken: Broken) -> Error {
        match broken {
            Broken::Gone { begun, status, said } => fault::gone(&self.access, begun, status, &said),
            Broken::Silent(after) => fault::silent(&self.access, after),
            Broken::Answer(error) => error,
        }
    }

    /// Behind one name there may be servers of different ages.
    fn changed_its_mind(&self) -> Error {
        let shown = &self.access.destination;
        Error::new(ErrorKind::InvalidResponse, format!("{shown} speaks another version of Git's protocol than before."))
            .retry_as(Retry::Backoff)
    }
}

fn speaks_v2(words: &[u8]) -> bool {
    words.get(4..).is_some_and(|words| words.starts_with(b"version 2\n"))
}
