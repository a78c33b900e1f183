//! What is known of connections, as pairs.

use palladion_testkit::{ConnectionInfo, Handshake, LoginInfo};

use crate::line::Pairs;

/// One pair a connection: its number, and its own pairs encoded once more.
pub(crate) fn connections(connections: &[ConnectionInfo]) -> Pairs {
    connections.iter().fold(Pairs::default(), |pairs, info| {
        let startup = info.startup.iter();
        let startup = startup.fold(Pairs::default(), |pairs, (k, v)| pairs.with(k, v));
        let handshake = info.handshake.map(|handshake| match handshake {
            Handshake::Plain => "plain",
            Handshake::Full => "full",
            Handshake::HelloRetry => "hello_retry",
            Handshake::Resumed => "resumed",
        });
        let own = Pairs::default()
            .with("peer", info.peer)
            .with("open", info.open)
            .with_some("handshake", handshake)
            .with_some("tls_version", info.tls_version)
            .with_some("server_name", info.server_name.as_ref())
            .with("client_cert", info.client_cert)
            .with_some("client_fingerprint", info.client_fingerprint.as_ref())
            .with_some("version", info.version)
            .with_some("compression", info.compression)
            .with_some("user", info.user.as_ref())
            .with_some("keyspace", info.keyspace.as_ref())
            .with("registered", info.registered.join(","))
            .with("startup", startup.into_text());
        pairs.with(
            &info.id.to_string(),
            with_login(own, &info.login).into_text(),
        )
    })
}

fn with_login(pairs: Pairs, login: &LoginInfo) -> Pairs {
    let digits = |token: &Vec<u8>| token.iter().map(|b| format!("{b:02x}")).collect();
    let tokens = login.tokens.iter().map(|token| match token {
        None => "null".to_owned(),
        Some(token) => digits(token),
    });
    pairs
        .with_some("mechanism", login.mechanism)
        .with("rounds", login.rounds)
        .with("tokens", tokens.collect::<Vec<_>>().join(","))
        .with_some("authorization_id", login.authorization_id.as_ref())
        .with_some("access_key_id", login.access_key_id.as_ref())
        .with_some("session_token", login.session_token.as_ref())
        .with_some("refused", login.refused.as_ref())
}
