//! The configurations of `send-message` and `wait-for-approval`.

use std::fmt;

use serde::Deserialize;

use super::http::interval_fault;
use super::{Span, empty};
use crate::approval::{Approver, Demand, Ground};
use crate::plugin::{Channel, Encoding, SlackOptions, SmtpOptions};
use crate::steps::typed::{Config, is_template};

/// `send-message`: tells people something, in a channel of the host's.
///
/// The host says how messages are sent: `steps::send_message` takes its `Messenger`.
///
/// # Outputs
///
/// - `slack.threadTS`: the thread at Slack, when there is one, for the messages of later steps.
///
/// # Errors
///
/// - The host has no channel of that name, which is told when the pipeline is put together, unless an expression names it.
/// - The messenger cannot reach the service, or is refused there.
/// - `message` is not what `encodingType` says: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: send-message
///   as: tell
///   config:
///     channel:
///       kind: MessageChannel
///       name: releases
///     message: ${{ ctx.stage }} gets ${{ ctx.targetFreight.alias }}.
/// - uses: send-message
///   config:
///     channel:
///       kind: MessageChannel
///       name: releases
///     message: It is live.
///     slack:
///       threadTS: ${{ outputs.tell.slack.threadTS }}
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SendMessage {
    /// Where to.
    pub channel: Channel,
    /// What. It does not print: it may hold secrets.
    pub message: String,
    /// How the message is encoded when it is more than a text: `json`, `yaml` or `xml`. Default: it is a text.
    #[serde(default)]
    pub encoding_type: Encoding,
    /// What is said for Slack.
    pub slack: Option<SlackOptions>,
    /// What is said for mail.
    pub smtp: Option<SmtpOptions>,
}

impl fmt::Debug for SendMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMessage").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Config for SendMessage {
    const TEXTS: &'static [&'static str] = &[
        "/channel/kind",
        "/channel/name",
        "/message",
        "/encodingType",
        "/slack/channelID",
        "/slack/threadTS",
        "/smtp/to/*",
        "/smtp/subject",
    ];

    fn fault(&self) -> Option<String> {
        empty("name", &self.channel.name).or_else(|| empty("message", &self.message))
    }
}

/// `wait-for-approval`: waits until people have approved.
///
/// The people answer through the host, by `Engine::answer`, and the step goes on at once. Until it has ended the last
/// answer of a person counts, so that an approval can be taken back. It waits for a week when its entry sets no timeout.
///
/// # Outputs
///
/// - `responses`: who said what, with `user`, `action` (`approved`), `time` and `message` of each.
///
/// # Errors
///
/// - Somebody who is asked rejects: the step fails.
/// - Its time is over.
///
/// # Example
///
/// ```yaml
/// - uses: wait-for-approval
///   as: ask
///   config:
///     minApprovals: 2
///     approvers:
///     - role: operator
///       required: true
///     - claim: groups
///       value: developers
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct WaitForApproval {
    /// Who may approve. There is at least one.
    pub approvers: Vec<ApproverConfig>,
    /// How many persons have to. Default: 1.
    pub min_approvals: Option<usize>,
    /// How long until the step looks again by itself, from `1s`. Default: 30 seconds.
    pub poll_interval: Option<Span>,
}

/// One who may approve, or a group of such: either `claim` and `value`, or `role`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ApproverConfig {
    /// The claim by which they are known, such as `email` or `groups`.
    pub claim: Option<String>,
    /// What the claim has to be.
    pub value: Option<String>,
    /// The role by which they are known.
    pub role: Option<String>,
    /// Whether one of them must approve, whoever else has. Default: no.
    #[serde(default)]
    pub required: bool,
}

impl ApproverConfig {
    fn ground(&self) -> Result<Ground, &'static str> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (given(&self.claim), given(&self.value), given(&self.role)) {
            (Some(claim), Some(value), None) => Ok(Ground::Claim { claim, value }),
            (None, None, Some(role)) => Ok(Ground::Role(role)),
            _ => Err("an approver has either `claim` and `value`, or `role`"),
        }
    }
}

impl Config for WaitForApproval {
    const TEXTS: &'static [&'static str] =
        &["/approvers/*/claim", "/approvers/*/value", "/approvers/*/role", "/pollInterval"];

    fn fault(&self) -> Option<String> {
        if self.approvers.is_empty() {
            return Some("`approvers` is empty, so that nobody could approve".to_owned());
        }
        if self.min_approvals == Some(0) {
            return Some("`minApprovals` is 0; it is at least 1".to_owned());
        }
        if let Some(fault) = interval_fault(self.poll_interval) {
            return Some(fault);
        }
        // An expression may give nothing where it stands for one of several ways to say it.
        let open = |text: &Option<String>| text.as_deref().is_some_and(is_template);
        let told = self.approvers.iter().filter(|one| !open(&one.claim) && !open(&one.value) && !open(&one.role));
        let fault = told.filter_map(|one| one.ground().err()).next()?;
        Some(fault.to_owned())
    }
}

impl From<WaitForApproval> for Demand {
    fn from(config: WaitForApproval) -> Self {
        let approver = |one: &ApproverConfig| Some(Approver { ground: one.ground().ok()?, required: one.required });
        Self {
            approvers: config.approvers.iter().filter_map(approver).collect(),
            min_approvals: config.min_approvals.map_or(1, |wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
        }
    }
}
