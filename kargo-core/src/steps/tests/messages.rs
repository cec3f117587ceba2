//! `send-message` in all its forms, to a messenger that keeps what it gets.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::plugin::{Channel, ChannelKind, Encoding, Message, Messenger, Sent};
use crate::steps::send_message;

/// Everything that a messenger is told, as JSON.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Value>>>);

#[async_trait]
impl Messenger for Told {
    fn check(&self, _: &Channel) -> crate::Result<()> {
        Ok(())
    }

    async fn send(&self, _: &Context, message: &Message<'_>) -> crate::Result<Sent> {
        let kind = match message.channel.kind {
            ChannelKind::ClusterMessageChannel => "for all projects",
            _ => "of the project",
        };
        let encoding = match message.encoding {
            Encoding::Json => "json",
            Encoding::Yaml => "yaml",
            Encoding::Xml => "xml",
            _ => "plain",
        };
        self.0.lock().unwrap().push(json!({
            "channel": [kind, message.channel.name], "text": message.text, "encoding": encoding, "payload": message.payload,
            "slack": message.slack.map(|slack| json!([slack.channel_id, slack.thread_ts])),
            "smtp": message.smtp.map(|smtp| json!([smtp.to, smtp.subject, smtp.html])),
        }));
        Ok(Sent::default())
    }
}

/// What the messenger is told, or why it is told nothing.
async fn told(config: Value) -> Result<Value, String> {
    let messenger = Told::default();
    let step = send_message(messenger.clone());
    match call(&step, &Workspace::new(), &config).await {
        Ok(StepOutcome::Succeeded { outputs, .. }) => {
            assert_eq!(outputs, Map::new(), "there is no thread");
            Ok(messenger.0.lock().unwrap().remove(0))
        }
        Ok(StepOutcome::Failed { reason }) => Err(reason),
        other => panic!("{other:?}"),
    }
}

fn message(text: &str, more: Value) -> Value {
    let mut config = json!({"channel": {"kind": "ClusterMessageChannel", "name": "ops"}, "message": text});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn what_the_configuration_says_reaches_the_messenger() {
    let plain = json!({
        "channel": ["for all projects", "ops"], "text": "hi", "encoding": "plain", "payload": null, "slack": null, "smtp": null,
    });
    for (more, field, wanted) in [
        (json!({}), "text", json!("hi")),
        (json!({"encodingType": ""}), "encoding", json!("plain")),
        (json!({"channel": {"kind": "MessageChannel", "name": "dev"}}), "channel", json!(["of the project", "dev"])),
        (json!({"slack": {"channelID": "C1", "threadTS": "7"}}), "slack", json!(["C1", "7"])),
        (
            json!({"smtp": {"to": ["a@acme.example", "b@acme.example"], "subject": "Out"}}),
            "smtp",
            json!([["a@acme.example", "b@acme.example"], "Out", false]),
        ),
        (json!({"smtp": {"to": ["a@acme.example"], "html": true}}), "smtp", json!([["a@acme.example"], null, true])),
    ] {
        let mut expected = plain.clone();
        expected[field] = wanted;
        assert_eq!(block_on(told(message("hi", more.clone()))), Ok(expected), "{more}");
    }
    for (text, encoding, payload) in [
        ("{\"a\": [1]}", "json", json!({"a": [1]})),
        ("a: [1]\n", "yaml", json!({"a": [1]})),
        // XML is for the messenger to read.
        ("<a>1</a>", "xml", Value::Null),
    ] {
        let got = block_on(told(message(text, json!({"encodingType": encoding})))).unwrap();
        assert_eq!((&got["text"], &got["encoding"], &got["payload"]), (&json!(text), &json!(encoding), &payload));
    }
}

#[test]
fn what_no_messenger_could_send_fails_the_step() {
    for (config, part) in [
        (message("", json!({})), "`message` is empty"),
        (message("hi", json!({"channel": {"kind": "MessageChannel", "name": ""}})), "`name` is empty"),
        (message("hi", json!({"channel": {"kind": "Channel", "name": "x"}})), "unknown variant `Channel`"),
        (message("hi", json!({"encodingType": "toml"})), "encodingType"),
        (message("{", json!({"encodingType": "json"})), "is not what `encodingType` says"),
        (message("a: 1\n---\nb: 2\n", json!({"encodingType": "yaml"})), "There are 2 documents"),
        (message("hi", json!({"smtp": {"to": "a@acme.example"}})), "smtp.to"),
        (message("hi", json!({"smtp": {"too": []}})), "did you mean \"to\"?"),
        (message("hi", json!({"slack": {"channelId": "C1"}})), "did you mean \"channelID\"?"),
    ] {
        let reason = block_on(told(config.clone())).expect_err(&config.to_string());
        assert!(reason.contains(part), "{part}: {reason}");
    }
}
