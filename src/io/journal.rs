//! Appending to a file so that it is durable: a write and an fdatasync in one submission, on a ring
//! of the calling thread, which is no worker and may wait.

use io_uring::{IoUring, opcode, squeue, types};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Two entries are in flight at most.
const ENTRIES: u32 = 4;
const WRITE: u64 = 1;
const SYNC: u64 = 2;
/// Bytes of one write: a result is an `i32`, and Linux writes no more than this at once.
const WRITE_BYTES_MAX: usize = 0x7fff_f000;

/// A ring for durable appends.
#[derive(Default)]
pub struct Journal {
    ring: Option<IoUring>,
    #[cfg(feature = "inject")]
    injector: super::inject::Injector,
}

impl Journal {
    /// Writes `bytes` at `offset` and makes them, and what stands before them, durable.
    ///
    /// # Errors
    /// As `pwrite(2)` and `fdatasync(2)`, or because no ring is to be had. The file's bytes from
    /// `offset` on are undefined then, and may never be relied upon, whatever a later sync says.
    pub fn append(&mut self, file: &File, mut offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        loop {
            let part = rest.get(..WRITE_BYTES_MAX).unwrap_or(rest);
            let written = self.write_and_sync(file, offset, part)?;
            match rest.get(written..) {
                Some([]) => return Ok(()),
                Some(_) if written == 0 => return Err(io::ErrorKind::WriteZero.into()),
                // A short write also called off the sync behind it.
                Some(left) => rest = left,
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
            offset += written as u64;
        }
    }

    /// One write with a sync linked behind it, which happens only if the write was whole.
    fn write_and_sync(&mut self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let ring = match &mut self.ring {
            Some(ring) => ring,
            none => none.insert(IoUring::new(ENTRIES)?),
        };
        let fd = types::Fd(file.as_raw_fd());
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let write = opcode::Write::new(fd, bytes.as_ptr(), length)
            .offset(offset)
            .build()
            .flags(squeue::Flags::IO_LINK)
            .user_data(WRITE);
        let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        let sync = sync.user_data(SYNC);
        // SAFETY: the descriptor and the bytes are borrowed for this call, and it ends only when
        // both entries have completed (`finish`), or when the ring was dropped before the kernel
        // took them.
        let queued = unsafe { ring.submission().push_multiple(&[write, sync]) };
        if queued.is_err() {
            self.ring = None;
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let ended = finish(ring);
        #[cfg(feature = "inject")]
        let ended = self.injector.change(ended, (file, offset, bytes));
        match ended {
            Ok((written, synced)) => {
                let written = usize::try_from(result(written)?).unwrap_or(0);
                match result(synced) {
                    Err(error) if written < bytes.len() && is_called_off(&error) => Ok(written),
                    Err(error) => Err(error),
                    Ok(_) => Ok(written),
                }
            }
            Err(error) => {
                self.ring = None;
                Err(error)
            }
        }
    }
}

fn is_called_off(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

fn result(code: i32) -> io::Result<u32> {
    u32::try_from(code).map_err(|_| io::Error::from_raw_os_error(code.saturating_neg()))
}

/// Submits both entries and waits until they have completed; their results. An error means that the
/// kernel took neither.
fn finish(ring: &mut IoUring) -> io::Result<(i32, i32)> {
    let (mut written, mut synced) = (None, None);
    loop {
        let waited = ring.submit_and_wait(1);
        for entry in ring.completion() {
            match entry.user_data() {
                WRITE => written = Some(entry.result()),
                _ => synced = Some(entry.result()),
            }
        }
        if let (Some(written), Some(synced)) = (written, synced) {
            return Ok((written, synced));
        }
        if let Err(error) = waited {
            let untouched = ring.submission().len() == 2;
            if untouched && error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_there_and_errors_come_back() {
        let path = std::env::temp_dir().join(format!("caio-journal-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let mut journal = Journal::default();
        journal.append(&file, 0, b"one ").unwrap();
        journal.append(&file, 4, &vec![b'x'; 3 << 20]).unwrap();
        let read = std::fs::read(&path).unwrap();
        assert_eq!(read.len(), 4 + (3 << 20));
        assert!(read.starts_with(b"one x"));
        let only_reading = File::open(&path).unwrap();
        let error = journal.append(&only_reading, 0, b"no").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        journal.append(&file, 0, b"two ").unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"two x"));
        std::fs::remove_file(&path).unwrap();
    }
}
