//! Layer 4: what is known of the services' load and health.

pub mod epoch;
