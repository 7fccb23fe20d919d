//! The queue of what is to be judged. Clients take turns, and one that uses a lot of the processors' time is judged by
//! threads of lower priority, so that the others do not notice it.

use std::collections::{HashMap, VecDeque};
use std::f64::consts::LN_2;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time in which half of what a client has used is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// The part of all processors' time beyond which a client is heavy.
const HEAVY: f64 = 0.25;

/// Which tasks a thread takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// All of them.
    Only,
    /// Those of clients that are not heavy.
    Light,
    /// Those of heavy clients.
    Heavy,
}

/// A queue of tasks of clients.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// The clients whose tasks wait, in the order of their turns.
    waiting: VecDeque<(Arc<str>, VecDeque<T>)>,
    clients: HashMap<Arc<str>, Usage>,
    /// The number of threads that may be busy at once.
    threads: u32,
    is_closed: bool,
}

/// What a client uses.
struct Usage {
    /// The number of its tasks that are being done, by light and heavy threads.
    running: [usize; 2],
    /// The seconds that its tasks took lately, also those that are being done.
    seconds: f64,
    /// The time at which `seconds` was right.
    at: Instant,
}

/// The number of clients beyond which those that have not used anything lately are forgotten.
const REMEMBERED: usize = 1_000;

/// A task that is being done, until this is dropped.
pub(super) struct Turn<'q, T> {
    queue: &'q Queue<T>,
    client: Arc<str>,
    lane: Lane,
}

impl<T> Queue<T> {
    /// Returns an empty queue for a service that may keep this many processors busy.
    pub(super) fn new(threads: u32) -> Self {
        let state = State { waiting: VecDeque::new(), clients: HashMap::new(), threads, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task of a client.
    pub(super) fn push(&self, client: &Arc<str>, task: T) {
        self.lock().push(client, task);
        // Threads of another lane may be woken in vain.
        self.changed.notify_all();
    }

    /// Waits for the next task of a lane; `None` if the queue is closed.
    pub(super) fn next(&self, lane: Lane) -> Option<(T, Turn<'_, T>)> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some((client, task)) = state.take(lane, Instant::now()) {
                return Some((task, Turn { queue: self, client, lane }));
            }
            // A client may become light while its tasks wait, and nothing else may happen.
            state = self.changed.wait_timeout(state, HALF_LIFE / 10).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes the queue. Tasks that wait are not done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

/// Returns the number of threads of the two lanes for a service that may keep this many processors busy. A client leaves
/// a thread of each lane to others.
pub(super) fn lanes(threads: u32) -> (usize, usize) {
    (threads.max(2) as usize, threads as usize + 1)
}

impl<T> State<T> {
    fn push(&mut self, client: &Arc<str>, task: T) {
        match self.waiting.iter_mut().find(|(waiting, _)| waiting == client) {
            Some((_, tasks)) => tasks.push_back(task),
            None => self.waiting.push_back((Arc::clone(client), VecDeque::from([task]))),
        }
    }

    /// Takes the next task of the first client that may have another one done. The client's next turn is the last.
    fn take(&mut self, lane: Lane, now: Instant) -> Option<(Arc<str>, T)> {
        let (light, heavy) = lanes(self.threads);
        let most = [light - 1, heavy - 1];
        let heavy_seconds = HEAVY * f64::from(self.threads) * HALF_LIFE.as_secs_f64() / LN_2;
        if self.clients.len() > REMEMBERED {
            self.clients.retain(|_, usage| usage.running != [0; 2] || usage.seconds_at(now) > 0.01);
        }
        let busy: usize = self.clients.values().map(|usage| usage.running[0]).sum();
        let may = |(client, _): &(Arc<str>, _)| {
            let usage = self.clients.get(client);
            let is_heavy = usage.is_some_and(|usage| usage.seconds_at(now) > heavy_seconds);
            let running = usage.map_or([0; 2], |usage| usage.running);
            // If all light threads are busy, heavy ones help those that have none.
            let is_helped = lane == Lane::Heavy && busy >= light && running == [0; 2];
            let is_of_lane = is_heavy == (lane == Lane::Heavy) || is_helped;
            lane == Lane::Only || (is_of_lane && running[lane.number()] < most[lane.number()])
        };
        let (client, mut tasks) = self.waiting.remove(self.waiting.iter().position(may)?)?;
        let task = tasks.pop_front()?;
        if !tasks.is_empty() {
            self.waiting.push_back((Arc::clone(&client), tasks));
        }
        let usage = self.clients.entry(Arc::clone(&client));
        let usage = usage.or_insert(Usage { running: [0; 2], seconds: 0.0, at: now });
        usage.update(now);
        usage.running[lane.number()] += 1;
        Some((client, task))
    }

    /// Notes that a task of a client is done.
    fn done(&mut self, client: &Arc<str>, lane: Lane, now: Instant) {
        if let Some(usage) = self.clients.get_mut(client) {
            usage.update(now);
            usage.running[lane.number()] -= 1;
        }
    }
}

impl Usage {
    /// Returns the seconds that count at a time: half of them are forgotten in each half-life, and tasks that are being done
    /// add theirs.
    fn seconds_at(&self, now: Instant) -> f64 {
        let passed = now.duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        let kept = (-passed).exp2();
        let running = self.running.iter().sum::<usize>();
        let added = f64::from(u32::try_from(running).unwrap_or(u32::MAX)) * HALF_LIFE.as_secs_f64() / LN_2;
        self.seconds * kept + added * (1.0 - kept)
    }

    fn update(&mut self, now: Instant) {
        self.seconds = self.seconds_at(now);
        self.at = now;
    }
}

impl Lane {
    fn number(self) -> usize {
        usize::from(self == Self::Heavy)
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.queue.lock().done(&self.client, self.lane, Instant::now());
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_and_leave_a_thread_to_others() {
        let queue = Queue::new(3);
        let [greedy, modest]: [Arc<str>; 2] = ["greedy".into(), "modest".into()];
        (0..5).for_each(|n| queue.push(&greedy, n));
        let turns: Vec<_> = (0..2).map(|_| queue.next(Lane::Light).expect("a task")).collect();
        (10..12).for_each(|n| queue.push(&modest, n));
        let next = queue.next(Lane::Light).expect("a task");
        assert_eq!((turns[0].0, turns[1].0, next.0), (0, 1, 10), "the greedy one has two threads of three");
        drop((turns, next));
        let next = || queue.next(Lane::Light).expect("a task").0;
        assert_eq!([next(), next(), next(), next()], [2, 11, 3, 4]);
        queue.close();
        assert!(queue.next(Lane::Light).is_none());
    }

    #[test]
    fn a_client_that_uses_a_lot_of_time_is_heavy_until_it_rests() {
        let (mut state, now) = (Queue::new(2).state.into_inner().expect("no panic"), Instant::now());
        let [greedy, modest]: [Arc<str>; 2] = ["greedy".into(), "modest".into()];
        for n in 0..6 {
            state.push(&greedy, n);
            state.push(&modest, 10 + n);
        }
        let task = |taken: Option<(Arc<str>, i32)>| taken.map(|(_, task)| task);
        assert_eq!(task(state.take(Lane::Heavy, now)), None, "nobody is heavy yet");
        assert_eq!([task(state.take(Lane::Light, now)), task(state.take(Lane::Light, now))], [Some(0), Some(10)]);
        // Its first task takes two seconds and goes on.
        let later = now + 2 * HALF_LIFE;
        state.done(&modest, Lane::Light, now + HALF_LIFE / 100);
        assert_eq!([task(state.take(Lane::Heavy, later)), task(state.take(Lane::Heavy, later))], [Some(1), Some(2)]);
        assert_eq!(task(state.take(Lane::Heavy, later)), None, "all processors are its, at the most");
        assert_eq!([task(state.take(Lane::Light, later)), task(state.take(Lane::Light, later))], [Some(11), None]);
        for lane in [Lane::Light, Lane::Heavy, Lane::Heavy] {
            state.done(&greedy, lane, later);
        }
        state.done(&modest, Lane::Light, later);
        assert_eq!(task(state.take(Lane::Light, later + 8 * HALF_LIFE)), Some(3), "it is light again");
    }

    #[test]
    fn heavy_threads_help_if_all_others_are_busy() {
        let (mut state, now) = (Queue::new(2).state.into_inner().expect("no panic"), Instant::now());
        let clients: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
        (0..2).for_each(|n| state.push(&clients[n], n));
        (10..12).for_each(|n| state.push(&clients[0], n));
        let take = |state: &mut State<_>, lane| state.take(lane, now).map(|(_, task)| task);
        assert_eq!([(); 2].map(|()| take(&mut state, Lane::Light)), [Some(0), Some(1)]);
        assert_eq!(take(&mut state, Lane::Heavy), None, "who has a thread is not helped");
        state.push(&clients[2], 2);
        assert_eq!(take(&mut state, Lane::Heavy), Some(2));
    }
}
