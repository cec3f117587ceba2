//! `tar` and `untar`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use async_trait::async_trait;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::config;
use super::ignore::Ignore;
use super::typed::Builtin;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Context, StepOutcome, StepRequest};
use crate::workspace::{Contents, Node, Workspace};

/// How large a file in an archive may be, in bytes, and all together; Kargo's limits.
const FILE: u64 = 50 << 20;
const TOTAL: u64 = 100 << 20;
/// How much of an archive is read: what is left out counts too, as it has to be decompressed.
const READ: u64 = 4 * TOTAL;
/// How many files are read from their origin at once.
const BATCH: usize = 64;

#[derive(Debug)]
pub(super) struct Tar;

#[async_trait]
impl Builtin for Tar {
    const USES: &'static str = "tar";
    type Config = config::Tar;

    async fn run(&self, cx: &Context, config: config::Tar, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let ignore = Ignore::parse(&config.ignore)?;
        let mut found = match workspace.node(cx, &config.in_path).await? {
            None => return Err(workspace.missing(cx, &config.in_path).await),
            Some(Node::Directory(_)) => workspace.walk(cx, &config.in_path).await?,
            Some(node) => {
                let name = config.in_path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                vec![(name.to_owned(), node)]
            }
        };
        found.retain(|(path, node)| {
            !matches!(node, Node::Foreign(_)) && !ignore.as_ref().is_some_and(|ignore| ignore.covers(path, false))
        });
        let mut packer = Packer::default();
        for batch in found.chunks(BATCH) {
            let nodes: Vec<Node> = batch.iter().map(|(_, node)| node.clone()).collect();
            for ((path, node), contents) in batch.iter().zip(workspace.contents(cx, &nodes).await?) {
                packer.add(path, node, &contents)?;
            }
        }
        let archive = packer.finish(config.gzip).await?;
        workspace.write(cx, &config.out_path, archive).await?;
        Ok(StepOutcome::succeeded())
    }
}

/// An archive in the making. The same files always make the same bytes: owners, times and the like are not in it.
struct Packer {
    archive: tar::Builder<Vec<u8>>,
    directories: BTreeSet<String>,
    total: u64,
}

impl Default for Packer {
    fn default() -> Self {
        Self { archive: tar::Builder::new(Vec::new()), directories: BTreeSet::new(), total: 0 }
    }
}

impl Packer {
    fn add(&mut self, path: &str, node: &Node, contents: &Bytes) -> Result<()> {
        let size = contents.len() as u64;
        self.total += size;
        if size > FILE || self.total > TOTAL {
            return Err(too_large(path));
        }
        for (end, _) in path.match_indices('/') {
            if self.directories.insert(path[..end].to_owned()) {
                let mut header = header(tar::EntryType::Directory, 0, 0o755);
                self.archive
                    .append_data(&mut header, &path[..=end], std::io::empty())
                    .map_err(|error| packing(path, error))?;
            }
        }
        let added = match node {
            Node::Link(_) => {
                let target = String::from_utf8_lossy(contents).into_owned();
                self.archive.append_link(&mut header(tar::EntryType::Symlink, 0, 0o777), path, target)
            }
            Node::File { executable, .. } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                self.archive.append_data(&mut header(tar::EntryType::Regular, size, mode), path, &contents[..])
            }
            _ => Ok(()),
        };
        added.map_err(|error| packing(path, error))
    }

    async fn finish(mut self, gzip: bool) -> Result<Vec<u8>> {
        blocking(move || {
            self.archive.finish().map_err(|error| packing("", error))?;
            let archive = self.archive.into_inner().map_err(|error| packing("", error))?;
            if !gzip {
                return Ok(archive);
            }
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&archive).and_then(|()| encoder.finish()).map_err(|error| packing("", error))
        })
        .await
    }
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

fn too_large(path: &str) -> Error {
    let message = format!(
        "{path:?} makes the archive too large: a file in it may have {} MiB, and all together {} MiB.",
        FILE >> 20,
        TOTAL >> 20
    );
    Error::new(ErrorKind::InvalidInput, message)
}

fn packing(path: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{path:?} cannot be put in an archive.")).because(error)
}

#[derive(Debug)]
pub(super) struct Untar;

#[async_trait]
impl Builtin for Untar {
    const USES: &'static str = "untar";
    type Config = config::Untar;

    async fn run(&self, cx: &Context, config: config::Untar, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let Some(archive) = workspace.read(cx, &config.in_path).await? else {
            return Err(workspace.missing(cx, &config.in_path).await);
        };
        let ignore = Ignore::parse(&config.ignore)?;
        let (strip, limit) = (config.strip_components, workspace.limits().entries);
        let entries = blocking(move || unpack(&archive, strip, ignore.as_ref(), limit)).await;
        let entries = entries.map_err(|error| error.with("file", &config.in_path))?;
        let unpacked = Workspace::with_limits(workspace.limits());
        for (path, node) in entries {
            match node {
                Some(node) => unpacked.put(cx, &path, node).await?,
                None if unpacked.node(cx, &path).await?.is_none() => {
                    unpacked.put(cx, &path, Node::Directory(crate::workspace::Directory::default())).await?;
                }
                None => {}
            }
        }
        workspace.put_directory(cx, &config.out_path, unpacked.listed(cx, ".").await?).await?;
        Ok(StepOutcome::succeeded())
    }
}

/// What is in an archive: files and links by their path, and directories as nothing.
fn unpack(archive: &[u8], strip: usize, ignore: Option<&Ignore>, limit: usize) -> Result<Vec<(String, Option<Node>)>> {
    let reader: Box<dyn Read> =
        if archive.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(archive)) } else { Box::new(archive) };
    let broken = |error: std::io::Error| {
        let message = format!("The archive is damaged, is none, or has more than {} MiB.", READ >> 20);
        Error::new(ErrorKind::InvalidInput, message).because(error)
    };
    let mut found = Vec::new();
    let mut links = Links::default();
    let mut total = 0_u64;
    for (seen, entry) in tar::Archive::new(reader.take(READ)).entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if seen == limit {
            return Err(Error::new(ErrorKind::InvalidInput, format!("The archive has more than {limit} entries.")));
        }
        let kind = entry.header().entry_type();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(path) = target(&name, strip) else { continue };
        if ignore.is_some_and(|ignore| ignore.covers(&path, kind.is_dir())) {
            continue;
        }
        let node = match kind {
            tar::EntryType::Directory => None,
            tar::EntryType::Symlink => {
                let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
                match link.filter(|link| links.take(&path, link)) {
                    Some(link) => Some(Node::Link(Contents::Here(link.into()))),
                    None => continue,
                }
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let size = entry.size();
                total = total.saturating_add(size);
                if size > FILE || total > TOTAL {
                    return Err(too_large(&path));
                }
                let mut contents = Vec::new();
                entry.read_to_end(&mut contents).map_err(broken)?;
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                Some(Node::File { contents: Contents::Here(contents.into()), executable })
            }
            _ => continue,
        };
        found.push((path, node));
    }
    // A link that came later may have turned one before it around.
    found.retain(|(path, node)| !matches!(node, Some(Node::Link(_))) || links.stay_inside(path));
    Ok(found)
}

/// How many links may lead to each other.
const HOPS: usize = 40;

/// The symbolic links of an archive: where they are, by their real path, and where they point to.
#[derive(Debug, Default)]
struct Links(BTreeMap<String, String>);

impl Links {
    /// Takes the link at `path`, unless it leads out.
    fn take(&mut self, path: &str, target: &str) -> bool {
        let Some(place) = self.place(path) else { return false };
        if target.is_empty() || self.follow(&place, target).is_none() {
            return false;
        }
        self.0.insert(place.join("/"), target.to_owned());
        true
    }

    /// Whether the link at `path`, which was taken, still leads to somewhere inside.
    fn stay_inside(&self, path: &str) -> bool {
        let Some(place) = self.place(path) else { return false };
        self.0.get(&place.join("/")).is_some_and(|target| self.follow(&place, target).is_some())
    }

    /// Where an entry really is: links on the way to it are followed, but not it itself.
    fn place(&self, path: &str) -> Option<Vec<String>> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut place = self.follow(&["".to_owned()], above)?;
        place.push(name.to_owned());
        Some(place)
    }

    /// Where `target` leads from a link at `place`, by way of other links; nothing when it leads out, or in a circle.
    fn follow(&self, place: &[String], target: &str) -> Option<Vec<String>> {
        let mut at = place[..place.len() - 1].to_vec();
        let mut rest = vec![target];
        let mut hops = 0;
        let mut parts: Vec<&str> = Vec::new();
        loop {
            if let Some(target) = rest.pop() {
                hops += 1;
                if hops > HOPS || target.starts_with('/') || target.contains('\\') {
                    return None;
                }
                parts.extend(target.split('/').rev());
            }
            match parts.pop() {
                None => return Some(at),
                Some("" | ".") => {}
                Some("..") => {
                    at.pop()?;
                }
                Some(part) if part.eq_ignore_ascii_case(".git") => return None,
                Some(part) => {
                    at.push(part.to_owned());
                    if let Some(target) = self.0.get(&at.join("/")) {
                        at.pop();
                        rest.push(target);
                    }
                }
            }
        }
    }
}

/// Where an entry goes; nothing when it is left out.
fn target(name: &str, strip: usize) -> Option<String> {
    let parts: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    let rest = parts.get(strip..).filter(|rest| !rest.is_empty())?.join("/");
    // As `tar -C directory .` writes it.
    let path = rest.trim_start_matches("./");
    (!matches!(path, "" | ".") && is_safe(path) && path.split('/').all(|part| !part.eq_ignore_ascii_case(".git")))
        .then(|| path.to_owned())
}

fn is_safe(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && !path.contains('\\') && path.split('/').all(|part| part != "..")
}

/// Runs what computes for long where it keeps nobody else waiting. It ends by itself, as what it works on is bounded.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Cancelled, "The runtime went away while an archive was worked on.").because(error))
    })
}
