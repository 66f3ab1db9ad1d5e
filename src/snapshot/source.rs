//! What a landscape was compiled from, so that the next one can be made of it and of a change.

use super::{Governance, SeedRule};
use crate::config::model::{Caller, Requirement, Route};
use crate::config::policy::Policies;
use crate::config::quota::Quota;
use crate::contract::vocabulary::Vocabulary;
use std::sync::Arc;

/// Everything that was written but the services.
#[derive(Clone, Debug)]
pub struct Source {
    /// The explicit routes.
    pub routes: Vec<Route>,
    /// The requirements, bound and named.
    pub requirements: Vec<Requirement>,
    /// The known callers.
    pub callers: Vec<Caller>,
    /// Who may call what.
    pub policies: Policies,
    /// The moment by which overrides had ended or not, in seconds since 1970; `None` took all.
    pub now_s: Option<u64>,
    /// Whether callers are identified by more than their network.
    pub identified: bool,
    /// The vocabulary.
    pub vocabulary: Arc<Vocabulary>,
    /// What seeds are drawn from.
    pub seed: SeedRule,
    /// How many calls there may be, in the order of their ids.
    pub quotas: Vec<Quota>,
    /// The hooks.
    pub governance: Governance,
}
