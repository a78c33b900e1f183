#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex as StdMutex;

use tokio::sync::oneshot;

use super::*;
use crate::auth::callbacks::CallbackAnswer;
use crate::NoEvents;

/// Gives another key each time, as it is told to.
struct Source {
    given: AtomicUsize,
    ended: AtomicUsize,
    /// How long a key lives, in ms; 0: for ever.
    lives: AtomicU64,
    behaviour: StdMutex<Behaviour>,
    pause: Duration,
}

#[derive(Clone, Copy)]
enum Behaviour {
    Give,
    GiveExpired,
    Fail,
    Hang,
    Drop,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl Source {
    fn new(lives: u64, behaviour: Behaviour, pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            given: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            lives: AtomicU64::new(lives),
            behaviour: StdMutex::new(behaviour),
            pause,
        })
    }

    fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    async fn all_ended(&self) {
        let began = std::time::Instant::now();
        while self.ended.load(Ordering::SeqCst) < self.given() {
            assert!(began.elapsed() < Duration::from_secs(30), "one goes on");
            after(5).await;
        }
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

impl Callbacks for Source {
    fn ask(&self, _: u64, question: Question, answer: oneshot::Sender<CallbackAnswer>) {
        assert_eq!(question, Question::AwsCredentials);
        let behaviour = *self.behaviour.lock().unwrap();
        let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        let lives = self.lives.load(Ordering::SeqCst);
        let pause = self.pause;
        let expires_at = match behaviour {
            Behaviour::GiveExpired => Some(SystemTime::now() - Duration::from_secs(60)),
            _ if lives == 0 => None,
            _ => Some(SystemTime::now() + Duration::from_millis(lives)),
        };
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            match behaviour {
                Behaviour::Give | Behaviour::GiveExpired => {
                    let credentials = AwsCredentials {
                        access_key_id: format!("key-{number}"),
                        secret_access_key: Secret::new(b"secret"),
                        session_token: None,
                        expires_at,
                    };
                    let _ = answer.send(Ok(Answered::AwsCredentials(credentials)));
                }
                Behaviour::Fail => {
                    let _ = answer.send(Err("no".to_owned()));
                }
                Behaviour::Drop => drop(answer),
                Behaviour::Hang => {
                    tokio::time::sleep(Duration::from_secs(3_600)).await;
                    drop(answer);
                }
            }
        });
    }

    fn end(&self, _: u64) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

fn keeper(source: &Arc<Source>) -> Arc<Keeper> {
    let callbacks: Arc<dyn Callbacks> = Arc::clone(source) as _;
    let limit = Duration::from_millis(500);
    let events: Arc<dyn EventSink> = Arc::new(NoEvents);
    Arc::new(Keeper::new(
        AwsSource::Ask,
        "us-east-1",
        &callbacks,
        &events,
        limit,
    ))
}

async fn id(keeper: &Arc<Keeper>) -> String {
    keeper.get().await.unwrap().access_key_id.clone()
}

fn problem(failure: Failure) -> LoginProblem {
    match failure {
        Failure::Login(problem) => problem,
        other => panic!("{other:?}"),
    }
}

async fn after(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_fetch() {
    for lives in [0, 60_000] {
        let source = Source::new(lives, Behaviour::Give, Duration::from_millis(50));
        let keeper = keeper(&source);
        let asking: Vec<_> = (0..32)
            .map(|_| {
                let keeper = Arc::clone(&keeper);
                tokio::spawn(async move { id(&keeper).await })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), "key-1");
        }
        assert_eq!(source.given(), 1);
        source.all_ended().await;
    }
}

#[tokio::test]
async fn what_does_not_say_when_it_expires_is_asked_for_each_time() {
    let source = Source::new(0, Behaviour::Give, Duration::ZERO);
    let keeper = keeper(&source);
    assert_eq!(id(&keeper).await, "key-1");
    assert_eq!(id(&keeper).await, "key-2");
}

/// Waits until the source has been asked more often than so.
async fn asked_again(source: &Source, before: usize) {
    let began = std::time::Instant::now();
    while source.given() <= before {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody asked");
        after(5).await;
    }
}

#[tokio::test]
async fn what_expires_is_kept_and_renewed_in_the_background() {
    let source = Source::new(1_500, Behaviour::Give, Duration::ZERO);
    let keeper = keeper(&source);
    let first = id(&keeper).await;
    for _ in 0..3 {
        let before = source.given();
        asked_again(&source, before).await;
    }
    assert_ne!(id(&keeper).await, first);
}

#[tokio::test]
async fn renewal_ends_with_the_login_that_it_is_for() {
    let source = Source::new(300, Behaviour::Give, Duration::ZERO);
    let keeper = keeper(&source);
    id(&keeper).await;
    let weak = Arc::downgrade(&keeper);
    drop(keeper);
    let began = std::time::Instant::now();
    while weak.strong_count() > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it is still held"
        );
        after(5).await;
    }
    let before = source.given();
    after(400).await;
    assert_eq!(source.given(), before);
}

#[tokio::test]
async fn those_there_are_serve_while_a_renewal_fails() {
    // Renewed after 20 s, but for what is asked of it here.
    let source = Source::new(30_000, Behaviour::Give, Duration::ZERO);
    let keeper = keeper(&source);
    let first = id(&keeper).await;
    source.set(Behaviour::Fail);
    let life = Life {
        renew_at: SystemTime::now(),
        usable_until: SystemTime::now() + Duration::from_secs(1),
    };
    let renewing = tokio::spawn(renew(Arc::downgrade(&keeper), life));
    let before = source.given();
    asked_again(&source, before + 1).await;
    assert_eq!(id(&keeper).await, first);
    source.set(Behaviour::Give);
    renewing.await.unwrap();
    assert_ne!(id(&keeper).await, first);
}

#[tokio::test]
async fn those_who_wait_for_a_fetch_share_its_failure() {
    for (behaviour, expected) in [
        (
            Behaviour::Fail,
            LoginProblem::CredentialsFailed("no".to_owned()),
        ),
        (
            Behaviour::Hang,
            LoginProblem::CredentialsTimeout(Duration::from_millis(500)),
        ),
    ] {
        let source = Source::new(0, behaviour, Duration::from_millis(100));
        let keeper = keeper(&source);
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let keeper = Arc::clone(&keeper);
                tokio::spawn(async move { keeper.get().await })
            })
            .collect();
        for asked in asking {
            assert_eq!(problem(asked.await.unwrap().unwrap_err()), expected);
        }
        assert_eq!(source.given(), 1);
    }
}

#[tokio::test]
async fn each_way_to_fail_has_its_reason_in_time() {
    for (behaviour, expected) in [
        (
            Behaviour::Fail,
            LoginProblem::CredentialsFailed("no".to_owned()),
        ),
        (
            Behaviour::Drop,
            LoginProblem::CredentialsFailed("nobody answered".to_owned()),
        ),
        (
            Behaviour::Hang,
            LoginProblem::CredentialsTimeout(Duration::from_millis(500)),
        ),
    ] {
        let source = Source::new(0, behaviour, Duration::ZERO);
        let failure = keeper(&source).get().await.unwrap_err();
        assert_eq!(problem(failure), expected);
        source.all_ended().await;
    }
    let source = Source::new(0, Behaviour::GiveExpired, Duration::ZERO);
    let failure = keeper(&source).get().await.unwrap_err();
    assert!(matches!(
        problem(failure),
        LoginProblem::CredentialsExpired(_)
    ));
}

#[tokio::test]
async fn a_fetch_goes_on_when_the_one_who_began_it_gives_up() {
    let source = Source::new(0, Behaviour::Give, Duration::from_millis(200));
    let keeper = keeper(&source);
    let given_up = tokio::time::timeout(Duration::from_millis(20), keeper.get()).await;
    assert!(given_up.is_err());
    assert_eq!(id(&keeper).await, "key-1");
    assert_eq!(source.given(), 1);
}

#[tokio::test]
async fn what_was_refused_is_not_used_again() {
    let source = Source::new(60_000, Behaviour::Give, Duration::ZERO);
    let keeper = keeper(&source);
    assert_eq!(id(&keeper).await, "key-1");
    keeper.forget();
    assert_eq!(id(&keeper).await, "key-2");
}

#[test]
fn what_is_short_lived_is_used_for_most_of_its_life() {
    let life = life(SystemTime::now() + Duration::from_secs(3)).unwrap();
    let (renew, usable) = (until(life.renew_at), until(life.usable_until));
    assert!(renew > Duration::from_millis(1_900) && renew < Duration::from_millis(2_100));
    assert!(usable > Duration::from_millis(2_600) && usable < Duration::from_millis(2_800));
}

#[test]
fn secrets_are_not_shown() {
    let credentials = AwsCredentials {
        access_key_id: "id".to_owned(),
        secret_access_key: Secret::new(b"planted"),
        session_token: Some(Secret::new(b"planted")),
        expires_at: None,
    };
    let shown = format!(
        "{credentials:?} {:?}",
        AwsSource::Static(Arc::new(credentials.clone()))
    );
    assert!(!shown.contains("planted"), "{shown}");
}
