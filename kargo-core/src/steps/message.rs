//! `send-message`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::config;
use super::typed::{Builtin, failed, is_template};
use crate::edit;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Context, Encoding, Message, Messenger, StepOutcome, StepRequest};

/// What stands in the one document of a YAML text.
fn one(mut documents: Vec<Value>) -> Result<Value> {
    match documents.len() {
        1 => Ok(documents.remove(0)),
        several => {
            let message = format!("There are {several} documents in it, where one is a message.");
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

#[derive(Debug)]
pub(super) struct SendMessage(pub(super) Arc<dyn Messenger>);

#[async_trait]
impl Builtin for SendMessage {
    const USES: &'static str = "send-message";
    const CHANGES_FILES: bool = false;
    type Config = config::SendMessage;

    fn check(&self, config: &config::SendMessage) -> Result<()> {
        if is_template(&config.channel.name) { Ok(()) } else { self.0.check(&config.channel) }
    }

    async fn run(&self, cx: &Context, config: config::SendMessage, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let payload = match config.encoding_type {
            Encoding::Json => Some(edit::json::parse(&config.message)),
            Encoding::Yaml => Some(edit::yaml::parse(&config.message).and_then(one)),
            Encoding::Plain | Encoding::Xml => None,
        };
        let payload = match payload.transpose() {
            Ok(payload) => payload,
            Err(error) => {
                return failed(format!("`message` is not what `encodingType` says that it is: {}", error.message()));
            }
        };
        let message = Message {
            id: cx.key(),
            resumed: request.resumed,
            promotion: request.promotion,
            channel: &config.channel,
            text: &config.message,
            encoding: config.encoding_type,
            payload: payload.as_ref(),
            slack: config.slack.as_ref(),
            smtp: config.smtp.as_ref(),
        };
        let sent = self.0.send(cx, &message).await?;
        let outputs = sent.slack_thread.map(|thread| ("slack".to_owned(), json!({ "threadTS": thread })));
        let message = format!("sent to {}", config.channel.name);
        Ok(StepOutcome::Succeeded { outputs: outputs.into_iter().collect::<Map<_, _>>(), message })
    }
}
