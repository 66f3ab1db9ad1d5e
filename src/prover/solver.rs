//! Is there a point of a box that satisfies all clauses? A point, or a refutation, or *unknown*.
//!
//! ```text
//!   sets ──cut at every end──▶ classes of values that no literal tells apart, a bit each
//!   box = words; a literal = words ──propagate, split──▶ a box where all holds, or only dead ones
//! ```
//! A clause with one literal left narrows the box; then the first literal of the shortest clause
//! splits it. Satisfied clauses are dropped, the order is fixed, and the number of steps is
//! bounded. Nothing found here is believed by itself: see [`super::settle`].

use super::problem::{Clause, Point, Problem, Values};
use super::refutation::{Refutation, Step};
use super::text;
use crate::contract::set::{Numbers, Set, Texts, Value};

/// What became of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything holds here.
    Point(Point),
    /// Nothing is left, and why.
    Refuted(Refutation),
    /// The steps did not suffice, or what is left has no value that could be named.
    Unknown,
}

/// A part of a box in which everything holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Region {
    /// A point of it, and the values of each variable.
    Found(Point, Vec<Values>),
    /// There is none.
    Nothing,
    /// Nobody knows.
    Unknown,
}

/// Solves a problem, and says around which point everything holds as well; checked like any answer.
pub fn solve_region(problem: &Problem, steps_max: usize) -> Region {
    let mut found = None;
    let answer = search(problem, steps_max, &mut |search, region| found = search.values(region));
    match (super::judge(problem, answer), found) {
        (super::Settled::Impossible, _) => Region::Nothing,
        (super::Settled::Possible(point), Some(region)) if holds_in(problem, &region) => {
            Region::Found(point, region)
        }
        _ => Region::Unknown,
    }
}

/// Whether each clause has a literal that all of the box satisfies.
fn holds_in(problem: &Problem, region: &[Values]) -> bool {
    problem.clauses.iter().all(|clause| {
        clause.iter().any(|literal| {
            let values = region.get(literal.variable);
            values.is_some_and(|values| values.without(&literal.values).is_empty())
        })
    })
}

/// Solves a problem with so many steps at the most.
pub fn solve(problem: &Problem, steps_max: usize) -> Answer {
    search(problem, steps_max, &mut |_, _| {})
}

/// The same, with at most so many words of literals looked at, which are taken off.
pub(super) fn solve_within(problem: &Problem, steps_max: usize, left: &mut u64) -> Answer {
    let Some(mut search) = Search::new(problem) else { return Answer::Unknown };
    search.left = *left;
    let answer = explore(&mut search, problem, steps_max, &mut |_, _| {});
    *left = search.left;
    answer
}

fn search(problem: &Problem, steps_max: usize, see: &mut dyn FnMut(&Search<'_>, &[u64])) -> Answer {
    let Some(mut search) = Search::new(problem) else { return Answer::Unknown };
    explore(&mut search, problem, steps_max, see)
}

fn explore(
    search: &mut Search<'_>,
    problem: &Problem,
    steps_max: usize,
    see: &mut dyn FnMut(&Search<'_>, &[u64]),
) -> Answer {
    let first = (0..problem.clauses.len()).collect();
    let mut open = vec![Open::Region(search.domains.clone(), first)];
    let mut steps: Vec<Step> = Vec::new();
    while let Some(next) = open.pop() {
        if steps.len() > steps_max {
            return Answer::Unknown;
        }
        let (mut region, mut clauses) = match next {
            Open::Dead(clause) => {
                steps.push(Step::Dead(clause));
                continue;
            }
            Open::Region(region, clauses) => (region, clauses),
        };
        match search.narrow(&mut region, &mut clauses, &mut steps, &mut open, steps_max) {
            Narrowed::Dead(clause) => steps.push(Step::Dead(clause)),
            Narrowed::Satisfied => {
                see(search, &region);
                return search.point(&region).map_or(Answer::Unknown, Answer::Point);
            }
            Narrowed::Exhausted => return Answer::Unknown,
            Narrowed::Split(clause, literal) => {
                let Some(mask) = search.literal(clause, literal) else { return Answer::Unknown };
                let (mut inside, mut outside) = (region.clone(), region);
                search.cut(&mut inside, mask, |word, mask| word & mask);
                search.cut(&mut outside, mask, |word, mask| word & !mask);
                steps.push(Step::Split(clause, literal));
                open.push(Open::Region(outside, clauses.clone()));
                open.push(Open::Region(inside, clauses));
            }
        }
    }
    Answer::Refuted(Refutation(steps))
}

/// What is still to be looked at, the last first.
enum Open {
    /// A box, and the clauses that are not known to hold in it.
    Region(Vec<u64>, Vec<usize>),
    /// What does not satisfy the one literal that a clause had left.
    Dead(usize),
}

enum Narrowed {
    Dead(usize),
    Satisfied,
    Split(usize, usize),
    Exhausted,
}

/// The classes of one variable: where its words begin and how many they are; and a value of each.
struct Classes<'p> {
    start: usize,
    words: usize,
    lows: Lows<'p>,
}

/// Where classes begin. The one after the last is being unknown.
enum Lows<'p> {
    Numbers(Vec<i64>),
    Texts(Vec<&'p [u8]>),
}

/// A literal: its variable, and where its words begin.
#[derive(Clone, Copy)]
struct Mask {
    variable: usize,
    start: usize,
}

struct Search<'p> {
    classes: Vec<Classes<'p>>,
    domains: Vec<u64>,
    clauses: Vec<Vec<Mask>>,
    masks: Vec<u64>,
    /// Words of literals that may still be looked at.
    left: u64,
}

impl<'p> Search<'p> {
    /// `None` where a literal speaks of a variable that there is not, or of values of another kind.
    fn new(problem: &'p Problem) -> Option<Self> {
        let mut sets: Vec<Vec<&Set>> = problem.domains.iter().map(|it| vec![&it.set]).collect();
        for literal in problem.clauses.iter().flatten() {
            sets.get_mut(literal.variable)?.push(&literal.values.set);
        }
        let mut search = Self {
            classes: Vec::with_capacity(sets.len()),
            domains: Vec::new(),
            clauses: Vec::with_capacity(problem.clauses.len()),
            masks: Vec::new(),
            left: u64::MAX,
        };
        for (sets, domain) in sets.iter().zip(&problem.domains) {
            let lows = Lows::of(sets)?;
            let (start, words) = (search.domains.len(), lows.count().div_ceil(64));
            search.classes.push(Classes { start, words, lows });
            let mut domains = std::mem::take(&mut search.domains);
            search.classes.last()?.mark(domain, &mut domains);
            search.domains = domains;
        }
        for clause in &problem.clauses {
            let masks = search.clause(clause)?;
            search.clauses.push(masks);
        }
        Some(search)
    }

    fn clause(&mut self, clause: &Clause) -> Option<Vec<Mask>> {
        let masks = clause.iter().map(|literal| {
            let start = self.masks.len();
            self.classes.get(literal.variable)?.mark(&literal.values, &mut self.masks);
            Some(Mask { variable: literal.variable, start })
        });
        masks.collect()
    }

    fn literal(&self, clause: usize, literal: usize) -> Option<Mask> {
        self.clauses.get(clause)?.get(literal).copied()
    }

    /// A literal's words beside those of the box.
    fn beside<'a>(
        &'a self,
        region: &'a [u64],
        mask: Mask,
    ) -> impl Iterator<Item = (u64, u64)> + 'a {
        let classes = self.classes.get(mask.variable);
        let (start, words) = classes.map_or((0, 0), |it| (it.start, it.words));
        let region = region.get(start..start + words).unwrap_or(&[]);
        let masks = self.masks.get(mask.start..mask.start + words).unwrap_or(&[]);
        region.iter().copied().zip(masks.iter().copied())
    }

    fn cut(&self, region: &mut [u64], mask: Mask, join: impl Fn(u64, u64) -> u64) {
        let Some(classes) = self.classes.get(mask.variable) else { return };
        let masks = self.masks.get(mask.start..mask.start + classes.words).unwrap_or(&[]);
        let region = region.get_mut(classes.start..classes.start + classes.words);
        for (word, mask) in region.unwrap_or(&mut []).iter_mut().zip(masks) {
            *word = join(*word, *mask);
        }
    }

    /// Drops what is satisfied and narrows the box by clauses with one literal left, as long as
    /// there are any.
    fn narrow(
        &mut self,
        region: &mut [u64],
        clauses: &mut Vec<usize>,
        steps: &mut Vec<Step>,
        open: &mut Vec<Open>,
        steps_max: usize,
    ) -> Narrowed {
        loop {
            let mut narrowed = false;
            let mut shortest: Option<(usize, usize, usize)> = None;
            let mut left = Vec::with_capacity(clauses.len());
            for &clause in clauses.iter() {
                let Some(masks) = self.clauses.get(clause) else { continue };
                let words =
                    masks.iter().filter_map(|it| Some(self.classes.get(it.variable)?.words));
                self.left = self.left.saturating_sub(words.sum::<usize>() as u64);
                let (mut live, mut first, mut satisfied) = (0, None, false);
                for (at, mask) in masks.iter().enumerate() {
                    let (mut some, mut all) = (0, 0);
                    for (word, mask) in self.beside(region, *mask) {
                        some |= word & mask;
                        all |= word & !mask;
                    }
                    if some != 0 {
                        live += 1;
                        first = first.or(Some((at, *mask)));
                        satisfied |= all == 0;
                    }
                }
                match (live, first) {
                    _ if satisfied => {}
                    (0, _) | (_, None) => return Narrowed::Dead(clause),
                    (1, Some((at, mask))) => {
                        steps.push(Step::Split(clause, at));
                        open.push(Open::Dead(clause));
                        self.cut(region, mask, |word, mask| word & mask);
                        narrowed = true;
                    }
                    (live, Some((at, _))) => {
                        if shortest.is_none_or(|(least, ..)| live < least) {
                            shortest = Some((live, clause, at));
                        }
                        left.push(clause);
                    }
                }
            }
            *clauses = left;
            if steps.len() > steps_max || self.left == 0 {
                return Narrowed::Exhausted;
            }
            match shortest {
                None => return Narrowed::Satisfied,
                Some((_, clause, at)) if !narrowed => return Narrowed::Split(clause, at),
                Some(_) => {}
            }
        }
    }

    /// The values that a box leaves to each variable.
    fn values(&self, region: &[u64]) -> Option<Vec<Values>> {
        self.classes.iter().map(|classes| classes.values(region)).collect()
    }

    /// A point of a box; `None` where some variable is left no value that can be named.
    fn point(&self, region: &[u64]) -> Option<Point> {
        self.classes.iter().map(|classes| classes.pick(region)).collect()
    }
}

impl<'p> Lows<'p> {
    fn of(sets: &[&'p Set]) -> Option<Self> {
        match sets.first()? {
            Set::Numbers(_) => {
                let mut lows = vec![i64::MIN];
                for set in sets {
                    let Set::Numbers(numbers) = set else { return None };
                    for (low, high) in numbers.intervals() {
                        lows.push(*low);
                        lows.extend(high.checked_add(1));
                    }
                }
                lows.sort_unstable();
                lows.dedup();
                Some(Self::Numbers(lows))
            }
            Set::Texts(_) => {
                let mut lows: Vec<&[u8]> = vec![&[]];
                for set in sets {
                    let Set::Texts(texts) = set else { return None };
                    for (low, high) in texts.intervals() {
                        lows.push(low);
                        lows.extend(high.as_deref());
                    }
                }
                lows.sort_unstable();
                lows.dedup();
                Some(Self::Texts(lows))
            }
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Numbers(lows) => lows.len(),
            Self::Texts(lows) => lows.len(),
        }
    }

    /// With the class of being unknown.
    fn count(&self) -> usize {
        self.length() + 1
    }
}

impl Classes<'_> {
    /// Appends the words of these values.
    fn mark(&self, values: &Values, words: &mut Vec<u64>) {
        let start = words.len();
        words.resize(start + self.words, 0);
        let mut set = |from: usize, to: usize| {
            for class in from..to {
                if let Some(word) = words.get_mut(start + class / 64) {
                    *word |= 1 << (class % 64);
                }
            }
        };
        match (&self.lows, &values.set) {
            (Lows::Numbers(lows), Set::Numbers(numbers)) => {
                for (low, high) in numbers.intervals() {
                    let from = lows.partition_point(|known| known < low);
                    set(from, lows.partition_point(|known| known <= high));
                }
            }
            (Lows::Texts(lows), Set::Texts(texts)) => {
                for (low, high) in texts.intervals() {
                    let from = lows.partition_point(|known| *known < low.as_slice());
                    let to = high.as_ref().map_or(lows.len(), |high| {
                        lows.partition_point(|known| *known < high.as_slice())
                    });
                    set(from, to);
                }
            }
            (Lows::Numbers(_), Set::Texts(_)) | (Lows::Texts(_), Set::Numbers(_)) => {}
        }
        if values.unknown {
            set(self.lows.length(), self.lows.count());
        }
    }

    /// What the box leaves.
    fn values(&self, region: &[u64]) -> Option<Values> {
        let words = region.get(self.start..self.start + self.words)?;
        let has =
            |class: usize| words.get(class / 64).is_some_and(|it| it >> (class % 64) & 1 == 1);
        let set = match &self.lows {
            Lows::Numbers(lows) => {
                let classes = lows.iter().enumerate().filter(|(class, _)| has(*class));
                Set::Numbers(Numbers::new(classes.map(|(class, low)| {
                    let next = lows.get(class + 1);
                    (*low, next.map_or(i64::MAX, |next| next.saturating_sub(1)))
                })))
            }
            Lows::Texts(lows) => {
                let classes = lows.iter().enumerate().filter(|(class, _)| has(*class));
                Set::Texts(Texts::new(classes.map(|(class, low)| {
                    (low.to_vec(), lows.get(class + 1).map(|next| next.to_vec()))
                })))
            }
        };
        Some(Values { set, unknown: has(self.lows.length()) })
    }

    /// A value of the box: unknown where that is left, because a request with less in it is easier
    /// to read; else the number nearest to zero, or the first text that can be written.
    fn pick(&self, region: &[u64]) -> Option<Option<Value>> {
        let words = region.get(self.start..self.start + self.words)?;
        let has =
            |class: usize| words.get(class / 64).is_some_and(|it| it >> (class % 64) & 1 == 1);
        if has(self.lows.length()) {
            return Some(None);
        }
        match &self.lows {
            Lows::Numbers(lows) => {
                let classes = lows.iter().enumerate().filter(|(class, _)| has(*class));
                let nearest = classes.map(|(class, low)| {
                    let high = lows.get(class + 1).map_or(i64::MAX, |next| next.saturating_sub(1));
                    0.clamp(*low, high)
                });
                let nearest = nearest.min_by_key(|number| number.unsigned_abs());
                nearest.map(|number| Some(Value::Number(number)))
            }
            Lows::Texts(lows) => {
                let mut classes = lows.iter().enumerate().filter(|(class, _)| has(*class));
                let found = classes
                    .find_map(|(class, low)| text::member(low, lows.get(class + 1).copied()));
                found.map(|text| Some(Value::Text(text.into())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Literal;
    use super::*;

    /// So many pigeons in one hole less, of which no two may share one.
    fn pigeons(count: i64) -> Problem {
        let mut problem = Problem::default();
        for _ in 0..count {
            problem.domains.push(Values::numbers(1, count - 1));
        }
        for hole in 1..count {
            let elsewhere = |variable: i64| {
                let variable = usize::try_from(variable).unwrap();
                let values = Values::numbers(1, count - 1).without(&Values::numbers(hole, hole));
                Literal { variable, values }
            };
            for one in 0..count {
                for other in 0..one {
                    problem.clauses.push(vec![elsewhere(one), elsewhere(other)]);
                }
            }
        }
        problem
    }

    #[test]
    fn hard_questions_are_given_up_together_when_their_work_is_done() {
        let mut left = u64::MAX;
        assert!(matches!(solve_within(&pigeons(5), 500_000, &mut left), Answer::Refuted(_)));
        let work = u64::MAX - left;
        assert!(work > 500, "{work}");
        left = work * 10;
        for _ in 0..9 {
            assert!(matches!(solve_within(&pigeons(5), 500_000, &mut left), Answer::Refuted(_)));
        }
        // There is work left for half of another.
        left = work / 2;
        assert_eq!(solve_within(&pigeons(5), 500_000, &mut left), Answer::Unknown);
        assert_eq!(left, 0);
        assert_eq!(solve_within(&pigeons(9), 500_000, &mut left), Answer::Unknown);
        left = 100_000;
        assert_eq!(solve_within(&pigeons(12), usize::MAX, &mut left), Answer::Unknown);
    }
}
