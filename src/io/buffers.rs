//! Buffers that live only while they are used: taken from a worker's shelf, put back after.

use std::cell::RefCell;

/// Large enough for nearly every head with what is added to it.
pub const HEAD_BYTES: usize = 4 * 1024;
/// Small enough to hold one on every idle connection, large enough for most request heads; a larger
/// head is received in two reads. With the connection's own state this keeps an idle HTTP/1.1
/// connection below 8 KiB.
pub const IDLE_BYTES: usize = 2 * 1024;
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
