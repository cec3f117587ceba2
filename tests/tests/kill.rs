//! The kill test: a process that promotes is killed with SIGKILL at random instants, and started again.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use kargo_tests::world::{World, finish, kill_at_random};

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_200_random_instants_every_promotion_ends_with_one_commit_and_one_sync() {
    let world = World::here(SHOP).await;
    kill_at_random(&world, 200).await;
}

/// The store's file may not grow: the process says so, nothing that was stored is lost, and with room again all goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_store_stops_the_work_and_harms_nothing() {
    let world = World::here(SHOP).await;
    world.publish("1.0.0").await;
    tokio::task::block_in_place(|| finish(world.start("1.0.0"), "1.0.0"));
    world.publish("1.0.1").await;
    // The limit of a shell on the size of files that its programs write stands for a full disk: writes beyond it fail.
    let limit = std::fs::metadata(world.store()).unwrap().len() / 2 / 512;
    let full = world.command("1.0.1");
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -f {limit}; trap '' XFSZ; exec \"$0\" \"$@\""))
        .arg(full.get_program())
        .args(full.get_args())
        .args(["--patience", "3"])
        .envs(full.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = tokio::task::block_in_place(|| limited.output()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it cannot have got through");
    assert!(said.contains("has no room left") && said.contains("kargo.redb"), "{said}");

    tokio::task::block_in_place(|| finish(world.start("1.0.1"), "1.0.1"));
    world.check(2, "1.0.1").await;
}
