//! What outlives the program in a host's store.

use std::sync::Arc;

use kargo_core::plugin::Discovery;
use kargo_core::store::{MemoryStore, Store};
use kargo_oci::testing::Registry;
use kargo_oci::{ImageSource, ImageSpec, SelectionStrategy};

use crate::client;
use crate::discovery::{found, look, subscription, tags};

fn dated(minute: i64) -> ImageSpec {
    let begin: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    ImageSpec::default().created(begin + jiff::SignedDuration::from_mins(minute)).label("number", minute.to_string())
}

fn source(store: &Arc<dyn Store>, name: &str) -> ImageSource {
    ImageSource::new(client()).keep_in(Arc::clone(store), name)
}

#[tokio::test]
async fn a_program_that_is_started_again_asks_for_what_is_new_alone() {
    let registry = Registry::start().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for number in 0..50 {
        registry.put_image("app", &format!("b{number:02}"), &dated(number));
    }
    let newest = subscription(&registry).strategy(SelectionStrategy::NewestBuild);
    for (round, (immutable, again)) in [(true, 0), (false, 50)].into_iter().enumerate() {
        let newest = newest.clone().immutable_tags(immutable);
        let (first, cursor) = found(look(&source(&store, "us"), &newest, None).await.unwrap());
        registry.put_image("app", "b99", &dated(90 + i64::try_from(round).unwrap()));
        registry.clear_requests();
        // The program ends here, and what its sources remember with it.
        let (images, _) = found(look(&source(&store, "us"), &newest, Some(&cursor)).await.unwrap());
        assert_eq!((images[0].tag.as_str(), &images[1].tag), ("b99", &first[0].tag));
        // The page, the manifest of the new tag and its configuration; and whether each of the others has moved.
        assert_eq!(registry.requests().len(), 3 + again, "{:?}", registry.requests());
        let unmoved = registry.requests().iter().filter(|request| request.status == 304).count();
        assert_eq!(unmoved, again);
        // With nothing kept all of it is fetched again, and so it is for another name.
        let (empty, them) = (Arc::new(MemoryStore::new()) as Arc<dyn Store>, format!("them-{round}"));
        for (store, name) in [(&empty, "us"), (&store, them.as_str())] {
            registry.clear_requests();
            look(&source(store, name), &newest, Some(&cursor)).await.unwrap();
            assert_eq!(registry.requests().len(), 1 + 2 * 51);
        }
        registry.remove_tag("app", "b99");
    }
}

#[tokio::test]
async fn what_somebody_else_has_put_into_the_store_is_not_believed() {
    let registry = Registry::start().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for number in 0..20 {
        registry.put_image("app", &format!("b{number:02}"), &dated(number));
    }
    let newest = subscription(&registry).strategy(SelectionStrategy::NewestBuild).immutable_tags(true);
    let (first, cursor) = found(look(&source(&store, "us"), &newest, None).await.unwrap());
    let mut changed = 0;
    for number in 0..128 {
        let key = format!("kargo-oci/images/us/{number}");
        let Some(mut place) = store.get_side(&key).await.unwrap() else { continue };
        for at in 0..place.len().saturating_sub(11) {
            if place[at..].starts_with(b"2026-01-01T") {
                place[at + 2] = b'3';
                changed += 1;
            }
        }
        store.put_side(&key, place).await.unwrap();
    }
    assert_eq!(changed, 20);
    registry.put_image("app", "b99", &dated(99));
    let again = source(&store, "us");
    let (images, cursor) = found(look(&again, &newest, Some(&cursor)).await.unwrap());
    assert_eq!(
        images[1..].iter().map(|image| image.created_at).collect::<Vec<_>>(),
        first[..19].iter().map(|image| image.created_at).collect::<Vec<_>>()
    );
    assert_eq!(tags(&images)[0], "b99");
    assert_eq!(look(&again, &newest, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
}
