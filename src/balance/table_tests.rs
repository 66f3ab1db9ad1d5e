//! A small table against a map that forgets nothing.

use super::rate::Rate;
use super::table::{Bucket, Denied, InFlight, Table};
use std::collections::BTreeMap;

#[test]
fn a_table_that_forgets_what_is_spent_decides_as_one_that_forgets_nothing() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut full = 0;
    for _ in 0..300 {
        let rate = Rate { interval_ns: random.u64(1..40), burst: random.u64(1..6) };
        let table = Table::new(random.usize(1..4), random.usize(1..5));
        let mut kept: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut now, pace) = (1, random.u64(1..60));
        for _ in 0..500 {
            now += random.u64(0..pace);
            let key = random.u64(1..30);
            let state = kept.get(&key).copied().unwrap_or(0);
            match (table.change(key, &Bucket { rate, now_ns: now }), rate.take(state, now)) {
                (Ok((_, got)), Ok(due)) => {
                    // A renewed place may be a nanosecond late, never early.
                    assert!(got == due || got == due + 1, "{got} {due}");
                    kept.insert(key, got);
                }
                (Err(Denied::Refused(got)), Err(due)) => assert_eq!(got, due),
                (Err(Denied::Refused(1)), Ok(_)) => {}
                (Err(Denied::Full), _) => full += 1,
                (got, due) => panic!("{got:?} instead of {due:?}"),
            }
        }
    }
    assert!(full > 100, "small tables do fill: {full}");
}

#[test]
fn counts_are_given_back_and_then_their_places() {
    let table = Table::new(1, 2);
    let law = InFlight { most: 2 };
    let (one, _) = table.change(1, &law).unwrap();
    let (again, _) = table.change(1, &law).unwrap();
    assert_eq!(one, again);
    assert_eq!(table.change(1, &law), Err(Denied::Refused(())));
    table.change(2, &law).unwrap();
    assert_eq!(table.change(3, &law), Err(Denied::Full), "nobody may be forgotten");
    table.give_back(one);
    assert_eq!(table.change(3, &law), Err(Denied::Full));
    table.give_back(one);
    assert_eq!(table.len(&law), 1);
    let (third, _) = table.change(3, &law).unwrap();
    assert_eq!(third, one, "the place that was given back");
    assert_eq!(table.change(1, &law), Err(Denied::Full));
}

#[test]
fn a_hundred_thousand_keys_that_pass_leave_room_for_more() {
    let table = Table::new(64, 16);
    let rate = Rate { interval_ns: 10, burst: 3 };
    for number in 1..=100_000 {
        let law = Bucket { rate, now_ns: number };
        assert!(table.change(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), &law).is_ok());
        assert!(table.len(&law) <= 10, "tokens come back after ten");
    }
}

#[test]
fn threads_take_exactly_what_there_is() {
    let table = Table::new(4, 4);
    let rate = Rate { interval_ns: 1 << 40, burst: 500 };
    let taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let law = Bucket { rate, now_ns: 7 };
                    (0..4_000).filter(|n| table.change(1 + n % 7, &law).is_ok()).count() as u64
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 7 * 500);
}
