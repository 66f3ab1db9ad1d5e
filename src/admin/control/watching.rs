//! Events as they come into force, for whoever watches: server-sent events, which a client that
//! comes back takes up where it left off.

use super::way::Way;
use super::{Place, Room};
use crate::admin::desk::Watched;
use crate::http1::Framing;
use crate::http1::write::{self, Persistence};
use crate::io::clock::{Clock, monotonic_ns};
use crate::wire::limits::CONTROL_REQUEST_MS;
use std::io;
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

/// Tells events for as long as somebody reads them who is `still` let.
pub(super) fn watch(
    way: &mut dyn Way,
    watching: Watching,
    room: &Room,
    still: &dyn Fn() -> bool,
) -> io::Result<()> {
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
    say(way, &out)?;
    loop {
        out.clear();
        let watched = room.desk.view.after(after, QUIET, EVENTS);
        if !still() {
            return Ok(());
        }
        match watched {
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
        say(way, &out)?;
    }
}

fn say(way: &mut dyn Way, bytes: &[u8]) -> io::Result<()> {
    way.until(monotonic_ns().saturating_add(CONTROL_REQUEST_MS * 1_000_000));
    way.write_all(bytes)?;
    way.flush()
}
