//! What people write: the files that come with CAIO are sound and complete, wrong ones are refused
//! at the right place with the right words, and no text whatever is a panic.

#[path = "config/corpus.rs"]
mod corpus;
#[path = "config/hostile.rs"]
mod hostile;
#[path = "config/shipped.rs"]
mod shipped;
#[path = "config/verb.rs"]
mod verb;
#[path = "config/world.rs"]
mod world;
