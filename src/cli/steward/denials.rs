//! Why a change is not made, as whoever asked is told.

use crate::admin::desk::Denied;
use crate::config::model::Origin;
use crate::registry::{Key, Refused};
use crate::wire::fault::Fault;

pub(super) fn denied(status: u16, code: &'static str, title: impl Into<String>) -> Denied {
    Denied { status, code, title: title.into(), faults: Vec::new(), revision: None }
}

/// A service of whoever asks has something that it may not register.
pub(super) fn not_own(at: &Origin, what: &str, bound: &str) -> Denied {
    let fault = Fault {
        file: at.file.clone(),
        line: at.line,
        column: at.column,
        what: format!("{what} is none that whoever asks may register"),
        mend: format!("see `{bound}` in its `[[admin.remote.clients]]`"),
    };
    let title = "the service is its own, and what it would have is not";
    Denied { faults: vec![fault], ..denied(403, "forbidden", title) }
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
