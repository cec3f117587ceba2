//! Which revision is wanted, and how an observed one stands to it.

use kargo_core::Revision;
use kargo_core::plugin::Relation;

use crate::client::{Application, revision_at};

/// The revisions that an application should run, by the index of their source. Sources that are not listed do not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted(Vec<(usize, Revision)>);

impl Wanted {
    /// Any revision will do.
    pub fn anything() -> Self {
        Self::default()
    }

    /// `revision` in the only source, or the first.
    pub fn revision(revision: impl Into<Revision>) -> Self {
        Self::anything().at(0, revision)
    }

    /// Also `revision` in the source at `index`.
    #[must_use]
    pub fn at(mut self, index: usize, revision: impl Into<Revision>) -> Self {
        self.0.retain(|(at, _)| *at != index);
        self.0.push((index, revision.into()));
        self.0.sort_by_key(|(at, _)| *at);
        self
    }

    /// Those whose source's index is as `keep` says.
    #[must_use]
    pub(crate) fn only(mut self, keep: impl Fn(usize) -> bool) -> Self {
        self.0.retain(|(at, _)| keep(*at));
        self
    }

    /// The wanted revisions, with the index of their source.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Revision)> {
        self.0.iter().map(|(index, revision)| (*index, revision))
    }

    /// Whether any revision will do.
    pub fn is_anything(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is known of how observed revisions stand to wanted ones.
#[derive(Debug, Clone, Default)]
pub struct Relations(Vec<(String, Revision, Relation)>);

impl Relations {
    /// Adds what is known of one pair.
    pub fn learn(&mut self, observed: impl Into<String>, wanted: &Revision, relation: Relation) {
        self.0.push((observed.into(), wanted.clone(), relation));
    }

    pub(super) fn get(&self, observed: &str, wanted: &Revision) -> Option<Relation> {
        if same_revision(observed, wanted.as_str()) {
            return Some(Relation::Same);
        }
        self.0.iter().find(|(at, of, _)| at == observed && of == wanted).map(|(_, _, relation)| *relation)
    }
}

/// Whether two revisions are the same: equal texts, commit ids that differ in case, a shortened commit id of at least 7 digits, or versions
/// of which one has a leading `v`.
pub fn same_revision(observed: &str, wanted: &str) -> bool {
    if observed == wanted {
        return !observed.is_empty();
    }
    if is_hex(observed) && is_hex(wanted) {
        let (observed, wanted) = (observed.to_ascii_lowercase(), wanted.to_ascii_lowercase());
        let whole = matches!(observed.len(), 40 | 64);
        return observed == wanted || (whole && wanted.len() >= 7 && observed.starts_with(&wanted));
    }
    let version = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    let (observed, wanted) = (version(observed), version(wanted));
    observed == wanted && observed.starts_with(|c: char| c.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// How all observed revisions together stand to the wanted ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// As wanted.
    Same,
    /// At least one is later, and holds the wanted one; the others are as wanted.
    Later(String),
    /// One is earlier.
    Earlier(String),
    /// It is not known how one stands.
    Unknown(String),
    /// One does not hold the wanted one, nor the other way round.
    Diverged(String),
    /// Nothing was observed for a source.
    Absent,
    /// To be asked first.
    Ask(String, Revision),
}

impl Standing {
    /// Whether what was observed is the wanted revision, or holds it.
    pub(super) fn holds_the_wanted(&self) -> bool {
        matches!(self, Self::Same | Self::Later(_))
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Same => 0,
            Self::Later(_) => 1,
            Self::Earlier(_) => 2,
            Self::Unknown(_) => 3,
            Self::Diverged(_) => 4,
            Self::Absent => 5,
            Self::Ask(..) => 6,
        }
    }
}

impl super::Case<'_> {
    /// How the revisions in `single` and `many`, Argo CD's two forms, stand to the wanted ones.
    pub(super) fn standing(&self, single: Option<&str>, many: &[String]) -> Standing {
        let sources = self.app.spec.effective_sources().len();
        let one = |(index, wanted): (usize, &Revision)| {
            let Some(observed) = revision_at(sources, index, single, many) else { return Standing::Absent };
            match self.relation(observed, wanted) {
                Some(Relation::Same) => Standing::Same,
                Some(Relation::Later) => Standing::Later(observed.to_owned()),
                Some(Relation::Earlier) => Standing::Earlier(observed.to_owned()),
                Some(Relation::Diverged) => Standing::Diverged(observed.to_owned()),
                Some(Relation::Unknown) => Standing::Unknown(observed.to_owned()),
                None => Standing::Ask(observed.to_owned(), wanted.clone()),
            }
        };
        self.wanted.iter().map(one).max_by_key(Standing::weight).unwrap_or(Standing::Same)
    }

    /// Whether these revisions are exactly the wanted ones, which needs nobody to be asked.
    pub(super) fn are_wanted(&self, single: Option<&str>, many: &[String]) -> bool {
        let sources = self.app.spec.effective_sources().len();
        self.wanted.iter().all(|(index, wanted)| {
            revision_at(sources, index, single, many).is_some_and(|seen| same_revision(seen, wanted.as_str()))
        })
    }

    /// The first wanted revision, or what `single` and `many` say when any will do.
    pub(super) fn revision_for_report(&self, single: Option<&str>, many: &[String]) -> Revision {
        match self.wanted.iter().next() {
            Some((_, revision)) => revision.clone(),
            None => shown(self.app, single, many).into(),
        }
    }
}

/// Whether two pairs of Argo CD's forms say the same revisions. Of several sources some of its types leave the single form out, and others
/// write it empty.
pub(crate) fn same_revisions(one: (&Option<String>, &[String]), other: (&Option<String>, &[String])) -> bool {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    one.1 == other.1 && filled(one.0) == filled(other.0)
}

/// The revisions as a text.
pub(super) fn shown(app: &Application, single: Option<&str>, many: &[String]) -> String {
    match (app.spec.effective_sources().len(), many) {
        (0 | 1, []) => single.unwrap_or_default().to_owned(),
        (_, []) => single.unwrap_or_default().to_owned(),
        (_, many) => many.join(", "),
    }
}
