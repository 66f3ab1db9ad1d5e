//! Laws of the contract logic.

#[path = "contract_hostile.rs"]
mod hostile;
#[path = "contract_language.rs"]
mod language;
#[path = "contract_laws.rs"]
mod laws;
#[path = "contract_oracles.rs"]
mod oracles;
#[path = "contract_world.rs"]
mod world;

use caio::contract::vocabulary::Vocabulary;

/// The example vocabulary that ships with the program.
pub(crate) const EXAMPLE: &str = include_str!("../../config/vocabulary.toml");

/// The example vocabulary.
pub(crate) fn example() -> Vocabulary {
    Vocabulary::parse("config/vocabulary.toml", EXAMPLE).unwrap_or_else(|faults| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}
