//! Where changes are taken while the process runs, from whom, and where they are kept: the socket
//! of `[admin]`, and `[registry]`.

use super::settings::Settings;
use crate::wire::document::{Item, Table};
use crate::wire::fault::Faults;
use crate::wire::limits::{CONTROL_IDS_MAX, SOCKET_PATH_BYTES_MAX};
use std::path::{Path, PathBuf};

/// The socket on which changes are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Where it is; made with mode 0660.
    pub socket: PathBuf,
    /// Users who may use it besides root and the process's own.
    pub uids: Vec<u32>,
    /// Groups whose processes may use it besides.
    pub gids: Vec<u32>,
}

/// Where what is registered is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// `None` keeps nothing, and takes no registrations.
    pub directory: Option<PathBuf>,
    /// Whether the files the process runs by are read again as soon as one of them changes.
    pub watch_files: bool,
}

/// Reads what `[admin]` says of the socket.
pub(super) fn read(table: &mut Table<'_>, faults: &mut Faults) -> Option<Control> {
    let socket = table.string("socket", faults);
    let (uids, gids) = (ids(table, "uids", faults), ids(table, "gids", faults));
    let Some(text) = socket else {
        for key in ["uids", "gids"] {
            if let Some(place) = table.place_of(key) {
                let what = format!("`{key}` speaks of a socket, and there is none");
                faults.push(place.fault(what, "add `socket = \"/run/caio/admin.sock\"`"));
            }
        }
        return None;
    };
    // As much as an address of its kind can hold with the zero behind it (unix(7)).
    if text.value.is_empty() || text.value.len() > SOCKET_PATH_BYTES_MAX {
        let what = "a socket's path is empty or too long";
        faults.push(text.fault(what, format!("take 1 to {SOCKET_PATH_BYTES_MAX} bytes")));
    }
    Some(Control { socket: text.value.into(), uids, gids })
}

fn ids(table: &mut Table<'_>, key: &'static str, faults: &mut Faults) -> Vec<u32> {
    let Some(item) = table.item(key) else { return Vec::new() };
    let expected = "a list of numbers";
    let Item::Array(list) = item else {
        faults.push(item.wrong(key, expected));
        return Vec::new();
    };
    if list.value.len() > CONTROL_IDS_MAX {
        let what = format!("{} entries are more than {CONTROL_IDS_MAX}", list.value.len());
        faults.push(list.fault(what, "take a group instead"));
        return Vec::new();
    }
    let mut ids = Vec::new();
    for item in &list.value {
        match item {
            Item::Integer(at) if u32::try_from(at.value).is_ok() => {
                ids.extend(u32::try_from(at.value).ok());
            }
            other => faults.push(other.wrong(key, expected)),
        }
    }
    ids
}

/// Reads `[registry]`.
pub(super) fn read_registry(mut table: Table<'_>, faults: &mut Faults) -> Registry {
    let directory = table.string("directory", faults);
    if let Some(text) = directory.filter(|text| text.value.is_empty()) {
        faults.push(text.fault("`directory` is empty", "write `\"/var/lib/caio/registry\"`"));
    }
    let watch_files = table.boolean("watch_files", faults).is_some_and(|at| at.value);
    table.finish(faults);
    Registry { directory: directory.map(|text| text.value.into()), watch_files }
}

/// Paths as seen from the process file.
pub(super) fn rebase(settings: &mut Settings, base: &Path) {
    if let Some(control) = &mut settings.admin.control {
        control.socket = base.join(&control.socket);
    }
    if let Some(tls) = settings.admin.remote.as_mut().and_then(|remote| remote.tls.as_mut()) {
        tls.resolve(base);
    }
    if let Some(directory) = &mut settings.registry.directory {
        *directory = base.join(&*directory);
    }
}
