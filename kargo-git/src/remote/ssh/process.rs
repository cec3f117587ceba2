//! A running `ssh`: one conversation with one service.

use std::convert::Infallible;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kargo_core::{Error, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::remote::packet::Framing;
use crate::remote::transport::Meter;

/// How many bytes are read and written at once.
const CHUNK: usize = 64 << 10;
/// How many of the last bytes on the standard error are kept: there the reason is, after whatever a server says first.
const SAID: usize = 1 << 10;
/// How long a process that said its last word has for ending.
const GRACE: Duration = Duration::from_secs(2);

/// A conversation that ended too early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other side is gone.
    Gone {
        /// Whether it had said anything before.
        begun: bool,
        /// How `ssh` ended; `None` when it did not.
        status: Option<ExitStatus>,
        /// What it and the server said last.
        said: String,
    },
    /// Nothing came and nothing went for so long.
    Silent(Duration),
    /// The answer is none, or too big.
    Answer(Error),
}

/// A process, which is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    said: Arc<Mutex<Vec<u8>>>,
    listener: tokio::task::JoinHandle<()>,
    /// Whether there was an answer yet.
    begun: bool,
}

impl Process {
    pub(super) fn start(mut command: Command) -> std::io::Result<Self> {
        let mut child = command.spawn()?;
        let gone = || std::io::Error::other("a pipe of the process is missing");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(gone)?;
        let stderr = child.stderr.take().ok_or_else(gone)?;
        let said = Arc::default();
        let listener = tokio::spawn(listen(stderr, Arc::clone(&said)));
        Ok(Self { child, stdin, stdout, said, listener, begun: false })
    }

    /// Whether the other side has said anything yet.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether it is there no more.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its number, unless it has ended.
    #[cfg(test)]
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends `request` and reads the answer up to its flush packet number `flushes`, with no more than `patience` between two signs
    /// of life. After an error there is no going on.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        flushes: u32,
        patience: Duration,
        meter: &mut Meter,
    ) -> Result<Vec<u8>, Broken> {
        let active = Mutex::new(Instant::now());
        let alive = || *active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let quiet = async {
            loop {
                let last = *active.lock().unwrap_or_else(PoisonError::into_inner);
                // Somebody's way to say for ever.
                let Some(until) = last.checked_add(patience) else { return std::future::pending().await };
                if Instant::now() >= until {
                    return;
                }
                tokio::time::sleep_until(until).await;
            }
        };
        let stdin = &mut self.stdin;
        let send = async {
            if let Some(stdin) = stdin {
                for chunk in request.chunks(CHUNK) {
                    // Who does not listen has said why, or ends, which the other side of the conversation notices.
                    if stdin.write_all(chunk).await.is_err() {
                        break;
                    }
                    alive();
                }
            }
            std::future::pending::<Infallible>().await
        };
        let stdout = &mut self.stdout;
        let receive = async {
            let (mut answer, mut framing) = (Vec::new(), Framing::new(flushes));
            let mut chunk = vec![0; CHUNK];
            loop {
                match stdout.read(&mut chunk).await {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(length) => {
                        alive();
                        meter.receive(length)?;
                        answer.extend_from_slice(&chunk[..length]);
                    }
                }
                if framing.is_whole(&answer)? {
                    return Ok(Some(answer));
                }
            }
        };
        // Both at once: a server that talks while it is being sent to must not wait for us, nor we for it.
        let answer: Result<Option<Vec<u8>>> = tokio::select! {
            answer = receive => answer,
            never = send => match never {},
            () = quiet => return Err(Broken::Silent(patience)),
        };
        match answer {
            Ok(Some(answer)) => {
                self.begun = true;
                Ok(answer)
            }
            Ok(None) => Err(self.gone().await),
            Err(error) => Err(Broken::Answer(error)),
        }
    }

    /// Ends the conversation after the last answer, and lets the server end in peace.
    pub(super) async fn finish(mut self) {
        self.stdin = None;
        let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
    }

    async fn gone(&mut self) -> Broken {
        self.stdin = None;
        let status = tokio::time::timeout(GRACE, self.child.wait()).await.ok().and_then(|status| status.ok());
        // The last words are on their way; a process in the background of ssh may keep the pipe open.
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut self.listener).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = String::from_utf8_lossy(&said).into_owned();
        // Of a line whose beginning was dropped the rest is of no use.
        if said.len() >= SAID
            && let Some((_, rest)) = said.split_once('\n')
            && !rest.is_empty()
        {
            said = rest.to_owned();
        }
        Broken::Gone { begun: self.begun, status, said }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.listener.abort();
        // With what ssh started itself, such as a ProxyCommand. Without an id it has ended, and its number may be another's.
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Keeps the end of what is said, and reads on so that whoever talks is not held up.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&chunk[..length]);
        let excess = said.len().saturating_sub(SAID);
        said.drain(..excess);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::remote::Limits;
    use std::process::Stdio;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).kill_on_drop(true).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::start(command).unwrap()
    }

    fn meter(bytes: u64) -> Meter {
        Meter::new("ssh://git.example/x", Limits { bytes, ..Limits::default() })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn one_process_answers_one_request_after_another() {
        let mut process =
            shell("printf 0005a0000; read -r a; printf '0005%s0000' \"$a\"; read -r b; printf '0005%s0000' \"$b\"");
        let mut meter = meter(1000);
        for (request, answer) in [("", "0005a0000"), ("b\n", "0005b0000"), ("c\n", "0005c0000")] {
            let got = process.exchange(request.as_bytes(), 1, Duration::MAX, &mut meter).await.unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), answer);
        }
        process.finish().await;
    }

    #[tokio::test]
    async fn a_server_that_talks_while_it_is_sent_to_is_heard() {
        // Either way more than a pipe holds, and the server reads nothing before it has said all.
        let line = format!("fff0{}", "x".repeat(0xffec));
        let mut process =
            shell(&format!("yes {line} | tr -d '\\n' | head -c 6552000; head -c 4194304 >/dev/null; printf 0000"));
        let answer = process.exchange(&vec![b'x'; 4 << 20], 1, LONG, &mut meter(100 << 20)).await.unwrap();
        assert_eq!(answer.len(), 6_552_004);
    }

    #[tokio::test]
    async fn who_ends_too_early_is_asked_why() {
        let mut process = shell("printf 0005a; echo 'Host key verification failed.' >&2; exit 255");
        let Err(Broken::Gone { begun: false, status, said }) = process.exchange(b"", 1, LONG, &mut meter(1000)).await
        else {
            panic!("the answer has no end")
        };
        assert_eq!((status.unwrap().code(), said.as_str()), (Some(255), "Host key verification failed.\n"));
    }

    #[tokio::test]
    async fn the_last_words_of_many_are_kept() {
        let mut process = shell("yes chatter | head -n 100000 >&2; echo 'the reason' >&2; exit 1");
        let Err(Broken::Gone { said, .. }) = process.exchange(b"", 1, LONG, &mut meter(1000)).await else {
            panic!("there is no answer")
        };
        assert!(said.len() <= SAID && said.starts_with("chatter\n") && said.ends_with("\nthe reason\n"), "{said}");
    }

    #[tokio::test]
    async fn a_silent_server_is_not_waited_for_and_a_flood_is_stopped() {
        let mut process = shell("cat");
        let broken = process.exchange(b"", 1, Duration::from_millis(50), &mut meter(1000)).await;
        assert!(matches!(broken, Err(Broken::Silent(_))), "{broken:?}");
        let mut process = shell("while :; do printf 0005a; done");
        let Err(Broken::Answer(error)) = process.exchange(b"", 1, LONG, &mut meter(10_000)).await else {
            panic!("it has no end")
        };
        assert!(error.message().contains("10000 bytes"), "{error}");
    }

    #[tokio::test]
    async fn a_process_and_what_it_started_end_with_the_call() {
        let mut process = shell("sleep 600 & echo \"$!\" | tr -d '\\n' >&2; wait");
        let group = process.child.id().unwrap();
        let _ = process.exchange(b"", 1, Duration::from_millis(200), &mut meter(1000)).await;
        let child = String::from_utf8(process.said.lock().unwrap().clone()).unwrap();
        drop(process);
        for _ in 0..100 {
            let gone = [group.to_string(), child.clone()].iter().all(|id| {
                let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                state.is_empty() || state.contains(") Z ")
            });
            if gone {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{group} or {child} is still there");
    }
}
