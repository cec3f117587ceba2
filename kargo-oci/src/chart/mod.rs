//! Helm charts, in OCI registries and in classic repositories that are an `index.yaml` and files beside it.

mod index;
mod source;
mod subscription;

pub use source::ChartSource;
pub use subscription::ChartSubscription;
