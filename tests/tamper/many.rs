//! Very many random decisions, each made by the engine, by the written meaning, and again by the
//! verifier from the trail alone.

use super::log::Pen;
use super::story::{Ending, Plot, Story, Told};
use super::{check, number, place};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many there must be of each pair; `CAIO_TRAIL_DECISIONS` asks for more.
const DECISIONS: u64 = 200_000;
/// Of one trail: many of one landscape are cheaper than many landscapes.
const TRAIL: usize = 4000;

/// The engine against the written meaning, and against the verifier, for every decision. The second
/// verifier, which takes hundred times as long, sees a sample: the trails of all other tests.
#[test]
fn engine_meaning_and_verifier_decide_alike() {
    let due = std::env::var("CAIO_TRAIL_DECISIONS").ok();
    let due = due.map_or(DECISIONS, |text| text.parse().unwrap());
    let [next, checked, judged] = [1, 0, 0].map(AtomicU64::new);
    let all = Mutex::new(Told::default());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (next, checked, judged, all) = (&next, &checked, &judged, &all);
            scope.spawn(move || {
                let missing = |count: &AtomicU64| count.load(Ordering::Relaxed) < due;
                while missing(checked) || missing(judged) {
                    let seed = 10_000 + next.fetch_add(1, Ordering::Relaxed);
                    let (told, decisions) = one(seed, worker);
                    checked.fetch_add(decisions, Ordering::Relaxed);
                    judged.fetch_add(told.judged, Ordering::Relaxed);
                    let mut all = all.lock().unwrap();
                    *all = all.and(&told);
                }
            });
        }
    });
    let (checked, told) = (checked.into_inner(), all.into_inner().unwrap());
    println!("{checked} decisions by the verifier, {} by the meaning", told.judged);
    assert!(checked >= due && told.judged >= due, "{checked} {}", told.judged);
    // Both kinds of cells.
    assert!(told.layouts.iter().all(|count| *count > due / 8), "{:?}", told.layouts);
}

/// One trail; how many of its decisions the verifier found right.
fn one(seed: u64, worker: usize) -> (Told, u64) {
    let mut plot = Plot::new(seed, TRAIL);
    plot.boots.insert(0, (TRAIL / 8, Ending::Crash));
    plot.judged = true;
    plot.committed = seed.is_multiple_of(3);
    plot.crowded = seed.is_multiple_of(16);
    plot.decisions_per_landscape = 240;
    // Large ones take most of the time, and are told apart by their cells alone.
    plot.services = if seed.is_multiple_of(8) { 1000 } else { 40 };
    plot.records_per_frame = 200;
    let story = Story::tell(&plot);
    let directory = place(&format!("many-{worker}"));
    story.log.write(&directory, &Pen::new());
    let said = check(&directory);
    assert_eq!(said.code, 0, "seed {seed}: {}", said.text);
    let decided = number(&said, "routes") + number(&said, "denials");
    assert_eq!(decided, story.verdicts[0] + story.verdicts[1], "seed {seed}");
    let _ = std::fs::remove_dir_all(directory);
    (story.told, decided)
}
