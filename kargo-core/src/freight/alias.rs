//! Names for freight that people can say to each other: an adjective and a noun.

use crate::name::FreightId;

/// How many combinations are tried before a number is put behind one.
const COMBINATIONS: usize = 32;

/// What is wrong with `text` as a freight's alias, or nothing when it is fine.
///
/// An alias is one label of a DNS name, since Kargo keeps it in one: lower-case letters, digits and `-`, beginning and ending with a
/// letter or digit, at most 63 characters. What looks like an id is kept for ids.
pub(crate) fn alias_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 63 {
        return Some("it has more than 63 characters");
    }
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.chars().all(|c| alphanumeric(c) || c == '-') {
        return Some("only lower-case letters, digits and '-' may stand in it");
    }
    if !(text.starts_with(alphanumeric) && text.ends_with(alphanumeric)) {
        return Some("it must begin and end with a letter or digit");
    }
    if text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Some("it has the form of a freight's id");
    }
    None
}

/// The alias of new freight: follows from its id, and is not `taken`. When a combination is, the next ones follow, and then numbers.
pub(crate) fn generated_alias(id: &FreightId, taken: impl Fn(&str) -> bool) -> String {
    let all = ADJECTIVES.len() * NOUNS.len();
    // FNV-1a: an id of any form gives a number.
    let hash = id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let first = (hash % all as u64) as usize;
    let words = |place: usize| {
        let place = place % all;
        format!("{}-{}", ADJECTIVES[place / NOUNS.len()], NOUNS[place % NOUNS.len()])
    };
    let combinations = (0..COMBINATIONS).map(|step| words(first + step));
    let numbered = (2_u64..).map(|number| format!("{}-{number}", words(first)));
    let free = combinations.chain(numbered).find(|alias| !taken(alias));
    free.expect("the numbers go on for longer than there is freight")
}

#[rustfmt::skip]
const ADJECTIVES: [&str; 157] = [
    "able", "agile", "airy", "alert", "amber", "ample", "apt", "arctic", "ardent", "autumn", "azure", "balmy",
    "bold", "brave", "breezy", "brief", "bright", "brisk", "broad", "calm", "candid", "careful", "cheerful",
    "chief", "civil", "clean", "clear", "clever", "close", "cobalt", "cool", "coral", "cosy", "crisp", "curious",
    "daily", "dapper", "daring", "deep", "deft", "dewy", "eager", "early", "earnest", "easy", "elder", "equal",
    "even", "exact", "fair", "famous", "fast", "fine", "firm", "fleet", "fluent", "fond", "frank", "free",
    "fresh", "friendly", "full", "gentle", "glad", "golden", "good", "grand", "great", "green", "handy", "happy",
    "hardy", "hearty", "honest", "humble", "ideal", "indigo", "ivory", "jolly", "jovial", "keen", "kind", "large",
    "lasting", "leafy", "level", "light", "lively", "loyal", "lucid", "lunar", "major", "mellow", "merry",
    "mighty", "mild", "minty", "misty", "modest", "neat", "nimble", "noble", "novel", "oaken", "olive", "open",
    "patient", "placid", "plain", "polite", "prime", "proud", "prudent", "quick", "quiet", "rapid", "rare",
    "ready", "robust", "rosy", "round", "royal", "ruby", "rustic", "sandy", "serene", "shiny", "silent", "silver",
    "simple", "sleek", "smart", "smooth", "snowy", "solar", "solid", "spry", "stable", "steady", "stellar",
    "sunny", "sure", "swift", "tall", "tidy", "timely", "trim", "true", "upbeat", "vast", "velvet", "vivid",
    "warm", "wise", "witty", "young", "zesty",
];

#[rustfmt::skip]
const NOUNS: [&str; 173] = [
    "acorn", "alder", "anchor", "anvil", "apple", "arbor", "arch", "arrow", "aspen", "aurora", "badger", "bamboo",
    "barley", "basin", "bay", "beacon", "beaver", "beech", "birch", "bison", "bluff", "boat", "bough", "bramble",
    "breeze", "bridge", "brook", "canoe", "canyon", "cedar", "cherry", "citadel", "cliff", "clover", "comet",
    "compass", "coral", "cove", "crane", "creek", "crest", "cypress", "daisy", "dale", "dawn", "delta", "dolphin",
    "dove", "dune", "eagle", "echo", "elk", "elm", "ember", "falcon", "fern", "field", "finch", "fjord", "flint",
    "forest", "fountain", "fox", "garden", "glacier", "glade", "grove", "gull", "harbor", "hare", "harvest",
    "hawk", "hazel", "heron", "hill", "holly", "horizon", "island", "ivy", "jasper", "juniper", "kestrel", "kite",
    "lagoon", "lake", "lantern", "larch", "lark", "laurel", "ledge", "lilac", "lily", "linden", "lotus", "lynx",
    "magnet", "maple", "marble", "marten", "meadow", "mesa", "meteor", "mill", "mist", "moss", "mountain",
    "nectar", "oak", "oasis", "ocean", "opal", "orchard", "orchid", "osprey", "otter", "owl", "palm", "pebble",
    "pelican", "pier", "pine", "planet", "plover", "pond", "poplar", "prairie", "puffin", "quail", "quartz",
    "quill", "rain", "raven", "reed", "reef", "ridge", "river", "robin", "rose", "rudder", "saddle", "sage",
    "sail", "salmon", "sequoia", "shore", "sparrow", "spring", "spruce", "star", "stone", "stork", "stream",
    "summit", "swallow", "swan", "thistle", "thyme", "tiger", "timber", "trail", "tulip", "tundra", "valley",
    "violet", "wagon", "walnut", "walrus", "water", "willow", "wind", "wren", "yarrow", "zephyr",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn aliases_follow_from_the_id_and_give_way_to_those_that_are_taken() {
        let id = FreightId::from("cee6696aee3fa87ccd2f6505e7c379c54164cf25");
        let mut taken = BTreeSet::new();
        for _ in 0..COMBINATIONS {
            let alias = generated_alias(&id, |alias| taken.contains(alias));
            assert_eq!(alias, generated_alias(&id, |alias| taken.contains(alias)), "the same again");
            assert_eq!(alias.split('-').count(), 2, "{alias}");
            assert_eq!(alias_fault(&alias), None);
            assert!(taken.insert(alias), "not taken before");
        }
        for number in ["-2", "-3"] {
            let alias = generated_alias(&id, |alias| taken.contains(alias));
            assert!(alias.ends_with(number), "{alias}");
            assert!(taken.insert(alias));
        }
    }

    #[test]
    fn every_word_stands_once_and_makes_a_good_alias() {
        for words in [&ADJECTIVES[..], &NOUNS[..]] {
            assert!(words.len() >= 128);
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
            for word in words {
                assert!(word.len() <= 10 && word.chars().all(|c| c.is_ascii_lowercase()), "{word}");
            }
        }
    }

    #[test]
    fn what_no_alias_can_be_is_said() {
        for (bad, part) in [
            ("", "empty"),
            ("Brave-Otter", "lower-case"),
            ("a.b", "lower-case"),
            ("-a", "begin and end"),
            ("a-", "begin and end"),
            ("cee6696aee3fa87ccd2f6505e7c379c54164cf25", "form of a freight's id"),
            (&"x".repeat(64), "63 characters"),
        ] {
            assert!(alias_fault(bad).is_some_and(|fault| fault.contains(part)), "{bad}");
        }
        assert_eq!(alias_fault("release-7"), None);
    }
}
