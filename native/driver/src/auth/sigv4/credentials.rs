//! Credentials of Amazon Web Services, kept for as long as they are good.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
#[cfg(feature = "sigv4")]
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::auth::callbacks::{Answered, Callbacks, Conversation, Question, Unanswered};
use crate::error::LoginProblem;
use crate::{Event, EventSink, Failure, Secret};

#[cfg(test)]
mod tests;

/// A key with what belongs to it: always taken as one, for they change together.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
    /// The key's name.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// What temporary ones come with.
    pub session_token: Option<Secret>,
    /// When they are no longer good; nothing if that is not known.
    pub expires_at: Option<SystemTime>,
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum AwsSource {
    /// Always the same.
    Static(Arc<AwsCredentials>),
    /// The user is asked.
    Ask,
    /// The places where Amazon's own programs look.
    #[cfg(feature = "sigv4")]
    Chain(super::ChainConfig),
}

/// Renewed so long before the end, or after two thirds of a shorter life.
const EARLY: Duration = Duration::from_secs(600);
/// Not used so near the end, or in the last tenth of a shorter life: the server checks later.
const LATE: Duration = Duration::from_secs(10);
/// The longest pause before another attempt to renew.
const AGAIN: Duration = Duration::from_secs(30);
/// The shortest one.
const SOON: Duration = Duration::from_millis(50);

/// What was fetched.
struct Held {
    credentials: Arc<AwsCredentials>,
    /// When to renew it, and until when it may be used; nothing if it does not expire.
    life: Option<Life>,
}

#[derive(Clone, Copy)]
struct Life {
    renew_at: SystemTime,
    usable_until: SystemTime,
}

impl Held {
    fn is_usable(&self) -> bool {
        let now = SystemTime::now();
        self.life.is_some_and(|life| now < life.usable_until)
    }
}

/// What came of a fetch.
type Outcome = Result<Arc<Held>, LoginProblem>;

/// Fetches credentials, one fetch at a time, and renews them before they expire.
pub(crate) struct Keeper {
    source: AwsSource,
    #[cfg_attr(not(feature = "sigv4"), allow(dead_code))]
    region: String,
    callbacks: Arc<dyn Callbacks>,
    events: Arc<dyn EventSink>,
    limit: Duration,
    held: ArcSwapOption<Held>,
    /// The fetch under way, or the last one. It goes on when those who asked for it have gone.
    flight: Mutex<Option<watch::Receiver<Option<Outcome>>>>,
    /// The task that renews what is held.
    renewal: Mutex<Option<Renewal>>,
}

struct Renewal {
    of: Arc<Held>,
    task: AbortHandle,
}

impl Keeper {
    pub(crate) fn new(
        source: AwsSource,
        region: &str,
        callbacks: &Arc<dyn Callbacks>,
        events: &Arc<dyn EventSink>,
        limit: Duration,
    ) -> Self {
        Self {
            source,
            region: region.to_owned(),
            callbacks: Arc::clone(callbacks),
            events: Arc::clone(events),
            limit,
            held: ArcSwapOption::empty(),
            flight: Mutex::new(None),
            renewal: Mutex::new(None),
        }
    }

    /// Credentials that are good now.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<Arc<AwsCredentials>, Failure> {
        if let AwsSource::Static(credentials) = &self.source {
            return Ok(Arc::clone(credentials));
        }
        let held = match self.held.load_full().filter(|held| held.is_usable()) {
            Some(held) => held,
            None => self.fetch().await?,
        };
        self.renew_later(&held);
        Ok(Arc::clone(&held.credentials))
    }

    /// The next one who asks gets others, if there are.
    pub(crate) fn forget(&self) {
        self.held.store(None);
    }

    /// Those who ask while a fetch is under way share what comes of it.
    async fn fetch(self: &Arc<Self>) -> Outcome {
        let mut flight = self.flight();
        let landed = timeout(self.limit, flight.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(outcome)) => outcome
                .clone()
                .unwrap_or_else(|| Err(LoginProblem::CredentialsTimeout(self.limit))),
            Ok(Err(_)) => {
                let detail = "the fetch ended without a word".to_owned();
                Err(LoginProblem::CredentialsFailed(detail))
            }
            Err(_) => Err(LoginProblem::CredentialsTimeout(self.limit)),
        }
    }

    fn flight(self: &Arc<Self>) -> watch::Receiver<Option<Outcome>> {
        let mut present = lock(&self.flight);
        // One whose sender is gone has landed, or crashed.
        if let Some(flight) = &*present {
            if flight.has_changed().is_ok() && flight.borrow().is_none() {
                return flight.clone();
            }
        }
        let (land, flight) = watch::channel(None);
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = keeper.ask_source().await;
            land.send_replace(Some(keeper.landed(fetched)));
        });
        *present = Some(flight.clone());
        flight
    }

    async fn ask_source(&self) -> Result<AwsCredentials, LoginProblem> {
        match &self.source {
            AwsSource::Static(credentials) => Ok((**credentials).clone()),
            AwsSource::Ask => self.ask().await,
            #[cfg(feature = "sigv4")]
            AwsSource::Chain(chain) => {
                let (chain, region, limit) = (chain.clone(), self.region.clone(), self.limit);
                let (sender, fetched) = oneshot::channel();
                // It reads files, which may hang: not on a thread that others need.
                let thread = std::thread::Builder::new().name("palladion-aws".to_owned());
                let spawned = thread.spawn(move || {
                    // Nobody waits any more, else.
                    let _ = sender.send(chain.fetch_alone(&region, limit));
                });
                let failed = |detail: String| Err(LoginProblem::CredentialsFailed(detail));
                match spawned {
                    Ok(_thread) => fetched
                        .await
                        .unwrap_or_else(|_| failed("looking for them crashed".to_owned())),
                    Err(error) => failed(error.to_string()),
                }
            }
        }
    }

    async fn ask(&self) -> Result<AwsCredentials, LoginProblem> {
        let conversation = Conversation::new(&self.callbacks, self.limit);
        let answer = conversation.ask(Question::AwsCredentials).await;
        match answer.map_err(Unanswered::of_credentials)? {
            Answered::AwsCredentials(credentials) => Ok(credentials),
            _ => Err(LoginProblem::CredentialsFailed(
                "the answer was to another question".to_owned(),
            )),
        }
    }

    fn landed(&self, fetched: Result<AwsCredentials, LoginProblem>) -> Outcome {
        let fetched = fetched?;
        let expires_at = fetched.expires_at;
        let held = Arc::new(Held {
            credentials: Arc::new(fetched),
            life: expires_at.map(life).transpose()?,
        });
        self.held.store(Some(Arc::clone(&held)));
        self.events.event(Event::Credentials(Ok(expires_at)));
        Ok(held)
    }

    /// Renews what expires in the background, as long as there is a login that it is for.
    fn renew_later(self: &Arc<Self>, held: &Arc<Held>) {
        let mut renewal = lock(&self.renewal);
        if renewal.as_ref().is_some_and(|r| Arc::ptr_eq(&r.of, held)) {
            return;
        }
        let next = held.life.map(|life| Renewal {
            of: Arc::clone(held),
            task: tokio::spawn(renew(Arc::downgrade(self), life)).abort_handle(),
        });
        if let Some(before) = std::mem::replace(&mut *renewal, next) {
            before.task.abort();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(renewal) = lock(&self.renewal).take() {
            renewal.task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until credentials are to be renewed, and does it; the task of the next ones follows.
async fn renew(keeper: Weak<Keeper>, life: Life) {
    let mut renew_at = life.renew_at;
    loop {
        tokio::time::sleep(until(renew_at).max(SOON)).await;
        let Some(keeper) = keeper.upgrade() else {
            return;
        };
        match keeper.fetch().await {
            Ok(held) => return keeper.renew_later(&held),
            // Those there are stay in use for as long as they are good; then whoever asks finds out
            // what is wrong.
            Err(problem) => {
                keeper.events.event(Event::Credentials(Err(problem.into())));
                let left = until(life.usable_until);
                if left.is_zero() {
                    return;
                }
                renew_at = SystemTime::now() + (left / 4).clamp(SOON, AGAIN);
            }
        }
    }
}

fn until(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::now()).unwrap_or_default()
}

fn life(expires_at: SystemTime) -> Result<Life, LoginProblem> {
    let left = until(expires_at);
    if left.is_zero() {
        let ago = expires_at.elapsed().unwrap_or_default().as_secs();
        return Err(LoginProblem::CredentialsExpired(format!(
            "they were given {ago} s after they had expired"
        )));
    }
    Ok(Life {
        renew_at: expires_at - EARLY.min(left / 3),
        usable_until: expires_at - LATE.min(left / 10),
    })
}
