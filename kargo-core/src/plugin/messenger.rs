//! Messages to people, in chat rooms and by mail.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::Context;
use crate::error::Result;
use crate::promotion::PromotionInfo;

/// Sends messages to the host's channels, for the step `send-message`: see [`steps::send_message`](crate::steps::send_message).
///
/// **One message, however often it is asked for.** The engine calls again with the same [`Message::id`] when it cannot know whether a call
/// got through: after a crash, an error, a deadline. Then the message must not be seen twice, and what is returned must be what the first
/// call returned. Hand the id on where the service takes such (`client_msg_id` at Slack, `Message-ID` in a mail), or remember it in the
/// same transaction as the message.
///
/// ```
/// use async_trait::async_trait;
/// use kargo_core::plugin::{Channel, Context, Message, Messenger, Sent};
/// use kargo_core::{steps, Error, ErrorKind, Result};
///
/// /// Puts messages into the host's outbox, from which they are sent.
/// #[derive(Debug)]
/// struct Outbox;
///
/// # impl Outbox { async fn insert_once(&self, id: &str, room: &str, text: &str) -> Result<()> { Ok(()) } }
/// #[async_trait]
/// impl Messenger for Outbox {
///     fn check(&self, channel: &Channel) -> Result<()> {
///         match channel.name.as_str() {
///             "releases" => Ok(()),
///             other => Err(Error::new(ErrorKind::InvalidInput, format!("There is no channel {other:?}; there is releases."))),
///         }
///     }
///
///     async fn send(&self, cx: &Context, message: &Message<'_>) -> Result<Sent> {
///         self.insert_once(message.id, &message.channel.name, message.text).await?;
///         Ok(Sent::default())
///     }
/// }
///
/// let plugins = steps::builtin().step("send-message", steps::send_message(Outbox)).build();
/// assert!(plugins.step("send-message").is_ok());
/// ```
#[async_trait]
pub trait Messenger: Debug + Send + Sync + 'static {
    /// Checks a channel, when the pipeline is put together or when its expressions have been evaluated. Default: all are taken.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the channels there are.
    fn check(&self, channel: &Channel) -> Result<()> {
        let _ = channel;
        Ok(())
    }

    /// Sends the message, unless it was sent before under the same id.
    ///
    /// # Errors
    /// Those that another try can mend are tried again, within the step's bounds; see [`crate::Retry`].
    async fn send(&self, cx: &Context, message: &Message<'_>) -> Result<Sent>;
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Channel {
    /// Whose the channel is.
    pub kind: ChannelKind,
    /// Its name.
    pub name: String,
}

/// Whose a channel is. The words are Kargo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[non_exhaustive]
pub enum ChannelKind {
    /// The project's own.
    MessageChannel,
    /// One for all projects.
    ClusterMessageChannel,
}

/// A message to send. Its `Debug` leaves out what it says, which may hold secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The same on every try to send this message; different for any two messages.
    pub id: &'a str,
    /// Whether an earlier call with this id may have got through.
    pub resumed: bool,
    /// The promotion that says it.
    pub promotion: &'a PromotionInfo,
    /// Where it goes.
    pub channel: &'a Channel,
    /// What it says, as it was configured.
    pub text: &'a str,
    /// How the text is encoded.
    pub encoding: Encoding,
    /// What the text holds when it is encoded as JSON or YAML: fields of the service's own, in place of a plain text.
    pub payload: Option<&'a Value>,
    /// What is said for Slack.
    pub slack: Option<&'a SlackOptions>,
    /// What is said for mail.
    pub smtp: Option<&'a SmtpOptions>,
}

impl Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("resumed", &self.resumed)
            .field("channel", &self.channel)
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

/// How a message's text is encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Encoding {
    /// It is plain text.
    #[default]
    #[serde(rename = "")]
    Plain,
    /// It is JSON.
    Json,
    /// It is YAML.
    Yaml,
    /// It is XML, which is handed on as it is.
    Xml,
}

/// What a message says for Slack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SlackOptions {
    /// Another room than the channel's own, by its id.
    #[serde(rename = "channelID")]
    pub channel_id: Option<String>,
    /// The thread that it continues: what an earlier message put out.
    #[serde(rename = "threadTS")]
    pub thread_ts: Option<String>,
}

/// What a message says for mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SmtpOptions {
    /// Other receivers than the channel's own.
    #[serde(default)]
    pub to: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
    /// Whether the text is HTML. Default: no.
    #[serde(default)]
    pub html: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The thread at Slack that it began or continued.
    pub slack_thread: Option<String>,
}

impl Sent {
    /// It is in this thread at Slack.
    pub fn in_slack_thread(thread: impl Into<String>) -> Self {
        Self { slack_thread: Some(thread.into()) }
    }
}

#[async_trait]
impl<T: Messenger + ?Sized> Messenger for Arc<T> {
    fn check(&self, channel: &Channel) -> Result<()> {
        (**self).check(channel)
    }

    async fn send(&self, cx: &Context, message: &Message<'_>) -> Result<Sent> {
        (**self).send(cx, message).await
    }
}

#[async_trait]
impl<T: Messenger + ?Sized> Messenger for Box<T> {
    fn check(&self, channel: &Channel) -> Result<()> {
        (**self).check(channel)
    }

    async fn send(&self, cx: &Context, message: &Message<'_>) -> Result<Sent> {
        (**self).send(cx, message).await
    }
}
