//! A bare client: one connection, frames in and out.
#![allow(dead_code)] // each test file uses a part of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use palladion_cql::frame::{set_stream, FrameReader, Sender};
use palladion_cql::request::{self, Parameters, StatementId, Unsendable};
use palladion_cql::response::{code, Message, Prepared, Response, ResultBody, Rows};
use palladion_cql::segment::SegmentWriter;
use palladion_cql::value::{encode, Value, Values};
use palladion_cql::{ColumnSpec, DecodeError, Dialect, Frame, Version};
use palladion_testkit::certs::Authority;
use palladion_testkit::Server;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn tls(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) fn without_resumption(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// Protocol 4, and nothing beside it.
pub(crate) fn v4() -> Dialect {
    Dialect::plain(Version::V4)
}

pub(crate) struct Client<S> {
    stream: S,
    input: BytesMut,
    frames: FrameReader,
    pub(crate) dialect: Dialect,
    /// Once STARTUP was answered, where there are segments.
    segments: Option<SegmentWriter>,
}

impl Client<TcpStream> {
    pub(crate) async fn plain(server: &Server) -> Self {
        Self::speaking(server, v4()).await
    }

    pub(crate) async fn speaking(server: &Server, dialect: Dialect) -> Self {
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        Self {
            frames: reader(dialect.version),
            dialect,
            ..Self::over(tcp)
        }
    }

    /// To a node of a simulated cluster.
    pub(crate) async fn to(server: &Server, node: Ipv4Addr) -> Self {
        let address = (node, server.address().port());
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl Client<TlsStream<TcpStream>> {
    pub(crate) async fn tls(server: &Server, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        Self::tls_to(server.address(), "localhost", config).await
    }

    pub(crate) async fn tls_to(
        address: SocketAddr,
        name: &'static str,
        config: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name).unwrap();
        let stream = TlsConnector::from(config.clone())
            .connect(name, tcp)
            .await?;
        Ok(Self::over(stream))
    }

    pub(crate) fn handshake(&self) -> HandshakeKind {
        self.stream.get_ref().1.handshake_kind().unwrap()
    }

    pub(crate) fn tickets_received(&self) -> u32 {
        self.stream.get_ref().1.tls13_tickets_received()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn over(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            frames: reader(Version::V4),
            dialect: v4(),
            segments: None,
        }
    }

    pub(crate) async fn send(&mut self, mut frame: Vec<u8>, stream: i16) {
        set_stream(&mut frame, stream);
        let Some(segments) = &mut self.segments else {
            return self.send_raw(&frame).await;
        };
        let mut out = Vec::new();
        segments.put(&frame, &mut out);
        segments.seal(&mut out);
        self.send_raw(&out).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, an error for bytes that are none, nothing at the connection's end.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        loop {
            if let Some(frame) = self.frames.next(&mut self.input)? {
                return Ok(Some(frame));
            }
            match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await {
                Err(_) => panic!("no answer"),
                Ok(Ok(0) | Err(_)) => return Ok(None),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Waits for at least one frame; counts those that are there.
    pub(crate) async fn receive_some(&mut self) -> usize {
        self.next()
            .await
            .unwrap()
            .expect("the connection is closed");
        let mut frames = 1;
        while self.frames.next(&mut self.input).unwrap().is_some() {
            frames += 1;
        }
        frames
    }

    /// Waits until so many bytes are there that nobody has read yet; tells how many.
    pub(crate) async fn arrived(&mut self, bytes: usize) -> usize {
        while self.input.len() < bytes {
            let read = self.stream.read_buf(&mut self.input);
            let read = tokio::time::timeout(PATIENCE, read).await;
            assert!(matches!(read, Ok(Ok(1..))), "nothing more arrives");
        }
        self.input.len()
    }

    /// Whether nothing arrives for a while.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.input);
        tokio::time::timeout(Duration::from_millis(100), read)
            .await
            .is_err()
    }

    pub(crate) async fn receive(&mut self) -> (i16, Message) {
        let (stream, response) = self.response().await;
        (stream, response.message)
    }

    /// The same with what any answer can carry beside.
    pub(crate) async fn response(&mut self) -> (i16, Response) {
        let frame = self
            .next()
            .await
            .unwrap()
            .expect("the connection is closed");
        (frame.header.stream, Response::parse(&frame).unwrap())
    }

    pub(crate) async fn ask(&mut self, frame: Vec<u8>) -> Message {
        self.send(frame, 7).await;
        let (stream, message) = self.receive().await;
        assert_eq!(stream, 7);
        message
    }

    pub(crate) async fn start(&mut self) -> Message {
        let mut options = vec![("CQL_VERSION", "3.0.0"), ("DRIVER_NAME", "a bare client")];
        if let Some(compression) = self.dialect.compression {
            options.push(("COMPRESSION", compression.name()));
        }
        if self.dialect.metadata_ids {
            options.push(("SCYLLA_USE_METADATA_ID", ""));
        }
        if self.dialect.rate_limit_error.is_some() {
            options.push(("SCYLLA_RATE_LIMIT_ERROR", ""));
        }
        self.frames.decompressing(self.dialect.compression);
        let answer = self
            .ask(request::startup(&self.dialect, &options).unwrap())
            .await;
        if matches!(answer, Message::Ready | Message::Authenticate(_)) {
            self.frames.agree(self.dialect);
            let has_segments = self.dialect.version >= Version::V5;
            self.segments = has_segments.then(|| SegmentWriter::new(self.dialect.compression));
        }
        answer
    }

    pub(crate) async fn log_in(&mut self, user: &str, password: &str) -> Message {
        assert!(matches!(self.start().await, Message::Authenticate(_)));
        self.respond(format!("\0{user}\0{password}")).await
    }

    /// The answer to one token of a login.
    pub(crate) async fn respond(&mut self, token: impl AsRef<[u8]>) -> Message {
        self.ask(request::auth_response(&self.dialect, Some(token.as_ref())).unwrap())
            .await
    }

    /// The same where the answer has to be a challenge, and a text.
    pub(crate) async fn challenged(&mut self, token: impl AsRef<[u8]>) -> String {
        match self.respond(token).await {
            Message::AuthChallenge(Some(challenge)) => {
                String::from_utf8(challenge.to_vec()).unwrap()
            }
            other => panic!("no challenge: {other:?}"),
        }
    }

    pub(crate) async fn query(&mut self, text: &str) -> Message {
        self.ask(request::query(&self.dialect, text, &Parameters::default()).unwrap())
            .await
    }

    pub(crate) async fn prepare(&mut self, text: &str) -> Prepared {
        match self
            .ask(request::prepare(&self.dialect, text, None).unwrap())
            .await
        {
            Message::Result(ResultBody::Prepared(prepared)) => prepared,
            other => panic!("not prepared: {other:?}"),
        }
    }

    pub(crate) async fn execute(&mut self, prepared: &Prepared, values: &[Value]) -> Message {
        let parameters = Parameters::default();
        self.ask(execute_in(&self.dialect, prepared, values, &parameters))
            .await
    }
}

fn reader(version: Version) -> FrameReader {
    FrameReader::new(Sender::Server, version, 64 << 20).negotiating()
}

pub(crate) fn execute(prepared: &Prepared, values: &[Value], parameters: &Parameters) -> Vec<u8> {
    execute_in(&v4(), prepared, values, parameters)
}

pub(crate) fn execute_in(
    dialect: &Dialect,
    prepared: &Prepared,
    values: &[Value],
    parameters: &Parameters,
) -> Vec<u8> {
    let count = values.len() as u16;
    let statement = StatementId {
        id: &prepared.id,
        result_id: prepared.result_id.as_deref(),
    };
    request::execute::<Unsendable>(dialect, statement, parameters, count, |out| {
        for (value, spec) in values.iter().zip(prepared.bind.iter()) {
            encode(value, &spec.ty, out, usize::MAX).unwrap();
        }
        Ok(())
    })
    .unwrap()
}

/// What a refused login is told.
pub(crate) fn refusal(message: Message) -> String {
    match message {
        Message::Error(error) if error.code == code::BAD_CREDENTIALS => error.message,
        other => panic!("no refusal: {other:?}"),
    }
}

pub(crate) fn rows_of(message: Message) -> Rows {
    match message {
        Message::Result(ResultBody::Rows(rows)) => rows,
        other => panic!("no rows: {other:?}"),
    }
}

pub(crate) fn cells(rows: &Rows, columns: &[ColumnSpec]) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    rows.decode(columns, &mut Values, |_, cells| {
        all.push(std::mem::take(cells))
    })
    .unwrap();
    all
}

pub(crate) fn own_cells(rows: &Rows) -> Vec<Vec<Value>> {
    cells(rows, rows.columns.as_ref().unwrap())
}
