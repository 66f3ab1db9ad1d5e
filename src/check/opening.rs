//! What opens the commitments of a segment, as far as it was not erased.

use super::bytes::Reader;
use super::limits::OPENINGS_BYTES_MAX;
use super::record::Decision;
use super::report::must;
use super::tree::{Hash, hash};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

const ROW_BYTES: usize = 48;

/// Whose fact a row opens: boot, sequence, lane, attribute.
pub(crate) type Place = (u64, u64, u16, u16);

/// The openings of one segment.
#[derive(Default)]
pub(crate) struct Openings {
    path: PathBuf,
    /// How many bytes of the file were read; rows are appended while the segment grows.
    read: u64,
    rows: BTreeMap<Place, ([u8; 16], i64)>,
}

impl Openings {
    /// Those in this file, which may be missing: then all were erased.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Opens what a decision commits to, as far as it can be; what does not fit is wrong.
    pub(crate) fn open(
        &mut self,
        boot: u64,
        lane: u16,
        number: u64,
        it: &mut Decision,
    ) -> Result<(), String> {
        let mut hidden = Vec::new();
        for (attribute, commitment) in std::mem::take(&mut it.committed) {
            match self.opened((boot, number, lane, attribute), &commitment)? {
                Some(value) => it.facts.push((attribute, value)),
                None => hidden.push((attribute, commitment)),
            }
        }
        it.committed = hidden;
        it.facts.sort_unstable();
        Ok(())
    }

    fn opened(&mut self, place: Place, commitment: &Hash) -> Result<Option<i64>, String> {
        if !self.rows.contains_key(&place) {
            self.read_on()?;
        }
        let Some((salt, value)) = self.rows.remove(&place) else { return Ok(None) };
        let attribute = place.3;
        let own = hash(&[&salt, &attribute.to_le_bytes(), &value.to_le_bytes()]);
        must!(own == *commitment, "the fact {attribute} is opened to what was not committed to");
        Ok(Some(value))
    }

    /// At the end of the segment: the first row that opened nothing, unless it may have been
    /// written ahead of a decision that was lost.
    pub(crate) fn rest(&mut self, lost: impl Fn(Place) -> bool) -> Result<(), String> {
        self.read_on()?;
        let stray = self.rows.keys().find(|place| !lost(**place));
        match stray {
            Some((boot, number, lane, attribute)) => Err(format!(
                "the fact {attribute} of decision {number}, lane {lane}, boot {boot} is opened, \
                 and was not committed to"
            )),
            None => Ok(()),
        }
    }

    /// The rows behind those that were read.
    fn read_on(&mut self) -> Result<(), String> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        let mut bytes = Vec::new();
        let seek = file.seek(SeekFrom::Start(self.read));
        let read = seek.and_then(|_| file.take(OPENINGS_BYTES_MAX).read_to_end(&mut bytes));
        must!(read.is_ok(), "{} cannot be read", self.path.display());
        let (rows, _) = bytes.as_chunks::<ROW_BYTES>();
        self.read += (rows.len() * ROW_BYTES) as u64;
        must!(self.read <= OPENINGS_BYTES_MAX, "{} is too long", self.path.display());
        for row in rows.iter().filter(|row| **row != [0; ROW_BYTES]) {
            let read = parsed(row).filter(|(place, opening)| {
                let twice = self.rows.insert(*place, *opening);
                twice.is_none()
            });
            must!(read.is_some(), "{} has a row that is none", self.path.display());
        }
        Ok(())
    }
}

fn parsed(row: &[u8]) -> Option<(Place, ([u8; 16], i64))> {
    let mut from = Reader(row);
    let place = (from.u64()?, from.u64()?, from.u16()?, from.u16()?);
    let zero = from.u32()?;
    let opening = (from.array()?, from.i64()?);
    (zero == 0).then_some((place, opening))
}
