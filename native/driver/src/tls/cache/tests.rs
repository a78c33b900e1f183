//! The clock is the tests' own, and sessions are numbers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;

const TTL: u64 = 100;
const SIZE: usize = 3;
const TICKETS: usize = 4;
/// Seconds since 1970 when the tests begin.
const BEGIN: u64 = 1_000_000;

type Numbers = Cache<u8, u64, u64>;

struct Fixture {
    cache: Arc<Numbers>,
    /// Seconds since the begin.
    time: Arc<AtomicU64>,
    told: Arc<Mutex<HashMap<SessionChange, u64>>>,
    started: Instant,
}

fn fixture() -> Fixture {
    let started = Instant::now();
    let time = Arc::new(AtomicU64::new(0));
    let told = Arc::new(Mutex::new(HashMap::new()));
    let clock = {
        let time = Arc::clone(&time);
        move || {
            let passed = time.load(Ordering::SeqCst);
            Now {
                instant: started + Duration::from_secs(passed),
                unix: BEGIN + passed,
            }
        }
    };
    let observer = {
        let told: Arc<Mutex<HashMap<_, _>>> = Arc::clone(&told);
        move |_: &u8, change, count| *told.lock().unwrap().entry(change).or_insert(0) += count
    };
    let limits = Limits {
        size: NonZeroUsize::new(SIZE).unwrap(),
        tickets: TICKETS,
        ttl: Duration::from_secs(TTL),
    };
    Fixture {
        cache: Arc::new(Cache::new(limits, Arc::new(clock), Box::new(observer))),
        time,
        told,
        started,
    }
}

impl Fixture {
    fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    fn passed(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    fn told(&self, change: SessionChange) -> u64 {
        self.told.lock().unwrap().get(&change).copied().unwrap_or(0)
    }

    /// A lineage that ends so many seconds after the begin by its certificates, and by the limit.
    fn lineage(&self, not_after: u64, ends: u64) -> Lineage {
        Lineage {
            not_after: BEGIN + not_after,
            ends: self.started + Duration::from_secs(ends),
            shown: false,
        }
    }

    fn endless(&self) -> Lineage {
        self.lineage(1_000_000, 1_000_000)
    }

    fn store_once(&self, key: u8, sessions: &[u64]) {
        let sessions = sessions.iter().copied().map(Session::Once).collect();
        self.cache.store(&key, sessions, self.endless());
    }

    fn store_reusable(&self, key: u8, session: u64) {
        let sessions = vec![Session::Reusable(session)];
        self.cache.store(&key, sessions, self.endless());
    }

    fn take(&self, key: u8) -> Option<u64> {
        self.cache.take(&key).map(|(session, _)| session)
    }

    fn reusable(&self, key: u8) -> Option<u64> {
        self.cache.reusable(&key).map(|(session, _)| session)
    }
}

#[test]
fn a_ticket_serves_once_and_the_newest_first() {
    let f = fixture();
    f.store_once(1, &[10, 11]);
    assert_eq!(f.cache.resumable(&1), 2);
    assert_eq!(
        (f.take(1), f.take(1), f.take(1)),
        (Some(11), Some(10), None)
    );
    assert_eq!(f.take(2), None);
}

#[test]
fn a_tls12_session_serves_until_another_takes_its_place() {
    let f = fixture();
    f.store_reusable(1, 10);
    assert_eq!((f.reusable(1), f.reusable(1)), (Some(10), Some(10)));
    assert_eq!(f.cache.resumable(&1), usize::MAX);
    f.store_reusable(1, 11);
    assert_eq!(f.reusable(1), Some(11));
    f.cache.remove_reusable(&1);
    assert_eq!(f.reusable(1), None);
}

#[test]
fn a_session_ends_with_its_time_to_live() {
    let f = fixture();
    f.store_once(1, &[10]);
    f.store_reusable(2, 20);
    f.pass(TTL - 1);
    assert_eq!((f.cache.resumable(&1), f.reusable(2)), (1, Some(20)));
    f.pass(1);
    assert_eq!((f.take(1), f.reusable(2)), (None, None));
    assert_eq!(f.told(SessionChange::Expired), 2);
}

#[test]
fn a_session_ends_with_its_lineage() {
    let f = fixture();
    let tickets = |session| vec![Session::Once(session)];
    f.cache.store(&1, tickets(10), f.lineage(50, 1_000));
    f.cache.store(&2, tickets(20), f.lineage(1_000, 50));
    f.pass(49);
    assert_eq!((f.cache.resumable(&1), f.cache.resumable(&2)), (1, 1));
    f.pass(2);
    assert_eq!((f.take(1), f.take(2)), (None, None));
    assert_eq!(f.told(SessionChange::LineageExpired), 2);
    // One that is over is not stored at all.
    f.cache.store(&1, tickets(11), f.lineage(50, 1_000));
    assert_eq!(f.told(SessionChange::Stored), 2);
}

#[test]
fn the_lineage_comes_with_the_session() {
    let f = fixture();
    let lineage = f.lineage(50, 60);
    f.cache.store(&1, vec![Session::Once(10)], lineage);
    f.cache.store(&1, vec![Session::Reusable(11)], lineage);
    assert_eq!(f.cache.take(&1), Some((10, lineage)));
    assert_eq!(f.cache.reusable(&1), Some((11, lineage)));
}

#[test]
fn the_least_recently_used_key_makes_room() {
    let f = fixture();
    for key in 1..=3 {
        f.store_once(key, &[u64::from(key)]);
    }
    // A use, and a look, which is none.
    f.cache.hint(&1);
    assert_eq!(f.cache.resumable(&2), 1);
    f.store_once(4, &[4]);
    assert_eq!((f.take(2), f.take(1), f.take(4)), (None, Some(1), Some(4)));
    assert_eq!(f.told(SessionChange::Evicted), 1);
}

#[test]
fn the_oldest_ticket_of_a_key_makes_room() {
    let f = fixture();
    f.store_once(1, &[1, 2, 3, 4, 5]);
    assert_eq!(f.told(SessionChange::Evicted), 1);
    let taken: Vec<_> = std::iter::from_fn(|| f.take(1)).collect();
    assert_eq!(taken, [5, 4, 3, 2]);
}

#[test]
fn purging_keeps_other_keys_and_the_hint() {
    let f = fixture();
    f.store_once(1, &[10, 11]);
    f.store_reusable(1, 12);
    f.store_once(2, &[20]);
    f.cache.set_hint(&1, NamedGroup::X25519);
    f.cache.purge(&1);
    f.cache.purge(&3);
    assert_eq!(
        (f.take(1), f.reusable(1), f.take(2)),
        (None, None, Some(20))
    );
    assert_eq!(f.cache.hint(&1), Some(NamedGroup::X25519));
    assert_eq!(f.told(SessionChange::Purged), 3);
}

#[test]
fn what_was_stored_later_survives_a_purge_of_what_was_before() {
    let f = fixture();
    f.store_once(1, &[10]);
    f.pass(1);
    let before = f.cache.now().instant;
    f.store_once(1, &[11]);
    f.cache.purge_before(&1, before);
    f.cache.purge_before(&2, before);
    assert_eq!((f.take(1), f.take(1)), (Some(11), None));
    assert_eq!(f.told(SessionChange::Purged), 1);
}

#[test]
fn a_closed_cache_gives_and_takes_nothing_but_its_hints() {
    let f = fixture();
    f.store_once(1, &[10]);
    f.cache.set_hint(&1, NamedGroup::X25519);
    f.cache.set_hint(&2, NamedGroup::secp384r1);
    let hints = f.cache.close();
    assert_eq!(hints, [(1, NamedGroup::X25519), (2, NamedGroup::secp384r1)]);
    f.store_once(1, &[11]);
    f.cache.set_hint(&1, NamedGroup::X25519);
    assert_eq!(
        (f.take(1), f.cache.hint(&1), f.cache.len()),
        (None, None, 0)
    );
    assert_eq!(f.told(SessionChange::Purged), 1);
    assert_eq!(f.told(SessionChange::Stored), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Once { key: u8, count: u8, lineage: u64 },
    Reusable { key: u8, lineage: u64 },
    Take(u8),
    Reuse(u8),
    Remove(u8),
    Purge(u8),
    Hint(u8),
    Pass(u64),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6u8;
    let step = prop_oneof![
        4 => (key.clone(), 0..8u8, 0..200u64)
            .prop_map(|(key, count, lineage)| Step::Once { key, count, lineage }),
        3 => (key.clone(), 0..200u64).prop_map(|(key, lineage)| Step::Reusable { key, lineage }),
        4 => key.clone().prop_map(Step::Take),
        2 => key.clone().prop_map(Step::Reuse),
        1 => key.clone().prop_map(Step::Remove),
        1 => key.clone().prop_map(Step::Purge),
        1 => key.prop_map(Step::Hint),
        2 => (0..60u64).prop_map(Step::Pass),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..80)
}

/// What is known of each session that was ever stored.
#[derive(Clone, Copy)]
struct Known {
    key: u8,
    at: u64,
    ends: u64,
    dead: bool,
}

struct Model {
    known: HashMap<u64, Known>,
    closed: bool,
}

impl Model {
    fn new_session(&mut self, key: u8, at: u64, ends: u64) -> u64 {
        let number = self.known.len() as u64;
        let dead = self.closed;
        self.known.insert(
            number,
            Known {
                key,
                at,
                ends,
                dead,
            },
        );
        number
    }

    /// Whether a session may be handed out.
    fn check(&self, session: u64, key: u8, now: u64) {
        let known = self.known[&session];
        assert!(!known.dead, "it was taken, purged or replaced");
        assert_eq!(known.key, key, "of another key");
        assert!(now < known.at + TTL, "too old");
        assert!(now <= known.ends, "of a lineage that is over");
    }

    fn kill(&mut self, dead: impl Fn(u64, &Known) -> bool) {
        for (number, known) in &mut self.known {
            known.dead |= dead(*number, known);
        }
    }
}

proptest! {
    /// Whatever happens in whatever order: within its bounds, and nothing is handed out that was
    /// taken, purged, replaced, is too old or of a lineage that is over.
    #[test]
    fn bounds_hold_under_any_order_of_events(steps in steps()) {
        let f = fixture();
        let mut model = Model { known: HashMap::new(), closed: false };
        let mut reusable: HashSet<u64> = HashSet::new();
        for step in steps {
            let now = f.passed();
            match step {
                Step::Once { key, count, lineage } => {
                    let ends = now + lineage;
                    let sessions = (0..count)
                        .map(|_| Session::Once(model.new_session(key, now, ends)))
                        .collect();
                    f.cache.store(&key, sessions, f.lineage(ends, 1_000_000));
                }
                Step::Reusable { key, lineage } => {
                    let ends = now + lineage;
                    let session = model.new_session(key, now, ends);
                    model.kill(|n, known| {
                        n != session && known.key == key && reusable.contains(&n)
                    });
                    reusable.insert(session);
                    let sessions = vec![Session::Reusable(session)];
                    f.cache.store(&key, sessions, f.lineage(ends, 1_000_000));
                }
                Step::Take(key) => if let Some(session) = f.take(key) {
                    model.check(session, key, now);
                    model.kill(|n, _| n == session);
                },
                Step::Reuse(key) => if let Some(session) = f.reusable(key) {
                    model.check(session, key, now);
                },
                Step::Remove(key) => {
                    f.cache.remove_reusable(&key);
                    model.kill(|n, known| known.key == key && reusable.contains(&n));
                }
                Step::Purge(key) => {
                    f.cache.purge(&key);
                    model.kill(|_, known| known.key == key);
                }
                Step::Hint(key) => f.cache.set_hint(&key, NamedGroup::X25519),
                Step::Pass(seconds) => f.pass(seconds),
                Step::Close => {
                    f.cache.close();
                    model.closed = true;
                    model.kill(|_, _| true);
                }
            }
            prop_assert!(f.cache.len() <= SIZE);
            for key in 0..6 {
                let once = f.cache.lock().by_key.peek(&key).map_or(0, |entry| entry.once.len());
                prop_assert!(once <= TICKETS);
            }
        }
    }
}

#[test]
fn many_threads_never_get_the_same_ticket() {
    const THREADS: u64 = 8;
    const EACH: u64 = 2_000;
    let f = fixture();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let cache = Arc::clone(&f.cache);
            let lineage = f.endless();
            thread::spawn(move || {
                let mut taken = Vec::new();
                for i in 0..EACH {
                    let session = thread * EACH + i;
                    cache.store(&1, vec![Session::Once(session)], lineage);
                    if i % 97 == 0 {
                        cache.purge(&1);
                    }
                    taken.extend(cache.take(&1).map(|(session, _)| session));
                }
                taken
            })
        })
        .collect();
    let taken: Vec<u64> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let different: HashSet<_> = taken.iter().collect();
    assert_eq!(different.len(), taken.len());
    let left = f.cache.resumable(&1) as u64;
    let lost = f.told(SessionChange::Evicted) + f.told(SessionChange::Purged);
    assert_eq!(taken.len() as u64 + left + lost, THREADS * EACH);
    assert_eq!(f.told(SessionChange::Stored), THREADS * EACH);
}
