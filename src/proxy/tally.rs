//! The kinds of counts: one number, one for each value of labels that are known beforehand, and one
//! for each name that a landscape or a configuration brings along.

use crate::exchange::refusal::Reason;
use crate::wire::exposition::{Label, Page};
use crate::wire::limits::NAMED_SERIES_MAX;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that one worker writes and others may read. Not a read-modify-write: two writers would
/// lose counts.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, by: u64) {
        self.set(self.get().wrapping_add(by));
    }

    /// Subtracts.
    pub fn sub(&self, by: u64) {
        self.set(self.get().saturating_sub(by));
    }

    /// Takes over what is counted elsewhere.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Values of one label or several that are known when this is compiled.
pub trait Labels: Copy {
    /// How many there are.
    const COUNT: usize;
    /// Its place, below [`Labels::COUNT`].
    fn place(self) -> usize;
    /// Adds the labels of a place.
    fn push(place: usize, to: &mut Vec<Label<'static>>);
}

/// An enum whose values are those of one label:
/// `labels! { /// … pub Handshake "result" { /// … Accepted = "accepted", … } }`.
macro_rules! labels {
    ($(#[doc = $doc:literal])+ $vis:vis $name:ident $key:literal {
        $($(#[doc = $value_doc:literal])+ $value:ident = $text:literal,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[doc = $value_doc])+ $value,)+ }

        impl $crate::proxy::tally::Labels for $name {
            const COUNT: usize = [$($text,)+].len();
            fn place(self) -> usize {
                self as usize
            }
            fn push(place: usize, to: &mut Vec<$crate::wire::exposition::Label<'static>>) {
                to.extend([$($text,)+].get(place).map(|text| ($key, *text)));
            }
        }
    };
}

impl Labels for Reason {
    const COUNT: usize = Self::ALL.len();

    fn place(self) -> usize {
        usize::from(self.number().saturating_sub(1))
    }

    fn push(place: usize, to: &mut Vec<Label<'static>>) {
        to.extend(Self::ALL.get(place).map(|reason| ("reason", reason.row().code)));
    }
}

pub(crate) use labels;

/// Two sets of labels, every value of the one with every value of the other.
impl<A: Labels, B: Labels> Labels for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn place(self) -> usize {
        self.0.place() * B::COUNT + self.1.place()
    }

    fn push(place: usize, to: &mut Vec<Label<'static>>) {
        A::push(place.checked_div(B::COUNT).unwrap_or(0), to);
        B::push(place.checked_rem(B::COUNT).unwrap_or(0), to);
    }
}

/// A count for each value of the labels; every one has its series, also at 0.
#[derive(Debug)]
pub struct Labelled<L>(Box<[Count]>, PhantomData<L>);

impl<L: Labels> Default for Labelled<L> {
    fn default() -> Self {
        Self((0..L::COUNT).map(|_| Count::default()).collect(), PhantomData)
    }
}

impl<L: Labels> Labelled<L> {
    /// Adds to the count of these labels.
    pub fn add(&self, labels: L, by: u64) {
        if let Some(count) = self.0.get(labels.place()) {
            count.add(by);
        }
    }
}

/// The label whose values are names that are not known beforehand: of rules, quotas, hooks.
pub trait Key {
    /// The label's name.
    const KEY: &'static str;
}

/// A count for each name an operator gave something. The names are bounded: those of one more than
/// [`NAMED_SERIES_MAX`] are counted together, as [`OTHER`].
#[derive(Debug)]
pub struct Named<K> {
    series: OnceLock<Box<[Series]>>,
    key: PhantomData<K>,
}

/// A name, once the place is somebody's, and its count.
type Series = (OnceLock<Box<str>>, Count);

/// The name under which is counted what has no series of its own.
pub const OTHER: &str = "_OTHER";

/// The place of a name in a [`Named`], for names that are counted often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl<K> Default for Named<K> {
    fn default() -> Self {
        Self { series: OnceLock::new(), key: PhantomData }
    }
}

impl<K: Key> Named<K> {
    /// The place of a name; looked for from the first on, so it is kept rather than asked for.
    pub fn place(&self, name: &str) -> Place {
        let series = self.series.get_or_init(|| {
            (0..=NAMED_SERIES_MAX).map(|_| (OnceLock::new(), Count::default())).collect()
        });
        let named = series.iter().take(NAMED_SERIES_MAX).position(|(own, _)| {
            // The first free one becomes its own.
            &**own.get_or_init(|| name.into()) == name
        });
        Place(named.unwrap_or(NAMED_SERIES_MAX))
    }

    /// Adds to the count at a place.
    pub fn add_at(&self, place: Place, by: u64) {
        if let Some((_, count)) = self.series.get().and_then(|series| series.get(place.0)) {
            count.add(by);
        }
    }

    /// Adds to the count of a name.
    pub fn add(&self, name: &str, by: u64) {
        self.add_at(self.place(name), by);
    }
}

/// Something whose counts can be read.
pub trait Counted {
    /// Calls `with` for each series: its labels and its count.
    fn each<'a>(&'a self, with: &mut dyn FnMut(Vec<Label<'a>>, u64));
}

impl Counted for Count {
    fn each<'a>(&'a self, with: &mut dyn FnMut(Vec<Label<'a>>, u64)) {
        with(Vec::new(), self.get());
    }
}

impl<L: Labels> Counted for Labelled<L> {
    fn each<'a>(&'a self, with: &mut dyn FnMut(Vec<Label<'a>>, u64)) {
        for (place, count) in self.0.iter().enumerate() {
            let mut labels = Vec::new();
            L::push(place, &mut labels);
            with(labels, count.get());
        }
    }
}

impl<K: Key> Counted for Named<K> {
    fn each<'a>(&'a self, with: &mut dyn FnMut(Vec<Label<'a>>, u64)) {
        for (place, (name, count)) in self.series.get().into_iter().flatten().enumerate() {
            match name.get() {
                Some(name) => with(vec![(K::KEY, name)], count.get()),
                None if place == NAMED_SERIES_MAX && count.get() > 0 => {
                    with(vec![(K::KEY, OTHER)], count.get());
                }
                None => {}
            }
        }
    }
}

/// Writes the sums of what several workers counted, series by series.
pub fn total<'a>(all: impl Iterator<Item = &'a dyn Counted>, page: &mut Page) {
    let mut sums: BTreeMap<Vec<Label<'a>>, u64> = BTreeMap::new();
    for counted in all {
        counted.each(&mut |labels, count| {
            let sum = sums.entry(labels).or_default();
            *sum = sum.wrapping_add(count);
        });
    }
    for (labels, sum) in sums {
        page.sample(&labels, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::exposition::Format;

    labels! {
        /// How.
        Method "method" {
            /// By token.
            Token = "token",
            /// By key.
            ApiKey = "key",
        }
    }
    labels! {
        /// With what.
        Done "result" {
            /// Well.
            Well = "well",
            /// Badly.
            Badly = "badly",
            /// Not at all.
            Never = "never",
        }
    }
    #[derive(Debug)]
    struct Rule;
    impl Key for Rule {
        const KEY: &'static str = "rule";
    }

    fn text(counted: &[&dyn Counted]) -> String {
        let mut page = Page::new(Format::Prometheus);
        total(counted.iter().copied(), &mut page);
        page.finish()
    }

    #[test]
    fn pairs_of_labels_have_a_series_each() {
        let pairs = Labelled::<(Method, Done)>::default();
        pairs.add((Method::ApiKey, Done::Badly), 2);
        pairs.add((Method::Token, Done::Never), 3);
        pairs.add((Method::Token, Done::Well), 0);
        let text = text(&[&pairs]);
        assert_eq!(text.lines().count(), 6);
        assert!(text.contains("{method=\"key\",result=\"badly\"} 2"), "{text}");
        assert!(text.contains("{method=\"token\",result=\"never\"} 3"), "{text}");
        assert!(text.contains("{method=\"token\",result=\"well\"} 0"), "{text}");
    }

    #[test]
    fn names_are_merged_over_workers_whatever_their_places_and_are_bounded() {
        let (one, other) = (Named::<Rule>::default(), Named::<Rule>::default());
        one.add("a", 1);
        one.add("b", 2);
        other.add("b", 4);
        let at = other.place("c");
        other.add_at(at, 8);
        assert_eq!(other.place("c"), at);
        let all = text(&[&one, &other]);
        assert_eq!(all, "{rule=\"a\"} 1\n{rule=\"b\"} 6\n{rule=\"c\"} 8\n");
        for number in 0..2 * NAMED_SERIES_MAX {
            one.add(&format!("n{number}"), 1);
        }
        let full = text(&[&one]);
        assert_eq!(full.lines().count(), NAMED_SERIES_MAX + 1);
        let rest = NAMED_SERIES_MAX + 2;
        assert!(full.contains(&format!("{{rule=\"_OTHER\"}} {rest}\n")), "{full}");
    }
}
