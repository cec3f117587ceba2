//! Asking for refs once, for all who want to know at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result};

use crate::remote::{RemoteRef, Session};

/// How long the first who asks waits for others.
const TOGETHER: Duration = Duration::from_millis(10);

/// How many listings a prefix is asked for after somebody wanted it, in case that one asks again.
const REMEMBERED: u32 = 3;

/// With more prefixes than this only those are asked for that somebody waits for.
const MAX_PREFIXES: usize = 64;

/// The refs of one repository, listed for many at once. An answer goes to those only who asked before it was asked for, so that nobody
/// is told what was true before.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Tells what came before what.
    tickets: AtomicU64,
    /// The prefixes that are wanted, with how many listings there were since.
    wanted: Mutex<BTreeMap<String, u32>>,
    last: tokio::sync::Mutex<Option<Answer>>,
    size: AtomicUsize,
}

#[derive(Debug)]
struct Answer {
    ticket: u64,
    prefixes: Vec<String>,
    outcome: Result<Arc<Vec<RemoteRef>>>,
}

impl Listing {
    /// The refs whose names begin with one of `prefixes`, and maybe others, as they are now. Cancel-safe: another one who waits asks
    /// instead.
    pub(super) async fn refs(&self, session: &mut Session, prefixes: &[&str]) -> Result<Arc<Vec<RemoteRef>>> {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst);
        self.want(prefixes);
        let mut last = self.last.lock().await;
        if let Some(answer) = &*last
            && answer.ticket > ticket
            && prefixes.iter().all(|prefix| answer.prefixes.iter().any(|asked| asked == prefix))
        {
            match &answer.outcome {
                Ok(refs) => return Ok(Arc::clone(refs)),
                Err(error) if is_everybodys(error) => return Err(again(error)),
                Err(_) => {}
            }
        }
        tokio::time::sleep(TOGETHER).await;
        // Those that asked before and gave up have aged what this one waits for.
        self.want(prefixes);
        let (ticket, asked) = {
            let mut wanted = self.wanted();
            if wanted.len() > MAX_PREFIXES {
                wanted.retain(|_, age| *age == 0);
            }
            let asked: Vec<String> = wanted.keys().cloned().collect();
            wanted.values_mut().for_each(|age| *age += 1);
            wanted.retain(|_, age| *age <= REMEMBERED);
            (self.tickets.fetch_add(1, Ordering::SeqCst), asked)
        };
        let outcome = session.refs(&asked.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let outcome = outcome.map(Arc::new);
        let told = match &outcome {
            Ok(refs) => Ok(Arc::clone(refs)),
            Err(error) => Err(again(error)),
        };
        let size = |refs: &Arc<Vec<RemoteRef>>| refs.iter().map(|each| size_of::<RemoteRef>() + each.name.len()).sum();
        self.size.store(outcome.as_ref().map_or(0, size), Ordering::Relaxed);
        *last = Some(Answer { ticket, prefixes: asked, outcome });
        told
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    fn want(&self, prefixes: &[&str]) {
        self.wanted().extend(prefixes.iter().map(|prefix| ((*prefix).to_owned(), 0)));
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is one for all who asked. How long one waits and how much one receives is a matter of each one's own settings.
fn is_everybodys(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unsupported)
}

/// The same error for another one who asked.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message()).retry_as(error.retry());
    let copy = error.context().iter().fold(copy, |copy, (key, value)| copy.with(key, value));
    match std::error::Error::source(error) {
        Some(source) => copy.because(source.to_string()),
        None => copy,
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::remote::{Limits, Remote};
    use crate::testing::BareRepository;

    const TAGS: &str = "refs/tags/";

    fn repository() -> BareRepository {
        let repository = BareRepository::new();
        repository.commit("main", &[("a", "1")], "Start");
        repository.tag("v1", "main", None);
        repository
    }

    async fn session(remote: &Remote) -> Session {
        remote.session(&kargo_core::plugin::Context::system("look")).await.unwrap()
    }

    #[tokio::test]
    async fn those_who_give_up_take_nothing_from_one_who_waits() {
        let repository = repository();
        let listing = Arc::new(Listing::default());
        // Takes connections and never answers.
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Remote::new(format!("http://{}/x", server.local_addr().unwrap())).unwrap();
        let look = |mut session: Session, prefix: &'static str| {
            let listing = Arc::clone(&listing);
            tokio::spawn(async move { listing.refs(&mut session, &[prefix]).await })
        };
        let mut given_up = Vec::new();
        for _ in 0..4 {
            given_up.push(look(session(&silent).await, "refs/heads/main"));
            // Each is in the queue before the next one is.
            tokio::task::yield_now().await;
        }
        let patient = look(session(&Remote::new(repository.url()).unwrap()).await, TAGS);
        tokio::task::yield_now().await;
        for look in given_up {
            let _asked = server.accept().await.unwrap();
            look.abort();
        }
        let refs = patient.await.unwrap().unwrap();
        assert!(refs.iter().any(|each| each.name == "refs/tags/v1"), "{refs:?}");
    }

    #[tokio::test]
    async fn what_one_may_not_receive_is_no_error_for_the_others() {
        let repository = repository();
        let listing = Arc::new(Listing::default());
        let poor = Remote::builder("http://127.0.0.1:1/x").limits(Limits { requests: 0, bytes: 0 }).build().unwrap();
        let (mut poor, mut rich) = (session(&poor).await, session(&Remote::new(repository.url()).unwrap()).await);
        let (first, second) = tokio::join!(listing.refs(&mut poor, &[TAGS]), listing.refs(&mut rich, &[TAGS]));
        assert_eq!(first.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(second.unwrap().len(), 1);
    }
}
