//! Layer 7: one worker per core: accept, drive, relay, adopt.
//!
//! ```text
//!   gateway ─ threads ─▶ worker ─ accept ─▶ http1_server ─▶ http1_relay   HTTP/1.1 → HTTP/1.1
//!                                  │             └────────▶ bridge        HTTP/1.1 → HTTP/2
//!                                  └──────▶ http2_server ─▶ bridge        HTTP/2 → either
//!                  │                 the lane's ring
//!                  └▶ trail ─ a thread ─▶ writer: segments, tiles, checkpoints; recovery at start
//!   every exchange: call::begin (decide, certify, record) → call::connect → relay → call::finish
//! ```

pub mod accept;
pub mod addresses;
pub mod answering;
pub mod backlog;
pub mod both;
mod bounds;
pub mod bridge;
pub mod budget;
pub mod call;
mod chain;
mod check_service;
pub mod counters;
pub mod durable;
pub mod entrances;
pub mod gates;
pub mod gateway;
mod grpc_health;
pub mod handing;
pub mod headers;
mod hook_body;
pub mod hook_call;
pub mod hooks;
mod http1_answer;
pub mod http1_relay;
pub mod http1_server;
mod http1_shared;
mod http1_upload;
pub mod http2_client;
pub mod http2_server;
pub mod http2_view;
pub mod identify;
pub mod landscape;
pub mod limits;
pub mod meters;
pub mod metrics;
pub mod partners;
pub mod pass;
pub mod pieces;
pub mod pool;
mod preamble;
pub mod recovery;
pub mod relay;
pub mod reply;
pub mod retention;
pub mod secure;
mod shown;
pub mod tally;
pub mod tenure;
pub mod timed;
pub mod trail;
pub mod unary;
pub mod worker;
pub mod writer;
