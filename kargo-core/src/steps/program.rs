//! Other programs, for what only they can do.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::Context;
use crate::workspace::{Node, Workspace};

/// How much a program may write of results, in bytes; how much of its words about them is kept, and how much of these is shown.
const OUTPUT: usize = 64 << 20;
const KEPT: usize = 256 << 10;
const WORDS: usize = 4 << 10;

/// What a program sees of the host's environment beside `PATH`: the way to the network, and certificates.
const ENVIRONMENT: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Where nobody listens: a request that goes there fails at once.
const NOWHERE: &str = "http://127.0.0.1:0";

/// A program that a step needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    /// By which it is found on `PATH`.
    pub(super) name: &'static str,
    /// What to install when it is not there.
    pub(super) install: &'static str,
}

/// What a program finds of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Other programs on `PATH`, and the way to the network.
    Host,
    /// The way to the network, and no programs.
    Network,
    /// Neither.
    Nothing,
}

impl Program {
    /// Where it is.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when it is not on `PATH`.
    pub(super) fn path(self) -> Result<PathBuf> {
        let Self { name, install } = self;
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let found = directories().into_iter().map(|directory| directory.join(&file)).find(|path| is_program(path));
        found.ok_or_else(|| {
            let message = format!("The program {name:?} is not on PATH, and this step needs it; install {install}.");
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// Runs it in `place`, and returns what it writes. It and all that it has started end when the call is cancelled or out of time.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when it is not on `PATH`; [`ErrorKind::Other`] with its words when it fails, to be tried again only when
    /// these tell of the network.
    async fn run(self, cx: &Context, place: &Place, reach: Reach, arguments: &[String]) -> Result<Vec<u8>> {
        let Self { name, .. } = self;
        let (directory, home) = (place.file(""), place.beside("home"));
        let mut command = Command::new(self.path()?);
        command.args(arguments).current_dir(&directory).env_clear().env("HOME", &home).env("TMPDIR", &home);
        match reach {
            // Should git be among them, it asks nobody, and goes by no way on which a URL could name a program or a file.
            Reach::Host => command
                .env("PATH", std::env::join_paths(directories()).unwrap_or_default())
                .envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_ALLOW_PROTOCOL", "https")]),
            Reach::Network | Reach::Nothing => command.env("PATH", place.beside("programs")),
        };
        for variable in ENVIRONMENT {
            if reach == Reach::Nothing && variable.to_ascii_lowercase().ends_with("_proxy") {
                continue;
            }
            if let Some(value) = std::env::var_os(variable) {
                command.env(variable, value);
            }
        }
        if reach == Reach::Nothing {
            command.envs(["HTTP_PROXY", "HTTPS_PROXY"].map(|variable| (variable, NOWHERE)));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let work = async {
            let not_started =
                |error| Error::new(ErrorKind::Other, format!("The program {name:?} cannot be started.")).because(error);
            let mut running = Running(command.spawn().map_err(not_started)?);
            let (stdout, stderr) = (running.0.stdout.take(), running.0.stderr.take());
            let lost =
                |error| Error::new(ErrorKind::Other, format!("The program {name} cannot be watched.")).because(error);
            let (result, words) = tokio::join!(read(stdout, OUTPUT), read(stderr, KEPT));
            let (result, words) = (result.map_err(lost)?, words.map_err(lost)?);
            let status = running.0.wait().await.map_err(lost)?;
            if !status.success() {
                let words = told(cx, words, &directory);
                let message = format!("The program {name} ended with {status}: {words}");
                let retry = if is_of_the_network(&words) { Retry::Backoff } else { Retry::Never };
                return Err(Error::new(ErrorKind::Other, message).retry_as(retry));
            }
            if result.1 {
                let message = format!("The program {name} wrote more than {} MiB.", OUTPUT >> 20);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            Ok(result.0)
        };
        cx.guard("run a program", work).await
    }
}

/// The directories on `PATH`. Relative ones would be those of the files that somebody else has written.
fn directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect()
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// What a program has said of its trouble. Secrets are masked before anything is cut off: of one that is cut in two, nobody would know
/// the beginning again.
fn told(cx: &Context, (mut words, more): (Vec<u8>, bool), directory: &Path) -> String {
    if more {
        // The last line may have been cut within one.
        words.truncate(words.iter().rposition(|byte| *byte == b'\n').unwrap_or(0));
    }
    let words = String::from_utf8_lossy(&words).replace(&*directory.to_string_lossy(), ".");
    let mut words = cx.mask(words.trim());
    if let Some((end, _)) = words.char_indices().find(|(at, _)| *at >= WORDS) {
        words.truncate(end);
    }
    words
}

/// Whether a program's words tell of trouble that may be over at the next try. What they say else is the same every time.
fn is_of_the_network(words: &str) -> bool {
    const TROUBLE: [&str; 19] = [
        "connection refused",
        "connection reset",
        "broken pipe",
        "no such host",
        "temporary failure in name resolution",
        "server misbehaving",
        "network is unreachable",
        "no route to host",
        "i/o timeout",
        "handshake timeout",
        "client.timeout",
        "deadline exceeded",
        "unexpected eof",
        "too many requests",
        "toomanyrequests",
        "500 internal server error",
        "502 bad gateway",
        "503 service unavailable",
        "504 gateway",
    ];
    let words = words.to_lowercase();
    TROUBLE.iter().any(|trouble| words.contains(trouble))
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
        for part in ["files", "home", "programs"] {
            std::fs::create_dir(directory.path().join(part)).map_err(failed)?;
        }
        Ok(Self { directory })
    }

    /// Where the file or directory at `path` of the workspace is; the path has no `..` in it.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join("files").join(path)
    }

    /// A directory beside the files, where none of them is: `home` for a program's own files, `programs`, which is empty, and others.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
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
    pub(super) async fn run(
        &self,
        cx: &Context,
        program: Program,
        reach: Reach,
        arguments: &[String],
    ) -> Result<Vec<u8>> {
        program.run(cx, self, reach, arguments).await
    }
}
