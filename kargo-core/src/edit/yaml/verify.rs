//! Reads an edited text again and compares it with what was asked for.

use std::borrow::Cow;
use std::ops::Range;

use super::tree::{Event, Tree, is_text_tag};
use super::{damaged, scalar};
use crate::Result;
use crate::edit::Value;

/// Events of the original that give way to others.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    pub(super) events: Range<usize>,
    pub(super) wants: Vec<Want<'a>>,
}

/// An event as the edited text must have it.
#[derive(Debug)]
pub(super) enum Want<'a> {
    /// The event that stood here, with another value; its anchor and tag stay.
    Set(Cow<'a, Value>),
    /// A new value.
    New(Cow<'a, Value>),
    MapStart,
    MapEnd,
    ListStart,
    ListEnd,
    DocumentStart,
    DocumentEnd,
}

/// What may become of the comments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comments {
    /// All stay, in their order.
    Stay,
    /// Those on removed lines may go.
    MayGo,
}

/// Whether `edited` says what `original` says, save for `patches`, which are in the order of the events.
pub(super) fn verify(original: &Tree<'_>, edited: &str, mut patches: Vec<Patch<'_>>, comments: Comments) -> Result<()> {
    let edited = Tree::parse(edited).map_err(|error| damaged().because(error))?;
    let kept = match comments {
        Comments::Stay => original.comments == edited.comments,
        Comments::MayGo => is_part_of(&edited.comments, &original.comments),
    };
    patches.sort_by_key(|patch| patch.events.start);
    let mut news = edited.events.iter();
    let mut at = 0;
    let mut same = kept;
    for patch in &patches {
        same = same && original.events[at..patch.events.start].iter().all(|old| news.next() == Some(old));
        let olds = &original.events[patch.events.clone()];
        same = same && patch.wants.iter().all(|want| news.next().is_some_and(|new| want.is(new, olds.first())));
        at = patch.events.end;
    }
    same = same && original.events[at..].iter().all(|old| news.next() == Some(old)) && news.next().is_none();
    if same { Ok(()) } else { Err(damaged()) }
}

/// Whether `part` is `whole` with some left out.
fn is_part_of(part: &[Cow<'_, str>], whole: &[Cow<'_, str>]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|comment| whole.any(|other| other == comment))
}

impl Want<'_> {
    fn is(&self, new: &Event<'_>, old: Option<&Event<'_>>) -> bool {
        match (self, new) {
            (Self::Set(value), Event::Scalar(text, style, anchor, tag)) => match old {
                Some(Event::Scalar(_, _, old_anchor, old_tag)) => {
                    anchor == old_anchor
                        && tag == old_tag
                        && reads_as(value, text, *style, tag.as_deref().is_some_and(is_text_tag))
                }
                _ => false,
            },
            (Self::New(value), Event::Scalar(text, style, 0, None)) => reads_as(value, text, *style, false),
            (Self::MapStart, Event::MappingStart(_, 0, None))
            | (Self::ListStart, Event::SequenceStart(_, 0, None))
            | (Self::MapEnd, Event::MappingEnd)
            | (Self::ListEnd, Event::SequenceEnd)
            | (Self::DocumentStart, Event::DocumentStart(..))
            | (Self::DocumentEnd, Event::DocumentEnd) => true,
            _ => false,
        }
    }
}

fn reads_as(value: &Value, text: &str, style: scalar::Style, tagged: bool) -> bool {
    match value {
        Value::String(value) => text == value && (tagged || scalar::reads_as_string(text, style)),
        other => style == scalar::Style::Plain && text == other.plain(),
    }
}
