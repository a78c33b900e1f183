//! Logins that ask the user's code, and logins that take the place of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use palladion_driver::auth::{
    Answered, AuthMethod, CallbackAnswer, Callbacks, CredentialSource, Question,
};
use palladion_driver::{ClusterConfig, Event, Failure, LoginProblem, Secret};
use palladion_testkit::login::Method;
use palladion_testkit::{Login, Server};
use support::logins::*;
use support::*;
use tokio::sync::oneshot;

type Answer = dyn Fn(&Question) -> Option<CallbackAnswer> + Send + Sync;

/// Answers questions by functions, and notes them.
struct Answers {
    answer: Box<Answer>,
    asked: Mutex<HashMap<u64, Vec<Question>>>,
    ended: AtomicUsize,
    hanging: Mutex<Vec<oneshot::Sender<CallbackAnswer>>>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

impl Answers {
    fn new(
        answer: impl Fn(&Question) -> Option<CallbackAnswer> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            asked: Mutex::default(),
            ended: AtomicUsize::new(0),
            hanging: Mutex::default(),
        })
    }

    fn conversations(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn all_ended(&self) {
        let began = Instant::now();
        while self.ended.load(Ordering::SeqCst) < self.conversations() {
            assert!(began.elapsed() < PATIENCE, "a conversation goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Callbacks for Answers {
    fn ask(&self, id: u64, question: Question, answer: oneshot::Sender<CallbackAnswer>) {
        let reply = (self.answer)(&question);
        let mut asked = self.asked.lock().unwrap();
        asked.entry(id).or_default().push(question);
        match reply {
            Some(reply) => drop(answer.send(reply)),
            None => self.hanging.lock().unwrap().push(answer),
        }
    }

    fn end(&self, _id: u64) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

fn asking(server: &Server, method: AuthMethod, answers: &Arc<Answers>) -> ClusterConfig {
    let mut login = auth(method);
    login.timeout = Duration::from_millis(300);
    let mut config = with(server, login);
    config.callbacks = Arc::clone(answers) as _;
    config
}

fn asked_for_a_password() -> AuthMethod {
    AuthMethod::Sasl {
        mechanisms: Vec::new(),
        negotiate: false,
        credentials: CredentialSource::Ask,
    }
}

#[tokio::test]
async fn a_password_is_asked_for_at_each_login() {
    let server = server(Login::new("ada", "pencil"));
    let answers = Answers::new(|_| Some(Ok(Answered::Credentials(credentials("ada", "pencil")))));
    let started = start(asking(&server, asked_for_a_password(), &answers));
    started.ready().await.unwrap();
    started.reconnect().await.unwrap();
    assert_eq!(answers.conversations(), 2);
    answers.all_ended().await;
    let asked = answers.asked.lock().unwrap();
    for questions in asked.values() {
        let [Question::Credentials(peer)] = &questions[..] else {
            panic!("{questions:?}")
        };
        assert_eq!(&*peer.host, "localhost");
        assert_eq!(peer.address, server.address());
        assert!(peer.class.ends_with("PasswordAuthenticator"));
    }
}

#[tokio::test]
async fn what_goes_wrong_with_an_answer_is_that_connections_alone_with_a_reason() {
    let server = server(Login::new("ada", "pencil"));
    let failed = |problem: LoginProblem| move |failure: &Failure| matches!(failure, Failure::Login(found) if *found == problem);
    let no: fn(&Question) -> Option<CallbackAnswer> = |_| Some(Err("no".to_owned()));
    let hang: fn(&Question) -> Option<CallbackAnswer> = |_| None;
    let limit = Duration::from_millis(300);
    for (method, answer, is_told) in [
        (
            asked_for_a_password(),
            no,
            failed(LoginProblem::CredentialsFailed("no".to_owned())),
        ),
        (
            asked_for_a_password(),
            hang,
            failed(LoginProblem::CredentialsTimeout(limit)),
        ),
        (
            AuthMethod::Custom,
            no,
            failed(LoginProblem::AuthenticatorFailed("no".to_owned())),
        ),
        (
            AuthMethod::Custom,
            hang,
            failed(LoginProblem::AuthenticatorTimeout(limit)),
        ),
    ] {
        let answers = Answers::new(answer);
        let failure = failure(asking(&server, method, &answers)).await;
        assert!(is_told(&failure), "{failure:?}");
        answers.all_ended().await;
    }
}

#[tokio::test]
async fn an_authenticator_has_as_many_rounds_as_it_likes() {
    let challenges: Vec<Vec<u8>> = (1..=40).map(|n| vec![n]).collect();
    let script = Method::Script(challenges, Some(b"done".to_vec()));
    let server = server(Login::new("", "").by(script));
    let answers = Answers::new(|question| {
        Some(Ok(match question {
            Question::Begin(_) => Answered::Token(None),
            Question::Challenge(token) if token == &[1] => Answered::Token(Some(Secret::new(b""))),
            Question::Challenge(token) => Answered::Token(Some(Secret::new(token))),
            Question::Success(Some(token)) if token == b"done" => Answered::Content,
            other => return Some(Err(format!("unexpected: {other:?}"))),
        }))
    });
    let config = asking(&server, AuthMethod::Custom, &answers);
    assert_eq!(mechanism(config).await, Some("custom"));
    let login = &server.connections()[0].login;
    assert_eq!(login.rounds, 41);
    // A null is another token than an empty one.
    assert_eq!(login.tokens[..3], [None, Some(Vec::new()), Some(vec![2])]);
    answers.all_ended().await;
}

#[tokio::test]
async fn a_login_that_fails_after_another_took_its_place_makes_no_pause() {
    let server = server(Login::new("ada", "pencil"));
    let answers = Answers::new(|_| None);
    let mut config = asking(&server, asked_for_a_password(), &answers);
    config.reconnect = doubling(Duration::from_secs(600), Duration::from_secs(600));
    let mut started = start(config);
    while answers.conversations() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.cluster.update_auth(Some(sasl(&[], ada("pencil"))));
    started.opened(1).await;
}

#[tokio::test]
async fn another_login_is_used_at_once_and_leaves_connections_alone() {
    // By the pools, and by the control connection.
    for discover in [false, true] {
        let server = server(Login::new("ada", "pencil"));
        let mut config = with(&server, sasl(&[], ada("pencil")));
        config.reconnect = doubling(Duration::from_secs(600), Duration::from_secs(600));
        config.discover = discover;
        let mut started = start(config);
        started.opened(1).await;

        server.set_password("crayon");
        started.cluster.update_auth(Some(sasl(&[], ada("pen"))));
        assert_eq!(server.counters().open, 1);
        assert_eq!(server.counters().failed_logins, 0);

        // Ended so soon, it is followed by a pause of ten minutes.
        server.close_connections();
        while !matches!(started.event().await, Event::Closed { .. }) {}
        started.cluster.update_auth(Some(sasl(&[], ada("pencil"))));
        let refused = started.connect_error().await;
        assert!(refused.failure.is_refused_login());
        started.cluster.update_auth(Some(sasl(&[], ada("crayon"))));
        started.opened(1).await;
    }
}
