//! Layer 6: one request and its response. Head in, verdict and heads out; knows no socket.

pub mod additions;
pub mod amendments;
pub mod described;
pub mod governed;
pub mod health;
pub mod obliged;
pub mod refusal;
pub mod settle;
pub mod tenure;
pub mod view;
