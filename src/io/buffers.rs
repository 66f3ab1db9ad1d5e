//! Buffers that live only while they are used: taken from a worker's shelf, put back after.

use std::cell::RefCell;

/// What an idle connection holds to receive into: half of what it may cost in all (8 KiB), the rest
/// being the connection's own state, and enough for nearly every request head of a service's caller.
pub const IDLE_BYTES: usize = 2 * 1024;
/// For heads: large enough for nearly all of them, those of browsers too.
pub const HEAD_BYTES: usize = 4 * 1024;
/// For bodies: a 64 KiB body and its head in two reads; measured best of 16, 32, 64 and 128 KiB.
pub const BODY_BYTES: usize = 64 * 1024;
/// Buffers kept for reuse per worker: 256 × 64 KiB bound the idle shelf at 16 MiB.
const SHELF_MAX: usize = 256;

/// A worker's shelf of body-sized buffers.
#[derive(Debug, Default)]
pub struct Buffers {
    shelf: RefCell<Vec<Vec<u8>>>,
    small: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer of at least [`BODY_BYTES`] capacity.
    pub fn take(&self) -> Vec<u8> {
        self.shelf.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BODY_BYTES))
    }

    /// An empty buffer for a head, of some capacity.
    pub fn small(&self) -> Vec<u8> {
        self.small.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES))
    }

    /// Puts a head's buffer back; one that grew beyond use is let go.
    pub fn put_small(&self, mut buffer: Vec<u8>) {
        let mut shelf = self.small.borrow_mut();
        if buffer.capacity() <= 4 * HEAD_BYTES && shelf.len() < SHELF_MAX {
            buffer.clear();
            shelf.push(buffer);
        }
    }

    /// Puts a body's buffer back; one that grew or shrank is let go.
    pub fn put(&self, mut buffer: Vec<u8>) {
        let mut shelf = self.shelf.borrow_mut();
        if buffer.capacity() == BODY_BYTES && shelf.len() < SHELF_MAX {
            buffer.clear();
            shelf.push(buffer);
        }
    }
}
