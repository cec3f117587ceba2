//! Names of files, which for Git are bytes and in a workspace are text.

use gix::bstr::{BStr, BString};

/// The characters of the last plane for private use begin here whose last byte is a byte of a name that is no text. Only bytes from 128 on
/// are ever such: nobody can write a `/` in this way.
const BYTES: u32 = 0x10_ff00;

/// A name as text. Bytes that are no text become characters of [`BYTES`], by which [`stored`] finds them again, so that a directory that
/// was changed is written back with the names that it had.
pub(super) fn shown(name: &BStr) -> String {
    let mut text = String::with_capacity(name.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        text.extend(bytes.iter().filter_map(|byte| char::from_u32(BYTES + u32::from(*byte))));
    };
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match u32::from(c) >= BYTES {
                true => escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                false => text.push(c),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The name that [`shown`] shows as `text`.
pub(super) fn stored(text: &str) -> BString {
    let mut name = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(BYTES).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| !byte.is_ascii()) {
            Some(byte) => name.push(byte),
            None => name.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_text_are_shown_as_they_are() {
        for name in ["values.yaml", "Übergröße.yml", "a b", "🚢"] {
            assert_eq!(shown(name.into()), name);
        }
        let old = b"stra\xdfe.yaml";
        assert_eq!(shown(BStr::new(old)).chars().count(), 11, "each byte is one character");
    }

    #[test]
    fn no_text_makes_a_name_with_a_slash() {
        for c in '\u{10ff00}'..='\u{10ff7f}' {
            assert_eq!(stored(&c.to_string()), c.to_string(), "{c:?} stands for itself");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_found_again(name in proptest::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(stored(&shown(BStr::new(&name))), name);
        }

        #[test]
        fn names_that_differ_are_shown_as_names_that_differ(one in "[\u{10ff00}-\u{10ffff}a]{1,3}", other in "[\u{10ff00}-\u{10ffff}a]{1,3}") {
            prop_assert_eq!(one == other, shown(one.as_str().into()) == shown(other.as_str().into()));
        }
    }
}
