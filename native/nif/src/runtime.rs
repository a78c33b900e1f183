//! The one runtime of the VM, in a slot that can be emptied and filled again.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender};
use once_cell::sync::Lazy;
use palladion_driver::Cluster;
use tokio::runtime::{Builder, Handle, Runtime};

static SLOT: Lazy<Mutex<Option<Engine>>> = Lazy::new(Mutex::default);

/// Answers that may wait for a decoder thread; more are decoded where they were read.
const DECODE_QUEUE: usize = 64;

/// A runtime and its decoder threads.
struct Engine {
    runtime: Runtime,
    access: Access,
    decoders: Vec<JoinHandle<()>>,
    clusters: Vec<Weak<Cluster>>,
}

/// What a cluster needs of the engine. Outlives it: then what is spawned is dropped.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) handle: Handle,
    decode: Sender<Job>,
}

enum Job {
    Decode(Box<dyn FnOnce() + Send>),
    Stop,
}

/// How many threads to start, if none run yet.
#[derive(Clone, Copy)]
pub(crate) struct Threads {
    pub(crate) workers: usize,
    pub(crate) decoders: usize,
}

impl Access {
    /// Decodes on a decoder thread, or here while all are busy: a runtime thread never blocks.
    pub(crate) fn decode(&self, job: Box<dyn FnOnce() + Send>) {
        if let Err(refused) = self.decode.try_send(Job::Decode(job)) {
            if let Job::Decode(job) = refused.into_inner() {
                job();
            }
        }
    }
}

/// Gives access to the runtime, which is started if it doesn't run.
pub(crate) fn access(threads: Threads) -> std::io::Result<Access> {
    let mut slot = lock();
    if let Some(engine) = slot.as_ref() {
        return Ok(engine.access.clone());
    }
    let engine = Engine::start(threads)?;
    let access = engine.access.clone();
    *slot = Some(engine);
    Ok(access)
}

/// Notes a cluster, so that it's closed if it still runs when the runtime stops.
pub(crate) fn register(cluster: &Arc<Cluster>) {
    if let Some(engine) = lock().as_mut() {
        engine.clusters.retain(|known| known.strong_count() > 0);
        engine.clusters.push(Arc::downgrade(cluster));
    }
}

/// Closes what still runs and stops the runtime, within about `limit`. The work is done on a
/// thread of its own, for nothing of it may be dropped on a scheduler.
pub(crate) fn stop(limit: Duration) {
    let Some(engine) = lock().take() else {
        return;
    };
    let (done, wait) = bounded(1);
    let stopper = std::thread::Builder::new()
        .name("palladion-stop".to_owned())
        .spawn(move || {
            engine.stop(limit);
            let _ = done.send(());
        });
    if stopper.is_ok() {
        let _ = wait.recv_timeout(limit * 2);
    }
}

impl Engine {
    fn start(threads: Threads) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.workers.max(1))
            .max_blocking_threads(MAX_BLOCKING)
            .thread_name("palladion-io")
            .enable_all()
            .build()?;
        let (decode, jobs) = bounded(DECODE_QUEUE);
        let decoders = (0..threads.decoders.max(1))
            .map(|_| {
                let jobs = jobs.clone();
                std::thread::Builder::new()
                    .name("palladion-decode".to_owned())
                    .spawn(move || decode_all(&jobs))
            })
            .collect::<Result<_, _>>()?;
        let handle = runtime.handle().clone();
        Ok(Self {
            runtime,
            access: Access { handle, decode },
            decoders,
            clusters: Vec::new(),
        })
    }

    fn stop(self, limit: Duration) {
        let running: Vec<_> = self.clusters.iter().filter_map(Weak::upgrade).collect();
        self.runtime.block_on(async {
            for cluster in &running {
                cluster.close_now();
            }
            let closed = async {
                for cluster in &running {
                    cluster.close(Duration::ZERO).await;
                }
            };
            let _ = tokio::time::timeout(limit / 2, closed).await;
        });
        drop(running);
        self.runtime.shutdown_timeout(limit / 2);
        // Nothing can be queued any more; what is queued is decoded before the threads stop.
        for _ in &self.decoders {
            let _ = self.access.decode.send(Job::Stop);
        }
        for decoder in self.decoders {
            let _ = decoder.join();
        }
    }
}

/// Threads for name lookups, and one of them for a login that takes long to compute.
const MAX_BLOCKING: usize = 4;

fn decode_all(jobs: &Receiver<Job>) {
    while let Ok(Job::Decode(job)) = jobs.recv() {
        // A reply that is dropped by a panic answers its caller.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

fn lock() -> MutexGuard<'static, Option<Engine>> {
    SLOT.lock().unwrap_or_else(PoisonError::into_inner)
}
