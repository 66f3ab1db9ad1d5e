//! The landscape a worker has adopted: contracts and rules, load and health, under one version.

use crate::balance::epoch::Epoch;
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// What is published to all workers at once.
pub struct Published {
    /// The frozen contracts and rules.
    pub snapshot: Arc<Snapshot>,
    /// The frozen load and health.
    pub epoch: Arc<Epoch>,
}

/// A worker's own hold on what was published.
pub struct Landscape {
    /// The frozen contracts and rules.
    pub snapshot: Arc<Snapshot>,
    /// The frozen load and health.
    pub epoch: Arc<Epoch>,
    /// The version under which it was published.
    pub version: u64,
}

impl Landscape {
    /// Takes hold of what is published.
    pub fn adopt(published: &Published, version: u64) -> Self {
        Self {
            snapshot: Arc::clone(&published.snapshot),
            epoch: Arc::clone(&published.epoch),
            version,
        }
    }
}
