//! Events as they come into force, for whoever watches: server-sent events, which a client that
//! comes back takes up where it left off.

use super::{Place, Room};
use crate::admin::desk::Watched;
use crate::http1::Framing;
use crate::http1::write::{self, Persistence};
use crate::io::clock::Clock;
use crate::io::local::UnixStream;
use std::io::{self, Write};
use std::time::Duration;

/// What is watched, and the place that it takes.
pub(super) struct Watching {
    /// The last event that is known.
    pub(super) after: u64,
    pub(super) place: Place,
}

/// So often something is said where nothing happens, so that both ends notice when one is gone.
const QUIET: Duration = Duration::from_secs(15);

/// Events that are written at once.
const EVENTS: usize = 256;

pub(super) fn watch(stream: &mut UnixStream, watching: Watching, room: &Room) -> io::Result<()> {
    let Watching { mut after, place: _place } = watching;
    let mut out = Vec::new();
    let date = Clock::new().date();
    let fields: [(&[u8], &[u8]); 3] = [
        (b"Date", &date),
        (b"Content-Type", b"text/event-stream"),
        (b"Cache-Control", b"no-store"),
    ];
    // Ends with the connection: whoever reads this reads until then.
    write::own_head(&mut out, 200, Framing::Close, Persistence::Close, &fields);
    out.extend_from_slice(format!(": from {after}\n\n").as_bytes());
    stream.write_all(&out)?;
    loop {
        out.clear();
        match room.desk.view.after(after, QUIET, EVENTS) {
            Watched::Events(events) if events.is_empty() => out.extend_from_slice(b": quiet\n\n"),
            Watched::Events(events) => {
                for event in events {
                    after = event.revision;
                    let name = event.what.name();
                    let text = event.encode();
                    let said = format!("id: {after}\nevent: {name}\ndata: {text}\n\n");
                    out.extend_from_slice(said.as_bytes());
                }
            }
            Watched::Missed(newest) => {
                after = newest;
                let what = "some events are not kept any more: list everything again";
                let said = format!("id: {after}\nevent: missed\ndata: {{\"what\":\"{what}\"}}\n\n");
                out.extend_from_slice(said.as_bytes());
            }
        }
        stream.write_all(&out)?;
    }
}
