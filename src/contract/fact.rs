//! From the text of one fact (a header's value, a caller's configured fact) to monadic values.

use super::complaint::quoted;
use super::logic::AttributeId;
use super::normal::reversed;
use super::predicate::{Literal, fingerprint, number_value};
use super::quantity::Number;
use super::set::Value;
use super::version::Version;
use super::vocabulary::{Declared, Kind, Unit};

impl Declared {
    /// The monadic values that the text of a fact stands for. A text that is no value of the type
    /// is an error, and the caller of this must then leave the fact unknown.
    ///
    /// Bytes may be bare (`1024`), a set is a comma list of symbols, and empty text is the empty
    /// set.
    pub fn facts(&self, text: &str) -> Result<Vec<(AttributeId, Value)>, String> {
        let number = |value| Ok(vec![(self.id(), Value::Number(value))]);
        let trimmed = text.trim_matches([' ', '\t']);
        match &self.kind {
            Kind::Bool => match trimmed {
                "true" => number(1),
                "false" => number(0),
                _ => Err(format!("{} is neither `true` nor `false`", quoted(text))),
            },
            Kind::Int(Unit::Bytes) if trimmed.bytes().all(|byte| byte.is_ascii_digit()) => {
                let parsed = trimmed.parse();
                number(parsed.map_err(|_| format!("{} is not a number of bytes", quoted(text)))?)
            }
            Kind::Int(_) | Kind::Decimal(_) | Kind::Duration | Kind::Ratio => {
                let parsed = Number::parse(trimmed)
                    .ok_or_else(|| format!("{} is not {}", quoted(text), self.kind.describe()))?;
                number(self.within(parsed.value(&self.kind).map_err(|(what, _)| what)?, text)?)
            }
            Kind::Enum { .. } | Kind::Region(_) => {
                let literal = Literal::Text(trimmed.to_owned());
                number(number_value(&self.kind, &literal).map_err(|(what, _)| what)?)
            }
            Kind::Version => {
                let version = Version::parse(trimmed)?;
                Ok(vec![
                    (self.id(), Value::Number(version.core)),
                    (self.nth(1), Value::Number(i64::from(version.pre))),
                ])
            }
            Kind::Text => Ok(vec![
                (self.id(), Value::Text(text.into())),
                (self.nth(1), Value::Text(reversed(text).into())),
            ]),
            Kind::Fingerprint => {
                let text = fingerprint(trimmed).map_err(|(what, _)| what)?;
                Ok(vec![(self.id(), Value::Text(text.into()))])
            }
            Kind::Set(symbols) => self.set_facts(symbols, trimmed),
            Kind::Tail(_) => Err(format!("{} is promised, never a fact", quoted(&self.name))),
        }
    }

    /// Negative sizes, counts and durations are no values.
    fn within(&self, value: i64, text: &str) -> Result<i64, String> {
        let negative_allowed = matches!(self.kind, Kind::Int(Unit::Plain) | Kind::Decimal(_));
        if value < 0 && !negative_allowed {
            return Err(format!("{} is negative", quoted(text)));
        }
        Ok(value)
    }

    fn set_facts(
        &self,
        symbols: &[String],
        text: &str,
    ) -> Result<Vec<(AttributeId, Value)>, String> {
        let mut held = vec![0_i64; symbols.len()];
        if !text.is_empty() {
            for item in text.split(',').map(|item| item.trim_matches([' ', '\t'])) {
                let place = symbols.iter().position(|symbol| symbol == item);
                match place.and_then(|place| held.get_mut(place)) {
                    Some(held) => *held = 1,
                    None => return Err(format!("there is no symbol {}", quoted(item))),
                }
            }
        }
        let places = held.into_iter().enumerate();
        Ok(places.map(|(place, held)| (self.nth(place), Value::Number(held))).collect())
    }
}
