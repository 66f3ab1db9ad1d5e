//! Why a change is not made, as whoever asked is told.

use crate::admin::desk::Denied;
use crate::registry::{Key, Refused};
use crate::wire::fault::Fault;

pub(super) fn denied(status: u16, code: &'static str, title: impl Into<String>) -> Denied {
    Denied { status, code, title: title.into(), faults: Vec::new(), revision: None }
}

pub(super) fn does_not_compile(faults: Vec<Fault>) -> Denied {
    let title = "no landscape comes of it, and nothing was changed";
    Denied { faults, ..denied(422, "registry.landscape", title) }
}

pub(super) fn refusal(refused: Refused, key: &Key) -> Denied {
    match refused {
        Refused::Missing => denied(404, "registry.missing", format!("{key} is not there")),
        Refused::Precondition(revision) => {
            let title = match revision {
                Some(revision) => format!("{key} is there at revision {revision}"),
                None => format!("{key} is not there"),
            };
            Denied { revision, ..denied(412, "registry.precondition", title) }
        }
        Refused::Unfit(what, mend) => denied(409, "registry.unfit", format!("{what}; {mend}")),
        Refused::Full => denied(507, "registry.full", "no more can be registered"),
    }
}
