//! A cluster of the driver against a server of the testkit, and answers that can be awaited.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

pub mod logins;
pub mod scripted;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palladion_cql::request::{self, Parameters};
use palladion_cql::response::{Message, Response, ResultBody};
use palladion_cql::Dialect;
use palladion_driver::auth::{
    AuthConfig, AuthMethod, CredentialSource, Credentials, Mechanism, NoCallbacks,
};
use palladion_driver::config::{
    ClientIdentity, ConnectionLimits, ContactPoint, ProtocolConfig, Reconnect, ReconnectPolicy,
    Timeouts,
};
use palladion_driver::network::{Network, System};
use palladion_driver::tls::{CrlCheck, KeyForm, SessionCacheConfig, Sni, TlsConfig, VerifiedName};
use palladion_driver::{
    Answer, Cluster, ClusterConfig, ConnectError, Distance, Endpoint, Event, EventSink, NodeId,
    NodeSpec, Refused, Reply, Request, RequestError, RequestState, Route, Secret, Waiter,
};
use palladion_testkit::certs::{Authority, CertOptions, Identity};
use palladion_testkit::{Options, Server, TlsOptions, Versions};
use tokio::sync::{mpsc, oneshot};

/// Longer than anything here takes; a hang guard.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct House {
    pub authority: Authority,
    pub server: Server,
}

/// A server with TLS for `localhost` and 127.0.0.1.
pub fn house() -> House {
    house_with(|_| {}, |options| options)
}

pub fn house_with(
    tls: impl FnOnce(&mut TlsOptions),
    options: impl FnOnce(Options) -> Options,
) -> House {
    let authority = Authority::new("the CA").unwrap();
    let mut tls_options = TlsOptions::new(identity(&authority, &["localhost", "127.0.0.1"]));
    tls(&mut tls_options);
    let server = Server::start(options(Options::default().tls(tls_options))).unwrap();
    House { authority, server }
}

/// A server that asks for certificates of clients, and their authority.
pub fn strict_house(versions: Versions) -> (House, Authority) {
    let clients = Authority::new("clients").unwrap();
    let wanted = vec![clients.der().clone()];
    let house = house_with(
        |tls| {
            tls.versions = versions;
            tls.client_authorities = Some(wanted);
        },
        |options| options,
    );
    (house, clients)
}

pub fn identity(authority: &Authority, names: &[&str]) -> Identity {
    authority.issue(&CertOptions::server(names)).unwrap()
}

impl House {
    pub fn config(&self) -> ClusterConfig {
        let mut config = plain(&self.server);
        config.tls = Some(trusting(&self.authority));
        config
    }
}

/// A client's certificate and key, as a configuration has them.
pub fn client_identity(client: &Identity) -> palladion_driver::tls::Identity {
    palladion_driver::tls::Identity {
        chain: client.chain.iter().map(|der| der.to_vec()).collect(),
        key_form: KeyForm::Pkcs8,
        key: Secret::new(client.key.secret_der()),
    }
}

pub fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig {
        verify: true,
        roots: vec![authority.der().to_vec()],
        pins: Vec::new(),
        crls: Vec::new(),
        crl_check: CrlCheck::Chain,
        verified_name: VerifiedName::Endpoint,
        sni: Sni::Verified,
        identity: None,
        versions: Vec::new(),
        cipher_suites: Vec::new(),
        groups: Vec::new(),
        key_log: None,
        session_cache: Some(session_cache(100, Duration::from_secs(3_600))),
    }
}

pub fn session_cache(size: usize, ttl: Duration) -> SessionCacheConfig {
    SessionCacheConfig {
        size,
        ttl,
        max_lineage: Duration::from_secs(86_400),
    }
}

/// Without TLS and login; quick to try again.
pub fn plain(server: &Server) -> ClusterConfig {
    at("localhost", server.address().port())
}

/// A local node behind a server, for `Cluster::set_nodes`.
pub fn node(id: NodeId, server: &Server) -> NodeSpec {
    NodeSpec {
        id,
        endpoint: Endpoint {
            host: "127.0.0.1".to_owned(),
            port: server.address().port(),
            verified_name: None,
            sni: None,
        },
        distance: Distance::Local,
        preference: 0,
        size: 2,
    }
}

pub fn at(host: &str, port: u16) -> ClusterConfig {
    ClusterConfig {
        name: "test".to_owned(),
        contact_points: vec![ContactPoint {
            host: host.to_owned(),
            port,
            verified_name: None,
        }],
        keyspace: None,
        client: ClientIdentity {
            driver_name: "Palladion".to_owned(),
            driver_version: "0".to_owned(),
            application_name: Some("tests".to_owned()),
            application_version: None,
            client_id: "7f6e9d1c-0000-4000-8000-000000000000".to_owned(),
        },
        protocol: ProtocolConfig::default(),
        pool_size: 1,
        connection: ConnectionLimits {
            max_queue: 1_024,
            max_in_flight: 1_024,
            max_orphans: 512,
            max_frame_size: 1 << 24,
            max_response_size: 1 << 23,
        },
        max_overflow: 0,
        max_waiters: 16,
        prepared_cache_size: 16,
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            login: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
        },
        reconnect: doubling(Duration::from_millis(20), Duration::from_millis(200)),
        discover: false,
        tls: None,
        auth: None,
        callbacks: Arc::new(NoCallbacks),
        max_handshakes: 8,
    }
}

pub fn doubling(min: Duration, max: Duration) -> Reconnect {
    Reconnect {
        policy: ReconnectPolicy::Exponential,
        min,
        max,
    }
}

pub fn password(user: &str, password: &str) -> Option<AuthConfig> {
    let credentials = Credentials {
        username: user.to_owned(),
        password: Secret::new(password.as_bytes()),
        authorization_id: None,
    };
    Some(sasl(&[], CredentialSource::Static(credentials)))
}

pub fn sasl(mechanisms: &[Mechanism], credentials: CredentialSource) -> AuthConfig {
    auth(AuthMethod::Sasl {
        mechanisms: mechanisms.to_vec(),
        negotiate: false,
        credentials,
    })
}

pub fn auth(method: AuthMethod) -> AuthConfig {
    AuthConfig {
        method,
        require_auth: true,
        allowed_authenticators: Vec::new(),
        timeout: Duration::from_secs(5),
    }
}

/// A started cluster and its events.
pub struct Started {
    pub cluster: Arc<Cluster>,
    pub events: mpsc::UnboundedReceiver<Event>,
}

struct Sink(mpsc::UnboundedSender<Event>);

impl EventSink for Sink {
    fn event(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

pub fn start(config: ClusterConfig) -> Started {
    start_on(System, config)
}

pub fn start_on(network: impl Network, config: ClusterConfig) -> Started {
    let (sender, events) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let cluster = Cluster::start(config, network, Arc::new(Sink(sender)), &runtime).unwrap();
    Started {
        cluster: Arc::new(cluster),
        events,
    }
}

impl Started {
    /// The next failure to connect.
    pub async fn connect_error(&mut self) -> Arc<ConnectError> {
        loop {
            if let Event::ConnectFailed { error, .. } = self.event().await {
                return error;
            }
        }
    }

    /// Waits for so many connections to have been opened since the last call.
    pub async fn opened(&mut self, n: usize) {
        for _ in 0..n {
            while !matches!(self.event().await, Event::Opened { .. }) {}
        }
    }

    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("a cluster that lives")
    }

    /// Waits for a connection.
    pub async fn ready(&self) -> Result<(), RequestError> {
        let (waiter, outcome) = waiter();
        let refused = self.cluster.wait(waiter).is_err();
        assert!(!refused, "too many wait");
        patiently(outcome).await.unwrap()
    }

    pub async fn reconnect(&self) -> Result<(), RequestError> {
        let (waiter, outcome) = waiter();
        self.cluster.reconnect(waiter);
        patiently(outcome).await.unwrap()
    }

    /// Sends a statement; the answer can be awaited and the request cancelled.
    pub fn send(&self, statement: &str) -> Sent {
        self.send_frame(self.query(statement))
    }

    fn query(&self, statement: &str) -> Vec<u8> {
        let dialect = self.cluster.dialect();
        request::query(&dialect, statement, &Parameters::default()).unwrap()
    }

    pub fn send_frame(&self, frame: Vec<u8>) -> Sent {
        self.send_by(Route::Any, frame)
    }

    /// Sends a statement to, or not to, a certain node.
    pub fn send_to(&self, route: Route, statement: &str) -> Sent {
        self.send_by(route, self.query(statement))
    }

    /// Sends a statement over the control connection.
    pub fn send_to_control(&self, statement: &str) -> Sent {
        let dialect = self.cluster.control_dialect();
        let frame = request::query(&dialect, statement, &Parameters::default()).unwrap();
        self.submit((frame, dialect), |request| {
            self.cluster.submit_control(request)
        })
    }

    fn send_by(&self, route: Route, frame: Vec<u8>) -> Sent {
        let dialect = self.cluster.dialect();
        self.submit((frame, dialect), |request| {
            self.cluster.submit(request, route)
        })
    }

    fn submit(
        &self,
        (frame, dialect): (Vec<u8>, Dialect),
        submit: impl FnOnce(Request) -> Result<(), Box<Refused>>,
    ) -> Sent {
        let state = Arc::new(RequestState::default());
        let (answer, outcome) = oneshot::channel();
        let reply = Box::new(TestReply {
            state: Arc::clone(&state),
            answer: Some(answer),
        });
        if let Err(refused) = submit(Request {
            frame,
            dialect,
            reply,
        }) {
            refused.request.reply.complete(Err(refused.error));
        }
        Sent { state, outcome }
    }

    /// The rows of a statement without TLS or errors in the way, each cell an int.
    pub async fn ask(&self, statement: &str) -> Result<Message, RequestError> {
        self.send(statement).answer().await
    }
}

pub struct Sent {
    pub state: Arc<RequestState>,
    pub outcome: oneshot::Receiver<Result<Answer, RequestError>>,
}

impl Sent {
    pub async fn answer(self) -> Result<Message, RequestError> {
        let answer = patiently(self.outcome).await.expect("an answer")?;
        Ok(Response::parse(&answer.frame).unwrap().message)
    }
}

pub async fn patiently<T>(receiver: oneshot::Receiver<T>) -> Result<T, oneshot::error::RecvError> {
    tokio::time::timeout(PATIENCE, receiver)
        .await
        .expect("an answer in time")
}

pub struct TestReply {
    pub state: Arc<RequestState>,
    pub answer: Option<oneshot::Sender<Result<Answer, RequestError>>>,
}

impl Reply for TestReply {
    fn state(&self) -> &RequestState {
        &self.state
    }

    fn complete(mut self: Box<Self>, outcome: Result<Answer, RequestError>) {
        if self.state.claim() {
            if let Some(answer) = self.answer.take() {
                let _ = answer.send(outcome);
            }
        }
    }
}

pub struct TestWaiter(Mutex<Option<oneshot::Sender<Result<(), RequestError>>>>);

impl Waiter for TestWaiter {
    fn is_cancelled(&self) -> bool {
        let waiting = self.0.lock().unwrap();
        waiting.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn ready(self: Box<Self>, outcome: Result<(), RequestError>) {
        if let Some(sender) = self.0.lock().unwrap().take() {
            let _ = sender.send(outcome);
        }
    }
}

pub fn waiter() -> (Box<TestWaiter>, oneshot::Receiver<Result<(), RequestError>>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(TestWaiter(Mutex::new(Some(sender)))), receiver)
}

/// Waits until something holds, as nothing tells of it.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let polls = AtomicUsize::new(0);
    while !holds() {
        let so_far = polls.fetch_add(1, Ordering::Relaxed);
        assert!(so_far < 2_000, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The number of rows of an answer.
pub fn row_count(message: &Message) -> usize {
    match message {
        Message::Result(ResultBody::Rows(rows)) => rows.count,
        other => panic!("no rows: {other:?}"),
    }
}
