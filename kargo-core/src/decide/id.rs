//! Promotion ids in Kargo's form: `<stage>.<ulid>.<first 7 digits of the freight>`.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::name::{FreightId, PipelineName, PromotionId, StageName};

/// The id of a promotion that is requested on top of event `seq`. It follows from its arguments alone, since decisions are
/// pure: the ULID's time is `now`, and in place of its random part stand `seq`, which keeps ids of one millisecond in order, and
/// a hash over the rest, which tells pipelines apart.
pub(crate) fn promotion_id(
    pipeline: &PipelineName,
    seq: u64,
    stage: &StageName,
    freight: &FreightId,
    now: Timestamp,
) -> PromotionId {
    let hash = Sha256::digest(format!("{pipeline}\n{seq}\n{stage}\n{freight}\n{now}").as_bytes());
    let hash = hash.iter().take(5).fold(0_u128, |all, byte| all << 8 | u128::from(*byte));
    let milliseconds = u128::try_from(now.as_millisecond()).unwrap_or(0) & ((1 << 48) - 1);
    let value = milliseconds << 80 | u128::from(seq & ((1 << 40) - 1)) << 40 | hash;
    // The whole must fit where Kubernetes names do: 253 characters.
    let room = 253 - 1 - 26 - 1 - 7;
    let stage = stage.as_str();
    let stage = stage.get(..room.min(stage.len())).unwrap_or(stage).trim_end_matches(['.', '-']);
    PromotionId::from(format!("{stage}.{}.{}", base32(value), freight.short()))
}

/// 26 digits of Crockford's base 32, in lower case.
fn base32(value: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..26).rev().map(|place| char::from(DIGITS[(value >> (5 * place) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_kargos_form_and_sort_by_creation() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let id = |seq, now| {
            promotion_id(&"p".into(), seq, &"prod".into(), &FreightId::from("0123456789abcdef"), at(now)).to_string()
        };
        let first = id(41, "2026-01-01T00:00:00Z");
        assert_eq!(first.len(), "prod.".len() + 26 + ".0123456".len());
        assert!(first.starts_with("prod.01") && first.ends_with(".0123456"), "{first}");
        assert!(first < id(42, "2026-01-01T00:00:00Z"));
        assert!(id(42, "2026-01-01T00:00:00Z") < id(1, "2026-01-01T00:00:00.001Z"));
        assert_eq!(first, id(41, "2026-01-01T00:00:00Z"));
    }
}
