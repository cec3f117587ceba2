//! Other programs, for what only they can do.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::Context;
use crate::workspace::{Node, Workspace};

/// How much a program may write: of results, and of words about them that are shown.
const OUTPUT: usize = 64 << 20;
const WORDS: usize = 4 << 10;

/// What a program sees of the host's environment: where programs are, the way to the network, and certificates.
const ENVIRONMENT: [&str; 9] = [
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// A program that a step needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    /// By which it is found on `PATH`.
    pub(super) name: &'static str,
    /// What to install when it is not there.
    pub(super) install: &'static str,
}

impl Program {
    /// Runs it in `directory`, with `home` for its own files, and returns what it writes. It and all that it has started end when the
    /// call is cancelled or out of time.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when it is not on `PATH`; [`ErrorKind::Other`] with its last words when it fails.
    pub(super) async fn run(
        self,
        cx: &Context,
        directory: &Path,
        home: &Path,
        arguments: &[String],
    ) -> Result<Vec<u8>> {
        let Self { name, .. } = self;
        let mut command = Command::new(name);
        command.args(arguments).current_dir(directory).env_clear().env("HOME", home).env("TMPDIR", home);
        for variable in ENVIRONMENT {
            if let Some(value) = std::env::var_os(variable) {
                command.env(variable, value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let work = async {
            let mut running = Running(command.spawn().map_err(|error| self.not_started(error))?);
            let (stdout, stderr) = (running.0.stdout.take(), running.0.stderr.take());
            let lost =
                |error| Error::new(ErrorKind::Other, format!("The program {name} cannot be watched.")).because(error);
            let (result, words) = tokio::join!(read(stdout, OUTPUT), read(stderr, WORDS));
            let (result, words) = (result.map_err(lost)?, words.map_err(lost)?);
            let status = running.0.wait().await.map_err(lost)?;
            if !status.success() {
                let words = String::from_utf8_lossy(&words.0).replace(&*directory.to_string_lossy(), ".");
                let message = format!("The program {name} ended with {status}: {}", words.trim());
                return Err(Error::new(ErrorKind::Other, message).retry_as(Retry::Backoff));
            }
            if result.1 {
                let message = format!("The program {name} wrote more than {} MiB.", OUTPUT >> 20);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            Ok(result.0)
        };
        cx.guard("run a program", work).await
    }

    fn not_started(self, error: std::io::Error) -> Error {
        let Self { name, install } = self;
        let (kind, message) = if error.kind() == std::io::ErrorKind::NotFound {
            let message = format!("The program {name:?} is not on PATH, and this step needs it; install {install}.");
            (ErrorKind::Unsupported, message)
        } else {
            (ErrorKind::Other, format!("The program {name:?} cannot be started."))
        };
        Error::new(kind, message).because(error)
    }
}

/// The beginning of what comes, and whether there was more, which is read too so that the program does not wait.
async fn read(from: Option<impl AsyncRead + Unpin>, most: usize) -> std::io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    let Some(mut from) = from else { return Ok((kept, false)) };
    (&mut from).take(most as u64).read_to_end(&mut kept).await?;
    let more = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok((kept, more > 0))
}

/// A program that runs, with all that it has started: they are a process group of their own.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // What has ended and been waited for has no id any more.
        #[cfg(unix)]
        if let Some(group) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // It may have ended in this instant, and then there is nothing to end.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// A temporary directory with a part of the workspace, in which programs run. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Result<Self> {
        let failed = |error| {
            let message = "No temporary directory can be made; see to the room and the permissions there.";
            Error::new(ErrorKind::Other, message).because(error)
        };
        let directory = tempfile::Builder::new().prefix("kargo-step-").tempdir().map_err(failed)?;
        for part in ["files", "home"] {
            std::fs::create_dir(directory.path().join(part)).map_err(failed)?;
        }
        Ok(Self { directory })
    }

    /// Where the file or directory at `path` of the workspace is; the path has no `..` in it.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join("files").join(path)
    }

    /// Writes the file or directory at `path` of the workspace there; the path has no `..` in it.
    pub(super) async fn export(&self, cx: &Context, workspace: &Workspace, path: &str) -> Result<()> {
        let target = self.file(path);
        let inside = format!("./{path}");
        let failed =
            |error| Error::new(ErrorKind::Other, "A file cannot be written to the temporary directory.").because(error);
        match workspace.node(cx, &inside).await? {
            Some(Node::Directory(_)) => {
                std::fs::create_dir_all(&target).map_err(failed)?;
                workspace.export(cx, &inside, &target).await
            }
            Some(_) => {
                let contents = workspace.read(cx, &inside).await?.unwrap_or_default();
                let above = target.parent().unwrap_or(&target);
                std::fs::create_dir_all(above).and_then(|()| std::fs::write(&target, contents)).map_err(failed)
            }
            None => Err(workspace.missing(cx, &inside).await),
        }
    }

    /// Runs `program` there.
    pub(super) async fn run(&self, cx: &Context, program: Program, arguments: &[String]) -> Result<Vec<u8>> {
        program.run(cx, &self.file(""), &self.directory.path().join("home"), arguments).await
    }
}
