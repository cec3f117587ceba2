//! Keys that are asked for, with a program in the place of `ssh` that lets in one of them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use kargo_core::plugin::Context;
use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::BareRepository;
use kargo_git::{CredentialKind, CredentialSource, Credentials, NamedCredentials, Remote};

/// Lets in the key `right`, writes down which keys came, and takes the place of the server.
const SSH: &str = r#"#!/bin/sh
key=$(printf '%s\n' "$@" | sed -n 's/^IdentityFile="\(.*\)"$/\1/p')
head -n 1 "$key" >>"$(dirname "$0")/keys"
if [ "$(head -n 1 "$key")" != right ]; then
    echo 'git@git.example: Permission denied (publickey).' >&2
    exit 255
fi
for command; do :; done
exec sh -c "$command"
"#;

/// Has these keys, one after the other, each until it is refused.
#[derive(Debug)]
struct Keys(Mutex<Vec<&'static str>>);

#[async_trait]
impl CredentialSource for Keys {
    async fn get(&self, _: &Context, url: &str, kind: CredentialKind) -> kargo_core::Result<Option<NamedCredentials>> {
        assert!(url.starts_with("ssh://git@git.example/") && kind == CredentialKind::SshKey);
        let key = *self.0.lock().unwrap().last().unwrap();
        Ok(Some(NamedCredentials::new("of the vault", Credentials::ssh_key(key))))
    }

    async fn refused(&self, _: &Context, _: &str, refused: &NamedCredentials) {
        assert_eq!(refused.name, "of the vault");
        let mut keys = self.0.lock().unwrap();
        if keys.len() > 1 {
            keys.pop();
        }
    }
}

struct Ssh {
    directory: tempfile::TempDir,
    repository: BareRepository,
}

impl Ssh {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("ssh");
        std::fs::write(&program, SSH).unwrap();
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
        let repository = BareRepository::new();
        repository.commit("main", &[("a", "1")], "Start");
        Self { directory, repository }
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("ssh")
    }

    fn remote(&self, keys: &[&'static str]) -> Remote {
        let url = format!("ssh://git@git.example{}", self.repository.path().display());
        let source = Keys(Mutex::new(keys.to_vec()));
        Remote::builder(url).ssh_program(self.program()).credentials_from(source).build().unwrap()
    }

    fn keys(&self) -> String {
        let keys = std::fs::read_to_string(self.directory.path().join("keys")).unwrap();
        std::fs::remove_file(self.directory.path().join("keys")).unwrap();
        keys.trim().replace('\n', " ")
    }
}

#[tokio::test]
async fn git_18_a_key_that_was_exchanged_is_asked_for_again_once() {
    let ssh = Ssh::new();
    let remote = ssh.remote(&["right", "old-s3cret"]);
    let cx = Context::system("tip");
    assert_eq!(remote.tip(&cx, "main").await.unwrap().as_str(), ssh.repository.head("main"));
    assert_eq!(ssh.keys(), "old-s3cret right");
    remote.tip(&cx, "main").await.unwrap();
    assert_eq!(ssh.keys(), "right");
}

#[tokio::test]
async fn git_19_a_key_that_is_not_let_in_is_named_and_not_shown() {
    let ssh = Ssh::new();
    let remote = ssh.remote(&["older-s3cret", "old-s3cret", "s3cret"]);
    let error = remote.tip(&Context::system("tip"), "main").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
    assert!(error.message().contains("the credentials of the vault"), "{error}");
    assert!(!format!("{} {error:?}", error.report()).contains("s3cret"), "{error:?}");
    assert_eq!(ssh.keys(), "s3cret old-s3cret");
}
