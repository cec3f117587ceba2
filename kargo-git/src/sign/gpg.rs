//! Signatures by OpenPGP keys, which the system's program `gpg` makes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kargo_core::{Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::remote::readable;

pub(super) struct Key {
    program: PathBuf,
    id: String,
    home: Option<PathBuf>,
}

impl Key {
    pub(super) fn new(id: String, home: Option<&Path>) -> Result<Self> {
        // It becomes an argument of a program.
        if id.trim().is_empty() || id.starts_with('-') || id.contains(char::is_control) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{id:?} can be no OpenPGP key's name; give the fingerprint that gpg --list-secret-keys shows."),
            ));
        }
        Ok(Self { program: "gpg".into(), id, home: home.map(Path::to_owned) })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The signature of `payload`. When the call is given up, `gpg` is ended.
    pub(super) async fn sign(&self, payload: &[u8]) -> Result<String> {
        let mut command = Command::new(&self.program);
        // Nobody is there to be asked.
        command.args(["--batch", "--no-tty", "--pinentry-mode", "error", "--status-fd", "2"]);
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        command.args(["--armor", "--detach-sign", "--local-user"]).arg(&self.id);
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| self.not_started(error))?;
        let stdin = child.stdin.take();
        let send = async {
            if let Some(mut stdin) = stdin {
                // One that does not listen says why.
                let _ = stdin.write_all(payload).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), send);
        let output = output.map_err(|error| self.not_started(error))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let signed = output.status.success() && said.lines().any(|line| line.starts_with("[GNUPG:] SIG_CREATED "));
        match String::from_utf8(output.stdout) {
            Ok(signature) if signed && signature.starts_with("-----BEGIN PGP SIGNATURE-----") => Ok(signature),
            _ => {
                let words = said.lines().filter(|line| !line.starts_with("[GNUPG:]")).collect::<Vec<_>>().join("\n");
                Err(Error::new(
                    ErrorKind::Unauthenticated,
                    format!(
                        "gpg does not sign with the key {} ({}); is its secret part in the key ring, and no passphrase on it that gpg-agent does not know?",
                        self.id,
                        readable(words.as_bytes())
                    ),
                ))
            }
        }
    }

    fn not_started(&self, error: std::io::Error) -> Error {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Unsupported,
            _ => ErrorKind::Unavailable,
        };
        let program = self.program.display();
        Error::new(
            kind,
            format!("The program {program}, which signs commits, cannot be run; install it (Debian's package gpg), or sign with an ssh key."),
        )
        .because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_the_program_there_is_no_signature_and_a_way_out() {
        let key = Key { program: "/nonexistent/gpg".into(), id: "kargo".into(), home: None };
        let error = key.sign(b"x").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, kargo_core::Retry::Never));
        assert!(error.message().contains("install"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_signature_is_not_taken_for_one() {
        for program in ["true", "false", "cat"] {
            let key = Key { program: program.into(), id: "kargo".into(), home: None };
            assert_eq!(key.sign(b"x").await.unwrap_err().kind(), ErrorKind::Unauthenticated, "{program}");
        }
    }

    #[test]
    fn the_name_of_a_key_is_no_option() {
        for id in ["", " ", "--output=/etc/passwd", "-u", "a\nb"] {
            assert!(Key::new(id.into(), None).is_err(), "{id:?}");
        }
        assert!(Key::new("Kargo <kargo@acme.example>".into(), None).is_ok());
    }
}
