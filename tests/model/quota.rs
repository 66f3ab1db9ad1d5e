//! The table of quotas in every order of two or three workers' steps that C11 allows: loom runs the
//! very file that the gateway is built from, `src/balance/table.rs`.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "a test, with no outside, that panics where it fails"
)]

#[path = "../../src/balance/rate.rs"]
mod rate;
#[path = "../../src/balance/table.rs"]
mod table;

mod atomics {
    pub use loom::sync::atomic::{AtomicU64, Ordering};

    /// Lets the others go on: whoever holds a claim is one of them.
    pub fn spin_loop() {
        loom::thread::yield_now();
    }
}

use loom::sync::Arc;
use loom::thread;
use rate::Rate;
use table::{Bucket, Denied, InFlight, Table};

const ONE: Rate = Rate { interval_ns: 1 << 40, burst: 1 };
const TWO: Rate = Rate { interval_ns: 1 << 40, burst: 2 };

fn model(steps: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(steps);
}

fn takes(table: &Table, key: u64, rate: Rate, now_ns: u64) -> u32 {
    u32::from(table.change(key, &Bucket { rate, now_ns }).is_ok())
}

#[test]
fn two_workers_that_bring_one_key_share_one_bucket() {
    model(|| {
        let table = Arc::new(Table::new(1, 2));
        let other = Arc::clone(&table);
        let there = thread::spawn(move || takes(&other, 7, ONE, 5));
        let here = takes(&table, 7, ONE, 5);
        assert_eq!(here + there.join().unwrap(), 1, "one token, one call");
    });
}

#[test]
fn of_a_known_bucket_nothing_is_taken_twice_nor_lost() {
    model(|| {
        let table = Arc::new(Table::new(1, 1));
        let kept = takes(&table, 7, TWO, 5);
        let other = Arc::clone(&table);
        let there = thread::spawn(move || takes(&other, 7, TWO, 5));
        let here = takes(&table, 7, TWO, 5);
        assert_eq!(kept + here + there.join().unwrap(), 2);
    });
}

/// The bucket of 7 is full again at 100 and has the only place. One worker takes of it, another
/// brings 8 in: whichever comes first, nobody's call is forgotten.
#[test]
fn a_place_changes_hands_without_losing_a_call() {
    model(|| {
        let rate = Rate { interval_ns: 50, burst: 1 };
        let table = Arc::new(Table::new(1, 1));
        assert_eq!(takes(&table, 7, rate, 50), 1);
        let other = Arc::clone(&table);
        let there = thread::spawn(move || takes(&other, 8, rate, 100));
        let here = takes(&table, 7, rate, 100);
        let again = takes(&table, 7, rate, 100);
        let there = there.join().unwrap();
        assert!(here + again <= 1, "the token of 7 was taken twice");
        assert!(here + there >= 1, "somebody had the place");
        // Who has the place has its whole debt on record; the other does not get it.
        assert_eq!(takes(&table, 7, rate, 101) + takes(&table, 8, rate, 101), 0);
    });
}

/// The same with tokens to spare: what is taken of one must not be taken off the other's. The third
/// token is what lets the model see a key that is told too late: with two, the law refuses who
/// takes the new state for the old key's.
#[test]
fn who_loses_the_place_takes_nothing_of_who_has_it() {
    model(|| {
        let rate = Rate { interval_ns: 50, burst: 3 };
        let table = Arc::new(Table::new(1, 1));
        assert_eq!(takes(&table, 7, rate, 50), 1);
        let other = Arc::clone(&table);
        let there = thread::spawn(move || takes(&other, 8, rate, 100));
        let here = takes(&table, 7, rate, 100);
        let there = there.join().unwrap();
        assert_eq!(here + there, 1, "one of them has the only place");
        let (key, wrong) = if here == 1 { (7, 8) } else { (8, 7) };
        assert_eq!(takes(&table, wrong, rate, 101), 0);
        assert_eq!(takes(&table, key, rate, 101), 1, "its other token is still there");
    });
}

#[test]
fn calls_in_flight_are_bounded_whoever_has_the_place() {
    model(|| {
        let law = InFlight { most: 1 };
        let table = Arc::new(Table::new(1, 1));
        let (place, _) = table.change(7, &law).unwrap();
        table.give_back(place);
        let other = Arc::clone(&table);
        let there = thread::spawn(move || {
            let got = other.change(8, &law);
            if let Ok((place, _)) = got {
                other.give_back(place);
            }
            got.is_ok()
        });
        let first = table.change(7, &law);
        if first.is_ok() {
            let second = table.change(7, &law);
            assert!(matches!(second, Err(Denied::Refused(()) | Denied::Full)), "{second:?}");
        }
        let there = there.join().unwrap();
        assert!(there || first.is_ok());
        if first.is_ok() {
            let others = table.change(8, &law);
            assert!(matches!(others, Err(Denied::Full)), "7 has the place: {others:?}");
        }
        if let Ok((place, _)) = first {
            table.give_back(place);
        }
        assert_eq!(table.len(&law), 0, "all was given back");
    });
}
