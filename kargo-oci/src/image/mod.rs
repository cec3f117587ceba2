//! Images: which ones a subscription wants, and how they are found with few requests.

mod explain;
mod gate;
mod look;
mod memory;
mod metadata;
mod selection;
mod shelf;
mod source;
mod subscription;

pub use metadata::ImageMetadata;
pub use selection::SelectionStrategy;
pub use source::ImageSource;
pub use subscription::ImageSubscription;
