//! Which lines of a text went and which came, found as git's merge finds them: what is rare in the old text is what the new one is
//! recognized by. Where the same lines stand several times there is more than one true answer, and two programs that give different ones
//! see conflicts in different places; so this gives git's.

use std::ops::Range;

use gix_imara_diff::{Algorithm, Diff, Hunk, NoSliderHeuristic, Token};

/// Lines that stand more often than this say nothing about what belongs together.
const OFTEN: u32 = 64;
/// How many lines are looked at before the rest is left to an algorithm that does not mind what is in a text: there are texts, and who
/// wants may write one, for which this one takes hours.
const PATIENCE: usize = 100_000_000;

/// The changes from `before` to `after`, in order: between two of them there is a line that both have. All tokens are below `tokens`.
pub(super) fn hunks(before: &[Token], after: &[Token], tokens: u32) -> Vec<Hunk> {
    let mut found = Changed { removed: vec![false; before.len()], added: vec![false; after.len()] };
    let mut places = Places::new(before, tokens);
    let mut open = vec![(0..before.len(), 0..after.len())];
    while let Some((old, new)) = open.pop() {
        match if new.is_empty() { Common::Nothing } else { common(before, after, &old, &new, &mut places) } {
            Common::Run { at, from, length } => {
                open.push((old.start..at, new.start..from));
                open.push((at + length..old.end, from + length..new.end));
            }
            Common::Nothing => {
                found.removed[old].fill(true);
                found.added[new].fill(true);
            }
            Common::TooOften => {
                let mut diff = Diff::default();
                diff.compute_with(Algorithm::Myers, &before[old.clone()], &after[new.clone()], tokens);
                for hunk in diff.hunks() {
                    let within =
                        |start: usize, lines: Range<u32>| start + lines.start as usize..start + lines.end as usize;
                    found.removed[within(old.start, hunk.before)].fill(true);
                    found.added[within(new.start, hunk.after)].fill(true);
                }
            }
        }
    }
    found.hunks(before, after)
}

/// What two pieces have in common.
enum Common {
    /// `length` lines, in the old text from `at`, in the new one from `from`.
    Run {
        at: usize,
        from: usize,
        length: usize,
    },
    Nothing,
    /// Something, but nothing by which to recognize it.
    TooOften,
}

/// Looks for the run of lines with the rarest one in it, and among those for the longest.
fn common(before: &[Token], after: &[Token], old: &Range<usize>, new: &Range<usize>, places: &mut Places) -> Common {
    let Some(patience) = places.patience.checked_sub(old.len() + new.len()) else { return Common::TooOften };
    places.patience = patience;
    places.fill(before, old);
    let (mut best, mut rarest, mut any) = (None, OFTEN + 1, false);
    let mut line = new.start;
    while line < new.end {
        let token = after[line];
        let mut next = line + 1;
        let often = places.count(token);
        any |= often > 0;
        if often > 0 && often <= rarest {
            let mut place = places.first(token);
            while let Some(at) = place {
                let (mut start, mut from, mut end, mut to) = (at, line, at + 1, line + 1);
                let mut least = often;
                while start > old.start && from > new.start && before[start - 1] == after[from - 1] {
                    (start, from) = (start - 1, from - 1);
                    least = least.min(places.count(before[start]));
                }
                while end < old.end && to < new.end && before[end] == after[to] {
                    least = least.min(places.count(before[end]));
                    (end, to) = (end + 1, to + 1);
                }
                places.patience = places.patience.saturating_sub(end - start);
                next = next.max(to);
                let length = end - start;
                if best.is_none_or(|(_, _, longest)| longest < length) || least < rarest {
                    best = Some((start, from, length));
                    rarest = least;
                }
                place = places.behind(at);
                while place.is_some_and(|at| at < end) {
                    place = place.and_then(|at| places.behind(at));
                }
            }
        }
        line = next;
    }
    places.clear(before, old);
    match best {
        Some((at, from, length)) if rarest <= OFTEN => Common::Run { at, from, length },
        _ if any => Common::TooOften,
        _ => Common::Nothing,
    }
}

/// Where each line stands in a piece of the old text.
struct Places {
    /// The first place of each token, and how many it has.
    heads: Vec<(Option<usize>, u32)>,
    /// The next place of what stands at a place.
    next: Vec<Option<usize>>,
    /// How many lines may still be looked at.
    patience: usize,
}

impl Places {
    fn new(before: &[Token], tokens: u32) -> Self {
        Self { heads: vec![(None, 0); tokens as usize], next: vec![None; before.len()], patience: PATIENCE }
    }

    fn fill(&mut self, before: &[Token], piece: &Range<usize>) {
        for at in piece.clone().rev() {
            let (first, count) = &mut self.heads[before[at].0 as usize];
            self.next[at] = first.replace(at);
            *count += 1;
        }
    }

    fn clear(&mut self, before: &[Token], piece: &Range<usize>) {
        before[piece.clone()].iter().for_each(|token| self.heads[token.0 as usize] = (None, 0));
    }

    fn first(&self, token: Token) -> Option<usize> {
        self.heads[token.0 as usize].0
    }

    fn count(&self, token: Token) -> u32 {
        self.heads[token.0 as usize].1
    }

    fn behind(&self, at: usize) -> Option<usize> {
        self.next[at]
    }
}

/// Which lines of the old text went, and which of the new one came.
struct Changed {
    removed: Vec<bool>,
    added: Vec<bool>,
}

impl Changed {
    /// As changes, each moved to where git moves one that could stand in several places.
    fn hunks(&self, before: &[Token], after: &[Token]) -> Vec<Hunk> {
        // The library moves what it has found itself. It finds just this where each line that stays is like no other.
        let numbered = |changed: &[bool], other: u32| {
            let mut stays = 2..;
            changed
                .iter()
                .map(|changed| Token(if *changed { other } else { stays.next().unwrap_or(0) }))
                .collect::<Vec<_>>()
        };
        let (old, new) = (numbered(&self.removed, 0), numbered(&self.added, 1));
        let mut diff = Diff::default();
        diff.compute_with(Algorithm::Myers, &old, &new, 0);
        diff.postprocess_with(before, after, NoSliderHeuristic);
        diff.hunks().collect()
    }
}
