//! A server that means harm. What it sends may be refused; it may not bring the program down, take endless memory, or be believed when half
//! of it is missing. Inputs begin as answers of stock git and are damaged from there. All that lies in `tests/corpus` is read in each run:
//! what is called `valid` there must be taken, and what once went wrong is kept there.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::{ErrorKind, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::advertisement::Advertisement;
use super::objects::Pack;
use super::packet::{Framing, Packets};
use super::push::report;
use super::session::RefUpdate;
use super::wire::{pack_of_v0, pack_of_v2, parse_refs};
use super::{CommitInfo, NewObjects};

const HASH: gix::hash::Kind = gix::hash::Kind::Sha1;
static WANTED: AtomicBool = AtomicBool::new(false);

/// The kinds of input; the names of files in the corpus begin with them.
const KINDS: [&str; 8] = ["refs", "list", "fetch", "report", "pack", "tree", "commit", "tag"];

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Reads it as what its name says, with all that is read of it later. What comes of it is told in few words.
fn read(name: &str, bytes: &[u8]) -> Result<String> {
    let kind = KINDS.iter().find(|kind| name.starts_with(*kind)).unwrap();
    Ok(match *kind {
        "refs" => {
            let service = if name.contains("receive") { "git-receive-pack" } else { "git-upload-pack" };
            frames(bytes, 1);
            let parsed = Advertisement::parse(bytes, service)?;
            // The list is kept, so that it must not be longer than what was sent.
            assert!(parsed.refs.len() <= bytes.len() / 4);
            assert!(parsed.refs.iter().all(|each| !each.name.contains(|c: char| c.is_ascii_control())));
            format!("{} refs, by id: {}", parsed.refs.len(), parsed.gives_by_id())
        }
        "list" => {
            frames(bytes, 1);
            let refs = parse_refs(bytes)?;
            assert!(refs.iter().all(|each| !each.name.contains(|c: char| c.is_ascii_control())));
            format!("{} refs", refs.len())
        }
        "report" => {
            frames(bytes, 1);
            let main = RefUpdate { name: "refs/heads/main".to_owned(), old: None, new: Some(HASH.null()) };
            // An answer without bands is the same without the outermost lines.
            let banded = report(bytes, &[&main], true);
            if let Ok((lines, said)) = Packets::new(bytes).demultiplex() {
                assert!(said.chars().count() <= 2003 && !said.contains(char::is_control));
                report(&lines, &[&main], false).ok();
            }
            format!("{:?}", banded?.0)
        }
        "fetch" => {
            let old = name.contains("old");
            frames(bytes, if old { 2 } else { 1 });
            let pack = if old { pack_of_v0(bytes, true)? } else { pack_of_v2(bytes)? };
            assert!(pack.len() <= bytes.len());
            unpack(&pack)?
        }
        "pack" => unpack(bytes)?,
        "tree" => object(Kind::Tree, bytes)?,
        "commit" => object(Kind::Commit, bytes)?,
        _ => object(Kind::Tag, bytes)?,
    })
}

/// An answer that arrives byte by byte is refused if it is refused as a whole, and ends no later.
fn frames(bytes: &[u8], flushes: u32) {
    let mut framing = Framing::new(flushes);
    let whole = Framing::new(flushes).is_whole(bytes).ok();
    for end in 0..=bytes.len() {
        match framing.is_whole(&bytes[..end]) {
            Ok(false) => {}
            Ok(true) => return assert!(whole == Some(true) || end < bytes.len()),
            Err(_) => return assert_eq!(whole, None),
        }
    }
    assert_eq!(whole, Some(false));
}

fn unpack(bytes: &[u8]) -> Result<String> {
    let pack = Pack::receive(bytes, HASH, &WANTED)?;
    let ids = pack.ids();
    for id in &ids {
        let (kind, data) = pack.find(id)?.expect("it is in the index");
        assert_eq!(gix::objs::compute_hash(HASH, kind, &data).unwrap(), *id, "an object is what its id says");
        // Not each of them has to be sound.
        object(kind, &data).ok();
    }
    Ok(format!("{} objects", ids.len()))
}

fn object(kind: Kind, data: &[u8]) -> Result<String> {
    Ok(match kind {
        Kind::Tree => {
            let entries = crate::tree::parse(data, HASH)?;
            for entry in &entries {
                let name = entry.filename.to_string().to_lowercase();
                assert!(!name.is_empty() && !name.contains('/') && name != "." && name != ".." && name != ".git");
            }
            let mut objects = NewObjects::default();
            let count = entries.len();
            // What is written again is in order, whatever it was before.
            crate::tree::store(entries, HASH, &mut objects)?;
            format!("{count} entries")
        }
        Kind::Commit => {
            let info = CommitInfo::parse(data, HASH)?;
            format!("{} parents: {}, {:?}", info.parents.len(), info.subject(), info.trailer("Kargo-Key"))
        }
        Kind::Tag => {
            let mut objects = NewObjects::default();
            let id = objects.insert(HASH, Kind::Tag, data.to_vec())?;
            objects.keep_reached([id], HASH)?;
            format!("{} bytes", data.len())
        }
        Kind::Blob => format!("{} bytes", data.len()),
    })
}

#[test]
fn what_stock_git_says_is_understood_and_what_once_did_harm_is_refused() {
    let corpus = corpus();
    assert!(KINDS.iter().all(|kind| corpus.iter().any(|(name, _)| name.starts_with(&format!("{kind}-valid")))));
    for (name, bytes) in &corpus {
        let outcome = read(name, bytes);
        assert_eq!(outcome.is_ok(), name.contains("-valid"), "{name}: {outcome:?}");
    }
}

#[test]
fn half_an_answer_is_never_taken_for_a_whole_one() {
    for (name, bytes) in corpus().iter().filter(|(name, _)| name.contains("-valid")) {
        // What a commit and a tag say goes to their ends, whatever those are.
        if name.starts_with("commit") || name.starts_with("tag") {
            continue;
        }
        for end in 0..bytes.len() {
            let Ok(said) = read(name, &bytes[..end]) else { continue };
            // A tree that ends behind an entry is one; its id is another, which a pack would not give.
            assert!(name.starts_with("tree"), "{name} cut at {end} says {said}");
        }
    }
}

/// Something that is done to an input.
#[derive(Debug, Clone)]
enum Harm {
    Flip(Index, u8),
    Cut(Index),
    Twice(Index, Index),
    Drop(Index, Index),
    Insert(Index, Vec<u8>),
    /// Four digits where there may be the length of a line.
    Length(Index, u16),
    /// The length of an object or of a delta, as long as such can be.
    Absurd(Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => at().prop_map(Harm::Cut),
        1 => (at(), at()).prop_map(|(from, to)| Harm::Twice(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Harm::Drop(from, to)),
        1 => (at(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        2 => (at(), any::<u16>()).prop_map(|(at, length)| Harm::Length(at, length)),
        1 => at().prop_map(Harm::Absurd),
    ]
}

fn apply(bytes: &mut Vec<u8>, harm: &Harm) {
    if bytes.is_empty() {
        return;
    }
    let size = bytes.len();
    let range = |from: &Index, to: &Index| {
        let (from, to) = (from.index(size), to.index(size));
        from.min(to)..from.max(to)
    };
    match harm {
        Harm::Flip(at, bits) => bytes[at.index(size)] ^= bits,
        Harm::Cut(at) => bytes.truncate(at.index(size)),
        Harm::Twice(from, to) => {
            let range = range(from, to);
            let (end, piece) = (range.end, bytes[range].to_vec());
            bytes.splice(end..end, piece);
        }
        Harm::Drop(from, to) => drop(bytes.drain(range(from, to))),
        Harm::Insert(at, new) => drop(bytes.splice(at.index(size)..at.index(size), new.iter().copied())),
        Harm::Length(at, length) => overwrite(bytes, at.index(size), format!("{length:04x}").as_bytes()),
        Harm::Absurd(at) => overwrite(bytes, at.index(size), &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..].iter_mut().zip(with).for_each(|(byte, new)| *byte = *new);
}

/// Gives a pack the sum at its end that goes with the rest, so that what lies behind that check is reached.
fn summed(pack: &[u8]) -> Vec<u8> {
    let end = pack.len().saturating_sub(20);
    let mut hasher = gix::hash::hasher(HASH);
    hasher.update(&pack[..end]);
    let sum = hasher.try_finalize().unwrap();
    [&pack[..end], sum.as_bytes()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_brings_the_program_down(which in any::<Index>(), harms in vec(harm(), 1..6), sum in any::<bool>()) {
        let corpus = corpus();
        let (name, bytes) = which.get(&corpus);
        let mut bytes = bytes.clone();
        harms.iter().for_each(|harm| apply(&mut bytes, harm));
        if sum && name.starts_with("pack") {
            bytes = summed(&bytes);
        }
        if let Err(error) = read(name, &bytes) {
            prop_assert!(!error.message().contains(|c: char| c.is_control()), "{error}");
            prop_assert!(error.message().len() < 5000);
        }
    }

    #[test]
    fn no_noise_brings_the_program_down(bytes in vec(any::<u8>(), 0..300), kind in 0..KINDS.len()) {
        read(KINDS[kind], &bytes).ok();
    }
}

/// A pack that is put together by hand.
struct Forged(Vec<u8>, u32);

impl Forged {
    fn new() -> Self {
        Self(b"PACK\0\0\0\x02\0\0\0\0".to_vec(), 0)
    }

    /// Adds an entry of type `kind` that says it has `size` bytes, with what stands before its data. Where it begins.
    fn add(&mut self, kind: u8, size: usize, before: &[u8], data: &[u8]) -> u64 {
        use std::io::Write as _;
        let at = self.0.len() as u64;
        let mut left = size >> 4;
        self.0.push(kind << 4 | (size & 15) as u8 | if left > 0 { 0x80 } else { 0 });
        while left > 0 {
            self.0.push((left & 0x7f) as u8 | if left > 0x7f { 0x80 } else { 0 });
            left >>= 7;
        }
        self.0.extend_from_slice(before);
        let mut deflate = gix::zlib::stream::deflate::Write::new(Vec::new(), gix::zlib::Compression::DEFAULT);
        deflate.write_all(data).unwrap();
        deflate.flush().unwrap();
        self.0.extend_from_slice(&deflate.into_inner());
        self.1 += 1;
        at
    }

    /// An object that is `copies` times the first `piece` bytes of one of `base` bytes, which stands `distance` before.
    fn again(&mut self, base: &Before, piece: usize, copies: usize) -> u64 {
        let mut delta = Vec::new();
        for number in [base.size(), piece * copies] {
            let mut left = number;
            while left > 0x7f {
                delta.push((left & 0x7f) as u8 | 0x80);
                left >>= 7;
            }
            delta.push(left as u8);
        }
        for _ in 0..copies {
            delta.extend_from_slice(&[0xf0, piece as u8, (piece >> 8) as u8, (piece >> 16) as u8]);
        }
        match base {
            Before::At(at, _) => {
                let distance = self.0.len() as u64 - at;
                self.add(6, delta.len(), &offset(distance), &delta)
            }
            Before::Id(id, _) => self.add(7, delta.len(), id.as_bytes(), &delta),
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.0[8..12].copy_from_slice(&self.1.to_be_bytes());
        self.0.extend_from_slice(&[0; 20]);
        summed(&self.0)
    }
}

/// What a delta is made from, and its size.
enum Before {
    At(u64, usize),
    Id(ObjectId, usize),
}

impl Before {
    fn size(&self) -> usize {
        match self {
            Self::At(_, size) | Self::Id(_, size) => *size,
        }
    }
}

/// A distance as it stands in a pack.
fn offset(distance: u64) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    let mut left = distance >> 7;
    while left > 0 {
        left -= 1;
        bytes.insert(0, (left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes
}

const PIECE: usize = 1 << 16;

fn id(data: &[u8]) -> ObjectId {
    gix::objs::compute_hash(HASH, Kind::Blob, data).unwrap()
}

#[test]
fn a_forged_pack_without_malice_is_read() {
    let mut pack = Forged::new();
    let first = vec![7; PIECE];
    let at = pack.add(3, PIECE, &[], &first);
    pack.again(&Before::At(at, PIECE), PIECE, 3);
    pack.again(&Before::Id(id(&first), PIECE), PIECE, 2);
    assert_eq!(unpack(&pack.finish()).unwrap(), "3 objects");
}

/// Packs of a few kilobytes that would take gigabytes, and such as lead in circles.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let first = vec![7; PIECE];
    let big = 16 << 20;
    // Each is made of the one before, and has another one beside it that waits for its turn and keeps it in memory.
    let mut ladder = Forged::new();
    let mut at = ladder.add(3, PIECE, &[], &first);
    let mut size = PIECE;
    for _ in 0..200 {
        let base = Before::At(at, size);
        ladder.again(&base, PIECE, 1);
        at = ladder.again(&base, PIECE, big / PIECE);
        size = big;
    }
    let mut ids = Forged::new();
    ids.add(3, PIECE, &[], &first);
    for _ in 0..200 {
        ids.again(&Before::Id(id(&first), PIECE), PIECE, big / PIECE);
    }
    let mut work = Forged::new();
    let base = Before::At(work.add(3, PIECE, &[], &first), PIECE);
    for _ in 0..300 {
        work.again(&base, PIECE, (512 << 20) / PIECE);
    }
    // Two that are each made of the other.
    let mut circle = Forged::new();
    for n in [1, 2] {
        circle.again(&Before::Id(id(&[n]), PIECE), PIECE, 1);
    }
    let mut itself = Forged::new();
    itself.add(6, 2, &offset(0), &[0, 0]);
    let mut nowhere = Forged::new();
    nowhere.again(&Before::Id(id(b"not here"), PIECE), PIECE, 1);
    let mut far = Forged::new();
    far.add(6, 2, &offset(1 << 40), &[0, 0]);
    let mut longer = Forged::new();
    longer.add(3, 10, &[], &first);
    let mut shorter = Forged::new();
    shorter.add(3, PIECE + 1, &[], &first);
    vec![
        ("a ladder of deltas", ladder.finish()),
        ("deltas by id", ids.finish()),
        ("endless work", work.finish()),
        ("a circle", circle.finish()),
        ("a delta of itself", itself.finish()),
        ("a base that is not there", nowhere.finish()),
        ("a base before the beginning", far.finish()),
        ("an object that is longer than it says", longer.finish()),
        ("an object that is shorter than it says", shorter.finish()),
    ]
}

/// In a process of its own, which the system gives no more memory than this.
#[test]
fn a_pack_that_would_take_endless_memory_is_refused_in_little() {
    const INSIDE: &str = "KARGO_TEST_IN_LITTLE_MEMORY";
    if std::env::var_os(INSIDE).is_none() {
        let name = "remote::hostile::a_pack_that_would_take_endless_memory_is_refused_in_little";
        let mut process = std::process::Command::new("sh");
        process.args(["-c", "ulimit -v 1000000 && exec \"$0\" --exact \"$1\" --test-threads 1"]);
        let output = process.arg(std::env::current_exe().unwrap()).arg(name).env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    for (what, pack) in bombs() {
        assert!(pack.len() < 3 << 20, "{what} has {} bytes", pack.len());
        let error = unpack(&pack).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{what}: {error}");
    }
}

#[test]
fn nothing_in_a_tree_leads_out_of_it_or_into_the_repository_itself() {
    let tree = |mode: &str, name: &[u8]| [mode.as_bytes(), b" ", name, b"\0", &[1; 20]].concat();
    let names: [&[u8]; 19] = [
        b"",
        b".",
        b"..",
        b"../x",
        b"a/b",
        b"/etc",
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b"GIT~1",
        b".git ",
        b".git.",
        b".git::$INDEX_ALLOCATION",
        b".git\\hooks",
        b"a\\..\\b",
        ".g\u{200c}it".as_bytes(),
        ".gi\u{feff}t".as_bytes(),
        ".\u{200d}GIT".as_bytes(),
    ];
    for name in names {
        for mode in ["100644", "120000", "40000", "160000"] {
            let shown = String::from_utf8_lossy(name);
            let error = object(Kind::Tree, &tree(mode, name)).expect_err(&shown);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{shown}");
        }
    }
    for name in
        [".gitignore", ".github", "git", "git~x", "a b", "aux.c", "x:y", "\u{200c}", "...", ".gitmodules", "a\\b"]
    {
        object(Kind::Tree, &tree("100644", name.as_bytes())).expect(name);
    }
}
