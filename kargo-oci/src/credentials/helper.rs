//! Credential helpers: programs that know passwords, by the protocol of Docker's `docker-credential-*`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result, Retry};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::Credentials;

/// How long a helper may take. Those of clouds ask over the network.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// The most that a helper may print, in bytes.
const PRINTED: u64 = 64 * 1024;
/// The user by which helpers say that the secret is an identity token.
pub(super) const TOKEN_USER: &str = "<token>";

/// A helper, by the name that stands in the configuration: `ecr-login` for the program `docker-credential-ecr-login`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Helper {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    #[serde(default)]
    username: String,
    secret: String,
}

impl Helper {
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the name could lead to another place than that of programs.
    pub(super) fn new(name: &str) -> Result<Self> {
        let is_fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if is_fine {
            return Ok(Self { name: name.to_owned() });
        }
        Err(Error::new(ErrorKind::InvalidInput, format!("{name:?} cannot be the name of a credential helper.")))
    }

    fn program(&self, directory: Option<&Path>) -> PathBuf {
        let program = format!("docker-credential-{}", self.name);
        directory.map_or_else(|| PathBuf::from(&program), |directory| directory.join(&program))
    }

    /// What the helper has for `server`, or nothing. The program, and what it has started, is ended when it takes longer than
    /// `deadline`, or when the future is dropped.
    pub(super) async fn get(
        &self,
        server: &str,
        directory: Option<&Path>,
        deadline: Duration,
    ) -> Result<Option<Credentials>> {
        let late = |_| {
            Error::new(
                ErrorKind::Timeout,
                format!(
                    "The credential helper docker-credential-{} did not answer for {server} within {deadline:?}; it was ended.",
                    self.name
                ),
            )
        };
        tokio::time::timeout(deadline, self.run(server, directory)).await.map_err(late)?
    }

    async fn run(&self, server: &str, directory: Option<&Path>) -> Result<Option<Credentials>> {
        let failed = |why: &str| {
            Error::new(ErrorKind::Unavailable, format!("The credential helper docker-credential-{} {why}.", self.name))
        };
        let mut command = Command::new(self.program(directory));
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        // Many helpers are scripts, and what they wait for is another program.
        #[cfg(unix)]
        command.process_group(0);
        let mut running = Running(command.spawn().map_err(|error| {
            failed("cannot be started; is it installed where programs are looked for?")
                .retry_as(Retry::Never)
                .because(error)
        })?);
        let child = &mut running.0;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input has another reason, which its status tells.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        let mut printed = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(PRINTED + 1).read_to_end(&mut printed).await;
            read.map_err(|error| failed("cannot be read from").because(error))?;
        }
        if printed.len() as u64 > PRINTED {
            return Err(failed(&format!("prints more than {PRINTED} bytes")).retry_as(Retry::Never));
        }
        let status = child.wait().await.map_err(|error| failed("cannot be waited for").because(error))?;
        if !status.success() {
            let said = String::from_utf8_lossy(&printed);
            // These are the words by which all helpers say so.
            if said.contains("credentials not found") {
                return Ok(None);
            }
            // What looks like an answer may hold a password.
            let said = if said.contains('{') { String::new() } else { said.trim().chars().take(200).collect() };
            return Err(failed(&format!("failed for {server} ({status}), saying {said:?}")));
        }
        // The error's text could show a part of the secret.
        let answer: Printed = serde_json::from_slice(&printed)
            .map_err(|_| failed(&format!("did not print credentials for {server}")).retry_as(Retry::Never))?;
        Ok(Some(if answer.username == TOKEN_USER {
            Credentials::identity(answer.secret)
        } else {
            Credentials::basic(answer.username, answer.secret)
        }))
    }
}

/// A helper that is ended with its process group when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A process that was waited for has no id any more: another one may have it.
        #[cfg(unix)]
        if let Some(id) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Writes a helper called `test` into `directory`. Another program does the writing: a file that this process has open for
/// writing is inherited by what other tests start meanwhile, and cannot be run until they are under way.
#[cfg(all(test, unix))]
pub(super) fn install(directory: &Path, script: &str) {
    let path = directory.join("docker-credential-test");
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
    let status = std::process::Command::new("sh").arg("-c").arg(write).arg(path).arg(script).status();
    assert!(status.is_ok_and(|status| status.success()), "the helper is written");
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use secrecy::ExposeSecret as _;

    use super::*;

    async fn run(script: &str, deadline: Duration) -> Result<Option<Credentials>> {
        let directory = tempfile::tempdir().unwrap();
        install(directory.path(), script);
        Helper::new("test").unwrap().get("r.example", Some(directory.path()), deadline).await
    }

    #[tokio::test]
    async fn a_helper_is_given_the_server_and_prints_who_to_be() {
        let script = r#"test "$1" = get && printf '{"ServerURL":"x","Username":"me","Secret":"for %s"}' "$(cat)""#;
        let Some(Credentials::Basic { user, password }) = run(script, DEADLINE).await.unwrap() else { panic!() };
        assert_eq!((user.as_str(), password.expose_secret()), ("me", "for r.example"));
        let token = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        assert!(matches!(run(token, DEADLINE).await.unwrap(), Some(Credentials::Identity(_))));
        let none = "echo credentials not found in native keychain; exit 1";
        assert!(run(none, DEADLINE).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn oci_21_a_helper_that_fails_or_hangs_is_an_error_that_names_it_and_no_secret() {
        for (script, kind, needle) in [
            ("echo the vault is sealed; exit 3", ErrorKind::Unavailable, "sealed"),
            ("echo '{\"Secret\":\"hunter2\"'", ErrorKind::Unavailable, "did not print"),
            ("echo '{\"Secret\":\"hunter2\"}'; exit 1", ErrorKind::Unavailable, "failed for r.example"),
            ("yes hunter2", ErrorKind::Unavailable, "prints more than"),
        ] {
            let error = run(script, DEADLINE).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(needle) && error.message().contains("docker-credential-test"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let started = Instant::now();
        let error = run("exec sleep 600", Duration::from_millis(100)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Timeout && started.elapsed() < Duration::from_secs(10), "{error}");
        // A script that waits for another program holds the pipe open through it.
        let directory = tempfile::tempdir().unwrap();
        let started = directory.path().join("started");
        let script = format!("sleep 600 & echo $! > {}; wait", started.display());
        run(&script, Duration::from_millis(500)).await.unwrap_err();
        let inner: i32 = std::fs::read_to_string(&started).unwrap().trim().parse().unwrap();
        let is_running = || {
            let status = std::fs::read_to_string(format!("/proc/{inner}/stat")).unwrap_or_default();
            // What is ended waits as a zombie for whoever adopts it.
            !status.is_empty() && !status.contains(") Z ")
        };
        for _ in 0..200 {
            if !is_running() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!is_running(), "what the helper has started is ended with it");
        let missing = Helper::new("nobody-has-this").unwrap().get("r", None, DEADLINE).await.unwrap_err();
        assert!(missing.message().contains("is it installed"), "{missing}");
        for name in ["", "../../bin/sh", "a b", "x/y"] {
            assert_eq!(Helper::new(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
