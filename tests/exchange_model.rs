//! Every order in which the threads of the exchange can come to run, by loom: nobody sees half of a rule set, or an older one
//! after a newer one; what was published last is found; and each is dropped once, and not before the last who holds it.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use exchange::Exchange;

mod sync {
    pub(super) use std::sync::PoisonError;

    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Arc, Mutex};
}

#[expect(unreachable_pub, reason = "the host's own file, where it is reachable")]
#[path = "../host/src/rule_set/exchange.rs"]
mod exchange;

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
fn judge(exchange: &Exchange<Rules>, events: usize) -> Vec<usize> {
    let mut seen = 0;
    let mut rules = exchange.newer(&mut seen).expect("there are first rules");
    (0..events)
        .map(|_| {
            if let Some(newer) = exchange.newer(&mut seen) {
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
        let exchange = Arc::new(Exchange::new(Rules::new(0, &alive)));
        let judges = [2, 1].map(|events| {
            let exchange = Arc::clone(&exchange);
            thread::spawn(move || judge(&exchange, events))
        });
        for number in 1..=2 {
            exchange.publish(Rules::new(number, &alive));
        }
        assert_eq!(judge(&exchange, 1), [2], "what was published last is found");
        for judge in judges {
            let by = judge.join().expect("it ends");
            assert!(by.is_sorted(), "{by:?}");
        }
        assert_eq!(alive.load(Ordering::Relaxed), 1, "those that were replaced are gone");
        drop(exchange);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn two_who_publish_do_not_lose_each_other() {
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let exchange = Arc::new(Exchange::new(Rules::new(0, &alive)));
        let publisher = {
            let (exchange, alive) = (Arc::clone(&exchange), Arc::clone(&alive));
            thread::spawn(move || exchange.publish(Rules::new(1, &alive)))
        };
        exchange.publish(Rules::new(2, &alive));
        let mut seen = 0;
        let before = exchange.newer(&mut seen).expect("there are rules").first;
        publisher.join().expect("it ends");
        let last = exchange.newer(&mut seen).map_or(before, |rules| rules.first);
        let mut anew = 0;
        assert_eq!(exchange.newer(&mut anew).expect("there are rules").first, last, "all see the same in the end");
        assert_eq!((anew, alive.load(Ordering::Relaxed)), (seen, 1));
    });
}
