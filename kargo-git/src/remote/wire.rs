//! Fetching over Git's own protocol: refs by prefix, and of objects only those that are asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::advertisement::{Advertisement, object_id, ref_name};
use super::memory::Memory;
use super::objects::Pack;
use super::packet::{self, Packet, Packets, broken, text};
use super::transport::{Call, Service, Topic, Transport};
use super::{CommitInfo, RemoteRef, blocking};

/// How this client names itself to servers.
const AGENT: &str = concat!("kargo/", env!("CARGO_PKG_VERSION"));

/// How many branches are looked into for a commit that a server does not give by its id.
const MAX_BRANCHES: usize = 256;
/// How deep, when the server leaves their files out, and when it does not.
const FILTERED_DEPTH: u32 = 1024;
const WHOLE_DEPTH: u32 = 64;

/// What a server that speaks version 2 said about itself, for all pieces of work on one remote. It saves each a round trip.
pub(super) type Introduction = Arc<Mutex<Option<Advertisement>>>;

/// A repository behind Git's protocol, for one piece of work.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(super) transport: Transport,
    pub(super) shown: String,
    introduction: Introduction,
    advertisement: Option<Advertisement>,
    pub(super) packs: Vec<Arc<Pack>>,
    /// The commit from which everything else is reached, for servers that give no objects by id.
    anchor: Option<ObjectId>,
    /// Whether the history of all branches was fetched, for servers that give commits by branch only.
    has_branches: bool,
    /// What others have fetched, and are told.
    pub(super) memory: Option<Memory>,
    /// What the server has said to somebody who is about to push.
    pub(super) offered: Option<Advertisement>,
}

/// What is fetched of a commit or of another object, from a server that can leave out the rest and gives what is missing by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A tree or a file by itself.
    Object,
    /// Commits and tags.
    Commits,
    /// Commits, of which nothing else is wanted later, so that the rest is left out too when it could not be had by its id.
    History,
    /// Commits, and what is needed to read files of the newest.
    Trees,
    /// Commits, and all their trees.
    AllTrees,
}

impl Part {
    fn filter(self) -> &'static str {
        match self {
            Self::Object | Self::Commits | Self::History => "tree:0",
            Self::Trees => "tree:1",
            Self::AllTrees => "blob:none",
        }
    }
}

impl Wire {
    pub(super) fn new(transport: Transport, shown: String, introduction: Introduction) -> Self {
        let advertisement = introduction.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            transport,
            shown,
            introduction,
            advertisement,
            packs: Vec::new(),
            anchor: None,
            has_branches: false,
            memory: None,
            offered: None,
        }
    }

    pub(super) async fn advertisement(&mut self) -> Result<&Advertisement> {
        // Another piece of work may have been told since this one began.
        let introduced = || self.introduction.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let advertisement = match self.advertisement.take().or_else(introduced) {
            Some(advertisement) => advertisement,
            None => {
                let bytes = self.transport.advertisement(Service::Upload, true).await?;
                let advertisement = Advertisement::parse(&bytes, Service::Upload.name())?;
                // In the old protocol it holds the refs of this moment.
                if advertisement.v2 && self.transport.can_skip_introduction() {
                    self.introduce(Some(advertisement.clone()));
                }
                advertisement
            }
        };
        Ok(self.advertisement.insert(advertisement))
    }

    /// The hash of the repository's ids.
    pub(super) async fn hash(&mut self) -> Result<gix::hash::Kind> {
        Ok(self.advertisement().await?.hash)
    }

    fn introduce(&self, advertisement: Option<Advertisement>) {
        *self.introduction.lock().unwrap_or_else(PoisonError::into_inner) = advertisement;
    }

    /// The refs whose names begin with one of `prefixes`, as they are now.
    pub(super) async fn refs(&mut self, prefixes: &[&str]) -> Result<Vec<RemoteRef>> {
        let remembered = self.advertisement.is_some() && !self.transport.was_used();
        match self.list(prefixes).await {
            // The server may have changed since it introduced itself. One that asks for a pause has not.
            Err(error)
                if remembered
                    && matches!(
                        error.kind(),
                        ErrorKind::InvalidResponse | ErrorKind::NotFound | ErrorKind::Unavailable
                    )
                    && !matches!(error.retry(), Retry::After(_)) =>
            {
                self.introduce(None);
                self.advertisement = None;
                self.list(prefixes).await
            }
            refs => refs,
        }
    }

    async fn list(&mut self, prefixes: &[&str]) -> Result<Vec<RemoteRef>> {
        let known = self.advertisement.is_some();
        let advertisement = self.advertisement().await?;
        let wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if !advertisement.v2 {
            if known {
                // The list came with the first words, so they are asked for again.
                self.advertisement = None;
            }
            let refs = &self.advertisement().await?.refs;
            return Ok(refs.iter().filter(|each| wanted(&each.name)).cloned().collect());
        }
        let mut body = Vec::new();
        command(&mut body, "ls-refs", advertisement);
        packet::line(&mut body, "peel");
        packet::line(&mut body, "symrefs");
        for prefix in prefixes {
            packet::line(&mut body, &format!("ref-prefix {prefix}"));
        }
        packet::flush(&mut body);
        self.transport.turn_to(Topic::Refs);
        let answer = self.transport.call(Call { service: Service::Upload, v2: true, body, flushes: 1 }).await?;
        let mut refs = parse_refs(&answer)?;
        // A server may ignore the prefixes.
        refs.retain(|each| wanted(&each.name));
        Ok(refs)
    }

    /// Fetches `part` of `wants`, with history of `depth` commits; without what is reached from `haves`, all of which must be here.
    pub(super) async fn fetch(&mut self, wants: &[ObjectId], haves: &[ObjectId], part: Part, depth: u32) -> Result<()> {
        let anchor = self.anchor;
        let advertisement = self.advertisement().await?;
        let hash = advertisement.hash;
        // Old servers give objects by id only when they say so. The way out is the whole of one commit.
        let filters = match part {
            // Nothing else will be asked for.
            Part::History => advertisement.fetch_can("filter"),
            _ => advertisement.filters(),
        };
        let filter = part.filter();
        let anchor = [anchor.unwrap_or_else(|| hash.null())];
        let wants = if filters || anchor[0].is_null() { wants } else { &anchor[..] };
        let shallow = advertisement.fetch_can("shallow");
        let v2 = advertisement.v2;
        let body = if v2 {
            let mut body = Vec::new();
            command(&mut body, "fetch", advertisement);
            packet::line(&mut body, "no-progress");
            packet::line(&mut body, "ofs-delta");
            if filters {
                packet::line(&mut body, &format!("filter {filter}"));
            }
            if shallow {
                packet::line(&mut body, &format!("deepen {depth}"));
            }
            for want in wants {
                packet::line(&mut body, &format!("want {want}"));
            }
            for have in haves {
                packet::line(&mut body, &format!("have {have}"));
            }
            packet::line(&mut body, "done");
            packet::flush(&mut body);
            body
        } else {
            let mut features = String::new();
            for feature in ["side-band-64k", "ofs-delta", "no-progress"] {
                if advertisement.can(feature) {
                    features.push(' ');
                    features.push_str(feature);
                }
            }
            if !advertisement.can("side-band-64k") {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{} is too old: it speaks neither protocol version 2 nor side-band-64k.", self.shown),
                ));
            }
            if filters {
                features.push_str(" filter");
            }
            let mut body = Vec::new();
            for (n, want) in wants.iter().enumerate() {
                packet::line(&mut body, &format!("want {want}{}", if n == 0 { features.as_str() } else { "" }));
            }
            if shallow {
                packet::line(&mut body, &format!("deepen {depth}"));
            }
            if filters {
                packet::line(&mut body, &format!("filter {filter}"));
            }
            packet::flush(&mut body);
            packet::line(&mut body, "done");
            body
        };
        // The old protocol has the ends of a shallow history in a message of their own.
        let flushes = if !v2 && shallow { 2 } else { 1 };
        if part != Part::Object {
            self.transport.turn_to(Topic::History);
        }
        let answer = self.transport.call(Call { service: Service::Upload, v2, body, flushes }).await?;
        let pack = blocking(move |abandoned| {
            let bytes = if v2 { pack_of_v2(&answer)? } else { pack_of_v0(&answer, shallow)? };
            Pack::receive(&bytes, hash, abandoned)
        })
        .await?;
        self.packs.push(Arc::new(pack));
        match &mut self.memory {
            Some(memory) => memory.fetched(self.transport.sign_in()),
            None => Ok(()),
        }
    }

    /// Fetches the history of all branches, because the server does not give `tips`: in the old protocol it may give nothing but what
    /// its refs stand on. `refused` is what it said, which counts when no branch leads to them either.
    async fn fetch_branches(&mut self, tips: &[ObjectId], refused: Error) -> Result<()> {
        if !self.has_branches {
            let refs = self.refs(&["refs/heads/"]).await?;
            let heads: BTreeSet<ObjectId> = refs.into_iter().map(|each| each.id).collect();
            let heads: Vec<ObjectId> = heads.into_iter().take(MAX_BRANCHES).collect();
            if heads.is_empty() {
                return Err(refused);
            }
            let depth = if self.advertisement().await?.fetch_can("filter") { FILTERED_DEPTH } else { WHOLE_DEPTH };
            // It is not these that everything else is reached from.
            self.anchor = None;
            self.fetch(&heads, &[], Part::History, depth).await?;
            self.has_branches = true;
        }
        for tip in tips {
            if self.known(tip)?.is_none() {
                return Err(refused);
            }
        }
        Ok(())
    }

    fn known(&self, id: &gix::oid) -> Result<Option<(Kind, Vec<u8>)>> {
        for pack in self.packs.iter().rev() {
            if let Some(object) = pack.find(id)? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Says from which commits everything is reached that is asked for now.
    pub(super) fn reach_from(&mut self, commits: &[ObjectId]) {
        self.anchor = match commits {
            [commit] => Some(*commit),
            _ => None,
        };
    }

    /// The history of `tips`, `depth` commits deep, with the root trees when `trees` is set.
    pub(super) async fn commits(
        &mut self,
        tips: &[ObjectId],
        depth: u32,
        trees: bool,
    ) -> Result<HashMap<ObjectId, CommitInfo>> {
        self.reach_from(tips);
        let part = if trees { Part::Trees } else { Part::History };
        if !(self.has_branches && tips.iter().all(|tip| self.known(tip).is_ok_and(|known| known.is_some()))) {
            match self.fetch(tips, &[], part, depth).await {
                Err(error) if error.kind() == ErrorKind::NotFound && !self.advertisement().await?.v2 => {
                    self.fetch_branches(tips, error).await?;
                }
                fetched => fetched?,
            }
        }
        let mut commits = HashMap::new();
        let mut level: Vec<ObjectId> = tips.to_vec();
        for generation in 0..depth {
            for id in std::mem::take(&mut level) {
                if commits.contains_key(&id) {
                    continue;
                }
                match self.known(&id)? {
                    Some((Kind::Commit, data)) => {
                        let info = CommitInfo::parse(&data, id.kind())?;
                        level.extend(&info.parents);
                        commits.insert(id, info);
                    }
                    // The tag of a file; callers see that it is no commit by its absence.
                    Some(_) => {}
                    None if generation > 0 => {}
                    None => return Err(self.missing(id)),
                }
            }
        }
        Ok(commits)
    }

    pub(super) fn missing(&self, id: ObjectId) -> Error {
        Error::new(ErrorKind::InvalidResponse, format!("{} was asked for {id} and sent something else.", self.shown))
    }
}

fn command(body: &mut Vec<u8>, name: &str, advertisement: &Advertisement) {
    packet::line(body, &format!("command={name}"));
    if advertisement.can("agent") {
        packet::line(body, &format!("agent={AGENT}"));
    }
    if advertisement.can("object-format") {
        packet::line(body, &format!("object-format={}", advertisement.hash));
    }
    packet::delimiter(body);
}

/// Reads a whole list of refs.
pub(super) fn parse_refs(answer: &[u8]) -> Result<Vec<RemoteRef>> {
    let mut packets = Packets::new(answer);
    let mut refs = Vec::new();
    loop {
        match packets.expect()? {
            Packet::Flush => return Ok(refs),
            Packet::Delimiter => return Err(broken("the refs are cut by a delimiter")),
            Packet::Data(line) => {
                let Ok(line) = text(line) else { continue };
                refs.push(parse_ref(line)?);
            }
        }
    }
}

fn parse_ref(line: &str) -> Result<RemoteRef> {
    let mut words = line.split(' ');
    let id = object_id(words.next().unwrap_or_default())?;
    let name = ref_name(words.next().ok_or_else(|| broken("a ref has no name"))?)?;
    let mut found = RemoteRef { name, id, peeled: None, target: None };
    for word in words {
        if let Some(id) = word.strip_prefix("peeled:") {
            found.peeled = Some(object_id(id)?);
        } else if let Some(target) = word.strip_prefix("symref-target:") {
            found.target = Some(target.to_owned());
        }
    }
    Ok(found)
}

pub(super) fn pack_of_v2(answer: &[u8]) -> Result<Vec<u8>> {
    let mut packets = Packets::new(answer);
    loop {
        match packets.expect()? {
            Packet::Data(line) if text(line).is_ok_and(|line| line == "packfile") => {
                return Ok(packets.demultiplex()?.0);
            }
            Packet::Flush => return Err(broken("it ends before the pack")),
            _ => {}
        }
    }
}

pub(super) fn pack_of_v0(answer: &[u8], shallow: bool) -> Result<Vec<u8>> {
    let mut packets = Packets::new(answer);
    if shallow {
        while packets.expect()? != Packet::Flush {}
    }
    match packets.expect()? {
        Packet::Data(line) if text(line).is_ok_and(|line| line == "NAK") => Ok(packets.demultiplex()?.0),
        _ => Err(broken("it begins with no acknowledgement")),
    }
}
