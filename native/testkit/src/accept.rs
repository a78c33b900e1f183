//! What comes before the first frame: a connection is counted and its TLS handshake made.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, READ};
use crate::control::Orders;
use crate::counters::{add, add_to_peak, subtract, ConnectionInfo, Handshake};
use crate::nodes::Member;
use crate::shared::Shared;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// A TCP connection that was accepted.
pub(crate) struct Accepted {
    pub(crate) tcp: TcpStream,
    pub(crate) open: Open,
    pub(crate) handshaking: Handshaking,
    pub(crate) orders: Orders,
}

impl Accepted {
    /// Serves it until it is closed.
    pub(crate) async fn serve(mut self) {
        let (open, handshaking) = (self.open, self.handshaking);
        // Small answers are not to wait for more: the client measures us.
        let _ = self.tcp.set_nodelay(true);
        let delay = Duration::from_millis(open.shared.handshake_delay.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::select! {
                () = self.orders.closed() => return,
                () = sleep(delay) => {}
            }
        }
        if self.orders.wait_while_paused().await.is_break() {
            return;
        }
        let Some(tls) = &open.shared.tls else {
            open.handshake(Handshake::Plain, |_| {});
            let connection = Connection::new(self.tcp, &open, handshaking, self.orders);
            return connection.run().await;
        };
        // rustls reads 4 KiB at a time; the buffer saves system calls.
        let tcp = BufReader::with_capacity(READ, self.tcp);
        let accept = TlsAcceptor::from(tls.config()).accept(tcp);
        let stream = tokio::select! {
            () = self.orders.closed() => return,
            accepted = timeout(HANDSHAKE_TIMEOUT, accept) => match accepted {
                Ok(Ok(stream)) => stream,
                Ok(Err(failure)) => return open.failed(failure.to_string()),
                Err(_) => return open.failed("timeout".to_owned()),
            }
        };
        open.shaken(&stream);
        let connection = Connection::new(stream, &open, handshaking, self.orders);
        connection.run().await;
    }
}

/// Counts a connection as one in its handshake until it is dropped: from when it is accepted until
/// its login is done or it ends.
#[derive(Debug)]
pub(crate) struct Handshaking {
    shared: Arc<Shared>,
    member: Option<Arc<Member>>,
}

impl Handshaking {
    pub(crate) fn new(open: &Open) -> Self {
        let cells = &open.shared.observed.cells;
        add_to_peak(&cells.handshaking, &cells.handshaking_peak);
        if let Some(Member { cells, .. }) = open.member.as_deref() {
            add_to_peak(&cells.handshaking, &cells.handshaking_peak);
        }
        Self {
            shared: open.shared.clone(),
            member: open.member.clone(),
        }
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        subtract(&self.shared.observed.cells.handshaking, 1);
        if let Some(member) = &self.member {
            subtract(&member.cells.handshaking, 1);
        }
        self.shared.observed.notify();
    }
}

/// Counts a connection as open for as long as it lives.
pub(crate) struct Open {
    pub(crate) shared: Arc<Shared>,
    /// The node that it is open to, if there are several.
    pub(crate) member: Option<Arc<Member>>,
    pub(crate) id: u64,
}

impl Open {
    pub(crate) fn new(
        shared: Arc<Shared>,
        member: Option<Arc<Member>>,
        id: u64,
        peer: SocketAddr,
    ) -> Self {
        add(&shared.observed.cells.open, 1);
        if let Some(member) = &member {
            add(&member.cells.connections, 1);
            add(&member.cells.open, 1);
        }
        shared.observed.remember(ConnectionInfo::new(id, peer));
        Self { shared, member, id }
    }

    fn failed(&self, failure: String) {
        self.shared.observed.failed(failure);
    }

    fn shaken(&self, stream: &TlsStream<BufReader<TcpStream>>) {
        let (_, tls) = stream.get_ref();
        let cells = &self.shared.observed.cells;
        let handshake = match tls.handshake_kind() {
            Some(HandshakeKind::Resumed) => Handshake::Resumed,
            Some(HandshakeKind::FullWithHelloRetryRequest) => Handshake::HelloRetry,
            _ => Handshake::Full,
        };
        match handshake {
            Handshake::Resumed => add(&cells.resumed, 1),
            _ => add(&cells.full, 1),
        }
        if handshake == Handshake::HelloRetry {
            add(&cells.hello_retry, 1);
        }
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => {
                add(&cells.tls12, 1);
                "1.2"
            }
            _ => {
                add(&cells.tls13, 1);
                "1.3"
            }
        };
        let client = tls.peer_certificates().and_then(|certs| certs.first());
        let client_fingerprint = client.and_then(|der| fingerprint(der));
        let client_cert = client.is_some();
        if client_cert {
            add(&cells.client_certs, 1);
        }
        let server_name = tls.server_name().map(str::to_owned);
        self.handshake(handshake, |info| {
            info.tls_version = Some(version);
            info.server_name = server_name;
            info.client_cert = client_cert;
            info.client_fingerprint = client_fingerprint;
        });
    }

    fn handshake(&self, handshake: Handshake, more: impl FnOnce(&mut ConnectionInfo)) {
        self.shared.observed.update(self.id, |info| {
            info.handshake = Some(handshake);
            more(info);
        });
        self.shared.observed.notify();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        subtract(&self.shared.observed.cells.open, 1);
        if let Some(member) = &self.member {
            subtract(&member.cells.open, 1);
        }
        self.shared
            .observed
            .update(self.id, |info| info.open = false);
        self.shared.observed.notify();
    }
}

/// The SHA-256 of a certificate, in hexadecimal digits.
fn fingerprint(der: &[u8]) -> Option<String> {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
    let hash = suite.common.hash_provider.hash(der);
    Some(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}
