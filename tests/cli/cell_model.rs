//! Every order in which the threads of a cell can run, by loom: no reader sees half of a rule set, or an older one after a
//! newer one; the last published one is found; and each is dropped once, after its last reader.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use cell::SwapCell;

mod sync {
    pub(super) use std::sync::PoisonError;

    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Arc, Mutex};
}

#[expect(unreachable_pub, reason = "the host's own file, where it is reachable")]
#[path = "../../host/portcullis/src/rule_set/cell.rs"]
mod cell;

/// What stands for a rule set: its number, twice, and a count of those that live.
struct Rules {
    first: usize,
    second: usize,
    alive: Arc<AtomicUsize>,
}

impl Rules {
    fn new(number: usize, alive: &Arc<AtomicUsize>) -> Arc<Self> {
        alive.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { first: number, second: number, alive: Arc::clone(alive) })
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Judges so many events; which rules judged each.
fn judge(cell: &SwapCell<Rules>, events: usize) -> Vec<usize> {
    let mut seen = 0;
    let mut rules = cell.newer(&mut seen).expect("there are first rules");
    (0..events)
        .map(|_| {
            if let Some(newer) = cell.newer(&mut seen) {
                rules = newer;
            }
            assert_eq!(rules.first, rules.second);
            rules.first
        })
        .collect()
}

#[test]
fn every_event_is_judged_by_one_rule_set_and_none_goes_back() {
    // Of three threads, all orders in which no more than three times one is interrupted by another.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(SwapCell::new(Rules::new(0, &alive)));
        let judges = [2, 1].map(|events| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || judge(&cell, events))
        });
        for number in 1..=2 {
            cell.publish(Rules::new(number, &alive));
        }
        assert_eq!(judge(&cell, 1), [2], "what was published last is found");
        for judge in judges {
            let by = judge.join().expect("it ends");
            assert!(by.is_sorted(), "{by:?}");
        }
        assert_eq!(alive.load(Ordering::Relaxed), 1, "those that were replaced are gone");
        drop(cell);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn two_publishers_do_not_overwrite_each_other() {
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(SwapCell::new(Rules::new(0, &alive)));
        let publisher = {
            let (cell, alive) = (Arc::clone(&cell), Arc::clone(&alive));
            thread::spawn(move || cell.publish(Rules::new(1, &alive)))
        };
        cell.publish(Rules::new(2, &alive));
        let mut seen = 0;
        let before = cell.newer(&mut seen).expect("there are rules").first;
        publisher.join().expect("it ends");
        let last = cell.newer(&mut seen).map_or(before, |rules| rules.first);
        let mut anew = 0;
        assert_eq!(cell.newer(&mut anew).expect("there are rules").first, last, "all see the same in the end");
        assert_eq!((anew, alive.load(Ordering::Relaxed)), (seen, 1));
    });
}
