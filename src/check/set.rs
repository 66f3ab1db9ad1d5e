//! Sets of values as spans from a first value to the one behind the last, of numbers or of texts.

/// The end of a span of texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Edge {
    /// This text.
    Text(Vec<u8>),
    /// Above every text.
    Top,
}

/// Sorted spans with room between them: every set has one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spans<T>(Vec<(T, T)>);

/// A set of values of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// Of numbers: wider than the values, so that the number behind the last exists.
    Numbers(Spans<i128>),
    /// Of texts.
    Texts(Spans<Edge>),
}

impl<T: Ord + Clone> Spans<T> {
    /// `None` when a span is empty, or they are out of order, or touch.
    pub(crate) fn new(spans: Vec<(T, T)>) -> Option<Self> {
        let apart = spans.windows(2).all(|pair| match pair {
            [first, second] => first.1 < second.0,
            _ => true,
        });
        (apart && spans.iter().all(|(low, high)| low < high)).then_some(Self(spans))
    }

    /// The spans.
    pub(crate) fn spans(&self) -> &[(T, T)] {
        &self.0
    }

    fn within(&self, other: &Self) -> bool {
        let inside = |(low, high): &(T, T)| other.0.iter().any(|(a, b)| a <= low && high <= b);
        self.0.iter().all(inside)
    }

    fn meet(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)));
        let common = pairs.map(|(a, b)| ((&a.0).max(&b.0).clone(), (&a.1).min(&b.1).clone()));
        Self(common.filter(|(low, high)| low < high).collect())
    }
}

impl Set {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.0.is_empty(),
            Self::Texts(texts) => texts.0.is_empty(),
        }
    }

    /// Whether every value of it is in the other: its spans never touch, so each fits into one.
    pub(crate) fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => a.within(b),
            (Self::Texts(a), Self::Texts(b)) => a.within(b),
            _ => self.is_empty(),
        }
    }

    /// What both hold; of different kinds nothing.
    pub(crate) fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => Self::Numbers(a.meet(b)),
            (Self::Texts(a), Self::Texts(b)) => Self::Texts(a.meet(b)),
            _ => Self::Numbers(Spans(Vec::new())),
        }
    }
}
