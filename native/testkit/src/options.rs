//! How a server is set up.

use std::net::{Ipv4Addr, SocketAddr};

use crate::tls::TlsOptions;

/// Options of [`crate::Server::start`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 lets the system choose one.
    pub address: SocketAddr,
    /// TLS, unless it speaks plain text.
    pub tls: Option<TlsOptions>,
    /// Who may log in; nobody has to if there is none.
    pub login: Option<Login>,
    /// Options of SUPPORTED beside the usual ones, which they replace if named alike.
    pub supported: Vec<(String, Vec<String>)>,
    /// Bytes in a request, at most.
    pub max_frame: u32,
    /// Connections open at a time, at most.
    pub max_connections: usize,
    /// Threads that serve connections.
    pub threads: usize,
    /// What chance starts from, where a rule leaves something to it.
    pub seed: u64,
}

impl Default for Options {
    /// Plain text, no login, on a port of 127.0.0.1 that the system chooses.
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
            login: None,
            supported: Vec::new(),
            max_frame: 64 << 20,
            max_connections: 4096,
            threads: 1,
            seed: 0x5EED,
        }
    }
}

impl Options {
    /// The same with TLS.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The same with a login by user and password.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some(Login::new(user, password));
        self
    }
}

/// Who may log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The class that AUTHENTICATE names.
    pub authenticator: String,
}

impl Login {
    /// By Cassandra's `PasswordAuthenticator`.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            authenticator: "org.apache.cassandra.auth.PasswordAuthenticator".to_owned(),
        }
    }
}
