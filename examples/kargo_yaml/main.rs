//! Kargo's YAML, run in this process: `cargo run --release -p kargo-examples --example kargo_yaml`.
//!
//! `shop.yaml` beside this file, and each file of `examples/manifests`, is what a team has written for Kargo. They run as they are: the
//! registry, the repositories, the forge and Argo CD are in this process too, so that there is nothing to set up, and only their
//! addresses take the place of those in the files. Days that freight has to wait pass when the program says so.
//!
//! With the name of a file, such as `quickstart`, that one alone is run.

mod forge;
mod places;
mod programs;
mod shop;
mod stories;

use anyhow::{Result, bail};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it tells a story")]
async fn main() -> Result<()> {
    let wanted = std::env::args().nth(1);
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let mut told = 0;
    if is_wanted("shop") {
        shop::run().await?;
        told += 1;
    }
    for story in stories::ALL.iter().filter(|story| is_wanted(story.name)) {
        println!("\n== examples/manifests/{}.yaml", story.name);
        stories::tell(story).await?;
        told += 1;
    }
    if told == 0 {
        bail!("there are shop, {}", stories::ALL.map(|story| story.name).join(", "));
    }
    Ok(())
}
