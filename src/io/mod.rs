//! The machine's side: rings, sockets, clocks, deadlines, buffers. Knows no HTTP and no contracts.
//!
//! This is the only module that may say `unsafe`; each use carries its argument.
#![allow(unsafe_code, reason = "system calls and owned-buffer reads need it; nowhere else may")]

pub mod buffers;
pub mod clock;
pub mod deadline;
pub mod duplex;
pub mod files;
pub mod isolate;
pub mod journal;
pub mod listener;
pub mod process;
pub mod ring;
pub mod stream;
