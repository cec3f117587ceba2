//! Steps and verifiers in a snapshot: each is written once, and by its number from then on.
//!
//! Promotions share the steps and verifiers of their stage's definition. A snapshot that wrote them out for every promotion would be
//! twice as large, and reading it would give every promotion copies of its own. Numbers count what was written out before, steps and
//! verifiers apart, so a snapshot is still written and read in one go. Elsewhere (in events, in a host's own JSON) nothing has a number.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::stage::{StepSpec, VerifierSpec};

thread_local! {
    /// What the snapshot that is being written or read on this thread has had so far: serde has no place for it.
    static SO_FAR: RefCell<Option<SoFar>> = const { RefCell::new(None) };
}

#[derive(Default)]
pub(super) struct SoFar {
    steps: Seen<StepSpec>,
    verifiers: Seen<VerifierSpec>,
}

pub(super) struct Seen<T> {
    written: HashMap<*const T, u64>,
    read: Vec<Arc<T>>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { written: HashMap::new(), read: Vec::new() }
    }
}

/// Does `work`, which writes or reads one snapshot, with numbers.
pub(crate) fn numbered<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(Option<SoFar>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SO_FAR.set(self.0.take());
        }
    }
    let _restore = Restore(SO_FAR.replace(Some(SoFar::default())));
    work()
}

pub(super) trait Spec: Serialize + DeserializeOwned {
    const WHAT: &str;

    fn seen(so_far: &mut SoFar) -> &mut Seen<Self>;
}

impl Spec for StepSpec {
    const WHAT: &str = "a step or its number";

    fn seen(so_far: &mut SoFar) -> &mut Seen<Self> {
        &mut so_far.steps
    }
}

impl Spec for VerifierSpec {
    const WHAT: &str = "a verifier or its number";

    fn seen(so_far: &mut SoFar) -> &mut Seen<Self> {
        &mut so_far.verifiers
    }
}

fn seen<T: Spec, R>(look: impl FnOnce(&mut Seen<T>) -> R) -> Option<R> {
    SO_FAR.with_borrow_mut(|so_far| so_far.as_mut().map(|so_far| look(T::seen(so_far))))
}

/// One that is shared; in a snapshot it may be a number.
struct Shared<S>(S);

impl<T: Spec> Serialize for Shared<&Arc<T>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = seen(|seen: &mut Seen<T>| {
            let next = seen.written.len() as u64;
            let number = *seen.written.entry(Arc::as_ptr(self.0)).or_insert(next);
            (number < next).then_some(number)
        });
        match number.flatten() {
            Some(number) => serializer.serialize_u64(number),
            None => T::serialize(self.0, serializer),
        }
    }
}

impl<'de, T: Spec> Deserialize<'de> for Shared<Arc<T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Spec> Visitor<'de> for Reader<T> {
            type Value = Arc<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::WHAT)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Arc<T>, E> {
                let place = usize::try_from(number).unwrap_or(usize::MAX);
                let known = seen(|seen: &mut Seen<T>| seen.read.get(place).cloned());
                known.flatten().ok_or_else(|| E::custom(format!("number {number} for {} is not in it", T::WHAT)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Arc<T>, A::Error> {
                let spec = Arc::new(T::deserialize(MapAccessDeserializer::new(map))?);
                seen(|seen: &mut Seen<T>| seen.read.push(Arc::clone(&spec)));
                Ok(spec)
            }
        }
        deserializer.deserialize_any(Reader(PhantomData)).map(Shared)
    }
}

/// For a field that is one.
pub(super) mod one {
    use super::*;

    pub(in crate::state) fn serialize<T: Spec, S: Serializer>(spec: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        Shared(spec).serialize(serializer)
    }

    pub(in crate::state) fn deserialize<'de, T: Spec, D: Deserializer<'de>>(d: D) -> Result<Arc<T>, D::Error> {
        Ok(Shared::deserialize(d)?.0)
    }
}

/// For a field that is a list of them.
pub(super) mod list {
    use super::*;

    pub(in crate::state) fn serialize<T: Spec, S: Serializer>(
        specs: &[Arc<T>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(specs.iter().map(Shared))
    }

    pub(in crate::state) fn deserialize<'de, T: Spec, D: Deserializer<'de>>(d: D) -> Result<Vec<Arc<T>>, D::Error> {
        Ok(Vec::<Shared<Arc<T>>>::deserialize(d)?.into_iter().map(|spec| spec.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair {
        #[serde(with = "one")]
        first: Arc<StepSpec>,
        #[serde(with = "list")]
        rest: Vec<Arc<VerifierSpec>>,
    }

    fn pair() -> Pair {
        let verifier = Arc::new(VerifierSpec::new("smoke", json!({"url": "http://a"})));
        let rest = vec![Arc::clone(&verifier), Arc::new(VerifierSpec::new("load", json!({}))), verifier];
        Pair { first: Arc::new(StepSpec::new("ship", json!({"path": "a"}))), rest }
    }

    #[test]
    fn in_a_snapshot_each_is_written_once_and_shared_again_when_it_is_read() {
        let pair = pair();
        let pairs = [&pair, &pair];
        let written: Value = numbered(|| serde_json::to_value(pairs).expect("JSON"));
        assert_eq!(written[1], json!({"first": 0, "rest": [0, 1, 0]}));
        let read: Vec<Pair> = numbered(|| serde_json::from_value(written).expect("reads"));
        assert_eq!(read, [super::tests::pair(), super::tests::pair()]);
        assert!(Arc::ptr_eq(&read[0].first, &read[1].first) && Arc::ptr_eq(&read[0].rest[0], &read[1].rest[2]));
    }

    #[test]
    fn elsewhere_nothing_has_a_number_and_a_number_that_means_nothing_is_an_error() {
        let written = serde_json::to_value([pair(), pair()]).expect("JSON");
        assert_eq!(written[0], written[1]);
        // Snapshots of versions that had no numbers.
        assert_eq!(numbered(|| serde_json::from_value::<Vec<Pair>>(written)).expect("reads"), [pair(), pair()]);
        let wrong = json!({"first": 3, "rest": []});
        for read in [serde_json::from_value::<Pair>(wrong.clone()), numbered(|| serde_json::from_value(wrong))] {
            assert!(read.expect_err("no such number").to_string().contains("number 3 for a step"));
        }
    }
}
