//! Conditions as landscapes and records have them, spelled by this test.

use caio::config::model::Condition;
use caio::contract::logic::Cnf;
use caio::contract::set::Set;
use std::fmt::Write;

/// Conditions as canonical lines, spelled by this test.
pub(crate) fn need_lines(conditions: &[Condition]) -> String {
    conditions.iter().fold(String::new(), |mut text, it| {
        let (name, said) = (it.name.escape_default(), it.text.escape_default());
        writeln!(text, "need \"{name}\" \"{said}\" {}", cnf(&it.cnf)).unwrap();
        text
    })
}

fn cnf(cnf: &Cnf) -> String {
    let clauses: Vec<String> = cnf
        .clauses
        .iter()
        .map(|clause| {
            let atoms: Vec<String> = clause
                .atoms
                .iter()
                .map(|atom| format!("{}:{{{}}}", atom.attribute.0, set(&atom.set)))
                .collect();
            if atoms.is_empty() { "false".to_owned() } else { format!("({})", atoms.join(" | ")) }
        })
        .collect();
    if clauses.is_empty() { "true".to_owned() } else { clauses.join(" & ") }
}

fn set(set: &Set) -> String {
    let quoted = |text: &[u8]| format!("\"{}\"", text.escape_ascii());
    let spans: Vec<String> = match set {
        Set::Numbers(numbers) => {
            numbers.intervals().iter().map(|(low, high)| format!("{low}..{high}")).collect()
        }
        Set::Texts(texts) => texts
            .intervals()
            .iter()
            .map(|(low, high)| {
                let high = high.as_ref().map_or("none".to_owned(), |high| quoted(high));
                format!("[{} {high})", quoted(low))
            })
            .collect(),
    };
    spans.join(",")
}
