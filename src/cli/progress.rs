//! A word to whoever waits for something that takes longer than a second.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Between two words.
const BEAT: Duration = Duration::from_secs(1);

/// Runs `work`; on a terminal, says each second on standard error what is being done and for how
/// long, and clears the line in the end.
pub fn while_it_takes<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    spoken(what, BEAT, &mut std::io::stderr(), work)
}

fn spoken<T>(
    what: &str,
    beat: Duration,
    to: &mut (dyn Write + Send),
    work: impl FnOnce() -> T,
) -> T {
    let (done, waits) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let began = Instant::now();
            let mut said = false;
            while waits.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                said = true;
                // Progress that cannot be shown is no fault of the work.
                let _ = write!(to, "\r{what}: {} s", began.elapsed().as_secs());
                let _ = to.flush();
            }
            if said {
                let _ = write!(to, "\r\u{1b}[K");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_work_is_spoken_of_and_short_work_is_not() {
        let mut words = Vec::new();
        let quick = spoken("reading", Duration::from_secs(60), &mut words, || 7);
        assert_eq!((quick, words.len()), (7, 0));
        let (finish, waits) = channel::<()>();
        struct Signals<'a>(&'a mut Vec<u8>, std::sync::mpsc::Sender<()>);
        impl Write for Signals<'_> {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.extend_from_slice(bytes);
                // The work below has ended once it was spoken of: nobody listens to the last word.
                let _ = self.1.send(());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let beat = Duration::from_millis(1);
        spoken("reading", beat, &mut Signals(&mut words, finish), || waits.recv().unwrap());
        let words = String::from_utf8(words).unwrap();
        assert!(words.starts_with("\rreading: 0 s"), "{words:?}");
        assert!(words.ends_with("\u{1b}[K"), "{words:?}");
    }
}
