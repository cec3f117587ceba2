//! What was read of applications, and whether that still counts.
//!
//! All that is heard is counted. A read counts as long as nothing was heard of its application since it began; what a read says already is no
//! news. It must never take an older read for a newer one, however late its answer comes.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::super::model::Metadata;
use super::super::{AppRef, Search, Snapshot};
use super::gist::{self, Told};

/// For how long a read counts while the stream tells nothing: a server drops events that it cannot get rid of, and says so to nobody. Then
/// a list is to show that it still holds, or it is read anew.
pub(super) const TRUST: Duration = Duration::from_secs(300);
/// From how many reads on that are to be confirmed one list is less work than the reads.
const MANY: usize = 8;
/// Of how many applications the last read is kept.
const MAX_KNOWN: usize = 4096;
/// Of how many others it is known what was told of them last.
const MAX_STRANGERS: usize = 16_384;
/// How many lists are kept.
const MAX_LISTS: usize = 64;

#[derive(Default)]
pub(super) struct Known {
    pub(super) connected: bool,
    /// By name: events name the namespace, where a reference may leave it out.
    apps: HashMap<String, Vec<Entry>>,
    count: usize,
    /// How much was heard in all.
    clock: u64,
    /// When something was last heard of an application that is not known here. It may become known by a read that began before.
    strangers: u64,
    uses: u64,
    lists: Vec<Listed>,
    /// What was last told of applications that are not known here: the digest, and when the comparison began.
    strangers_told: HashMap<Place, (u64, Option<Timestamp>)>,
}

/// The namespace and the name.
type Place = (Option<String>, String);

struct Entry {
    app: AppRef,
    /// When something was last heard of it.
    heard: u64,
    /// The newest version that it was heard of since the last read began.
    version: Option<u64>,
    /// Whether something was heard since then that has no version.
    vague: bool,
    read: Option<Read>,
    used: u64,
}

struct Read {
    snapshot: Snapshot,
    at: Timestamp,
    /// When a list last showed that it still holds.
    confirmed: Timestamp,
    /// How much had been heard when it began.
    began: u64,
    gist: u64,
    /// Whether a further comparison would prove nothing.
    settled: bool,
}

impl Read {
    /// For how long nothing but the stream has said that it holds.
    fn unconfirmed(&self, now: Timestamp) -> Option<Duration> {
        Duration::try_from(now.duration_since(self.at.max(self.confirmed))).ok()
    }
}

struct Listed {
    search: Search,
    at: Timestamp,
    began: u64,
    found: Vec<AppRef>,
}

fn version_of(metadata: &Metadata) -> Option<u64> {
    metadata.resource_version.as_ref()?.parse().ok()
}

/// Whether one read of an application is newer than another of the same object.
fn is_newer(one: &Snapshot, than: &Snapshot) -> bool {
    let (one, than) = (&one.app.metadata, &than.app.metadata);
    one.uid == than.uid && version_of(one) > version_of(than)
}

/// Whether both are of the same object.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.uid == other.uid && (one.namespace.is_none() || other.namespace.is_none() || one.namespace == other.namespace)
}

impl Entry {
    fn is_stale(&self) -> bool {
        self.read.as_ref().is_none_or(|read| self.heard > read.began)
    }
}

impl Known {
    /// How much has been heard by now; to be asked before a read begins.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    fn find(&self, app: &AppRef) -> Option<&Entry> {
        self.apps.get(&app.name)?.iter().find(|entry| entry.app == *app)
    }

    fn entry(&mut self, app: &AppRef) -> &mut Entry {
        if self.find(app).is_none() {
            if self.count >= MAX_KNOWN {
                self.forget_some();
            }
            self.count += 1;
        }
        self.uses += 1;
        let (uses, strangers) = (self.uses, self.strangers);
        let same_name = self.apps.entry(app.name.clone()).or_default();
        let at = same_name.iter().position(|entry| entry.app == *app).unwrap_or_else(|| {
            same_name.push(Entry {
                app: app.clone(),
                heard: strangers,
                version: None,
                vague: false,
                read: None,
                used: uses,
            });
            same_name.len() - 1
        });
        same_name[at].used = uses;
        &mut same_name[at]
    }

    /// Forgets the eighth that has not been used for longest; those are read anew when they are needed.
    fn forget_some(&mut self) {
        let mut used: Vec<u64> = self.apps.values().flatten().map(|entry| entry.used).collect();
        let eighth = used.len() / 8;
        let (_, oldest_kept, _) = used.select_nth_unstable(eighth);
        let oldest_kept = *oldest_kept;
        self.apps.values_mut().for_each(|entries| entries.retain(|entry| entry.used >= oldest_kept));
        self.apps.retain(|_, entries| !entries.is_empty());
        self.count = self.apps.values().map(Vec::len).sum();
    }

    /// Makes room for an application, so that what is heard of it counts from now on.
    pub(super) fn expect(&mut self, app: &AppRef) {
        self.entry(app);
    }

    /// When something was last heard of an application.
    pub(super) fn heard(&self, app: &AppRef) -> u64 {
        self.find(app).map_or(0, |entry| entry.heard)
    }

    /// Whether something was heard of it since it was read, or since `mark` when there is no read.
    pub(super) fn has_news(&self, app: &AppRef, mark: u64) -> bool {
        match self.find(app) {
            Some(entry) if entry.read.is_some() => entry.is_stale(),
            found => found.map_or(0, |entry| entry.heard) != mark,
        }
    }

    /// The application was changed by ourselves.
    pub(super) fn touched(&mut self, app: &AppRef) {
        self.clock += 1;
        let clock = self.clock;
        let entry = self.entry(app);
        (entry.heard, entry.vague) = (clock, true);
    }

    /// Keeps a read that began when `began` had been heard.
    pub(super) fn keep(&mut self, app: &AppRef, snapshot: &Snapshot, at: Timestamp, began: u64) {
        if !self.connected {
            return;
        }
        let entry = self.entry(app);
        if let Some(read) = entry.read.as_ref().filter(|_| !entry.is_stale())
            && is_newer(&read.snapshot, snapshot)
        {
            return;
        }
        // What was told while the read was under way may be in it.
        let holds = entry.version.is_some() && entry.version <= version_of(&snapshot.app.metadata);
        if holds && !entry.vague {
            entry.heard = entry.heard.min(began);
        }
        if entry.heard <= began {
            (entry.version, entry.vague) = (None, false);
        }
        let (gist, settled) = (gist::gist(&snapshot.app), gist::is_settled(&snapshot.app));
        entry.read = Some(Read { snapshot: snapshot.clone(), at, confirmed: at, began, gist, settled });
    }

    /// The last read, where it still counts, with the server's time as it is by now.
    pub(super) fn still(&mut self, app: &AppRef, now: Timestamp) -> Option<Snapshot> {
        if !self.connected || self.find(app).is_none_or(Entry::is_stale) {
            return None;
        }
        let read = self.entry(app).read.as_ref()?;
        read.unconfirmed(now).filter(|age| *age < TRUST)?;
        let age = Duration::try_from(now.duration_since(read.at)).ok()?;
        let mut snapshot = read.snapshot.clone();
        snapshot.server_time = snapshot.server_time.and_then(|time| time.checked_add(age).ok());
        Some(snapshot)
    }

    /// Whether an application was read, nothing was heard since, and nothing else has said for long that this still holds; and so it is,
    /// or is soon, with many.
    pub(super) fn wants_confirmation(&self, app: &AppRef, now: Timestamp) -> bool {
        let is_older = |entry: &Entry, than: Duration| {
            let age = entry.read.as_ref().and_then(|read| read.unconfirmed(now));
            !entry.is_stale() && age.is_some_and(|age| age >= than)
        };
        self.connected
            && self.find(app).is_some_and(|entry| is_older(entry, TRUST))
            && self.apps.values().flatten().filter(|entry| is_older(entry, TRUST / 2)).take(MANY).count() == MANY
    }

    /// What a list of all applications showed. Returns whether that is news for somebody here.
    pub(super) fn confirm(&mut self, listed: &[Told], at: Timestamp) -> bool {
        // All is told: what was dropped comes to light, and what was heard already is no news.
        let news = listed.iter().filter(|told| self.heard_of(told)).count() > 0;
        for told in listed {
            for entry in self.apps.get_mut(&told.metadata.name).into_iter().flatten() {
                if let Some(read) =
                    entry.read.as_mut().filter(|read| is_same(&read.snapshot.app.metadata, &told.metadata))
                {
                    read.confirmed = at;
                }
            }
        }
        news
    }

    /// Keeps what a list found, and each of it as a read. A server may list from a cache that is older than a read: then the read counts.
    pub(super) fn keep_list(&mut self, search: &Search, found: &mut [Snapshot], at: Timestamp, began: u64) {
        if !self.connected {
            return;
        }
        for snapshot in found.iter_mut() {
            let app = AppRef::of(&snapshot.app);
            match self.still(&app, at) {
                Some(read) if is_newer(&read, snapshot) => *snapshot = read,
                _ => self.keep(&app, snapshot, at, began),
            }
        }
        self.lists.retain(|list| list.search != *search);
        if self.lists.len() >= MAX_LISTS {
            self.lists.remove(0);
        }
        let found = found.iter().map(|snapshot| AppRef::of(&snapshot.app)).collect();
        self.lists.push(Listed { search: search.clone(), at, began, found });
    }

    /// What a list found, where nothing at all was heard since: any application may come to be among those that are searched for.
    pub(super) fn still_listed(&mut self, search: &Search, now: Timestamp) -> Option<Vec<Snapshot>> {
        let list = self.lists.iter().find(|list| list.search == *search && list.began == self.clock)?;
        let age = Duration::try_from(now.duration_since(list.at)).ok()?;
        let found = Some(list.found.clone()).filter(|_| self.connected && age < TRUST)?;
        found.iter().map(|app| self.still(app, now)).collect()
    }

    /// The stream has begun or ended. What was known before may have changed unheard.
    pub(super) fn connected(&mut self, connected: bool) {
        self.connected = connected;
        self.clock += 1;
        self.strangers = self.clock;
        let clock = self.clock;
        for entry in self.apps.values_mut().flatten() {
            (entry.heard, entry.version, entry.vague, entry.read) = (clock, None, false, None);
        }
        self.lists.clear();
        self.strangers_told.clear();
    }

    /// An application was told of. Returns whether that is news for somebody here.
    pub(super) fn heard_of(&mut self, told: &Told) -> bool {
        let metadata = &told.metadata;
        let version = version_of(metadata);
        let clock = self.clock + 1;
        let (mut news, mut known) = (false, false);
        for entry in self.apps.get_mut(&metadata.name).into_iter().flatten() {
            let read = entry.read.as_ref().map(|read| &read.snapshot.app.metadata);
            let namespace = read.map_or(&entry.app.namespace, |read| &read.namespace);
            if namespace.is_some() && metadata.namespace.is_some() && *namespace != metadata.namespace {
                continue;
            }
            known = true;
            // What was read already is no news.
            let said = read.and_then(version_of);
            if said.is_some() && version.is_some() && said >= version {
                continue;
            }
            // Nor is one more comparison of what it is.
            let same = entry.read.as_ref().filter(|read| read.settled);
            if same.is_some_and(|read| told.only_compared(read.gist, read.snapshot.app.status.reconciled_at)) {
                continue;
            }
            entry.version = entry.version.max(version);
            entry.vague |= version.is_none();
            entry.heard = clock;
            news = true;
        }
        if !known && self.is_news_of_a_stranger(told) {
            (self.strangers, self.clock) = (clock, clock);
        }
        if news {
            self.clock = clock;
        }
        news
    }

    /// Whether what is told of an application that is not known here is more than that it was compared once more.
    fn is_news_of_a_stranger(&mut self, told: &Told) -> bool {
        let place = (told.metadata.namespace.clone(), told.metadata.name.clone());
        let before = match told.gist {
            Some(gist) => {
                if self.strangers_told.len() >= MAX_STRANGERS {
                    self.strangers_told.clear();
                }
                self.strangers_told.insert(place, (gist, told.compared))
            }
            None => self.strangers_told.remove(&place),
        };
        before.is_none_or(|(gist, compared)| !told.only_compared(gist, compared))
    }
}

#[cfg(test)]
mod tests;
