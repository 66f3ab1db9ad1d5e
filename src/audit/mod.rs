//! Layer 5: the trail of decisions. Now: sequence numbers and the evidence type `Recorded`; the
//! records' bytes, rings and the writer come with the audit trail itself.

pub mod lane;
