//! Logins at the testkit: whom it lets in, and what comes of it.

use std::sync::Arc;

use palladion_driver::auth::sigv4::{AwsCredentials, AwsSource, SigV4Config};
use palladion_driver::auth::{AuthConfig, AuthMethod, CredentialSource, Credentials};
use palladion_driver::{ClusterConfig, Failure, Secret};
use palladion_testkit::{Login, Options, Server};

use super::{auth, plain, start};

pub fn ada(password: &str) -> CredentialSource {
    CredentialSource::Static(credentials("ada", password))
}

pub fn credentials(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: Secret::new(password.as_bytes()),
        authorization_id: None,
    }
}

pub fn server(login: Login) -> Server {
    let options = Options {
        login: Some(login),
        ..Options::default()
    };
    Server::start(options).unwrap()
}

pub fn with(server: &Server, auth: AuthConfig) -> ClusterConfig {
    let mut config = plain(server);
    config.auth = Some(auth);
    config
}

/// Any class is told everything.
pub fn trusting_all(server: &Server, mut auth: AuthConfig) -> ClusterConfig {
    let class = "testkit.SaslAuthenticator";
    auth.allowed_authenticators = vec![class.to_owned()];
    with(server, auth)
}

pub async fn failure(config: ClusterConfig) -> Failure {
    start(config).connect_error().await.failure.clone()
}

pub async fn mechanism(config: ClusterConfig) -> Option<&'static str> {
    let mut started = start(config);
    started.ready().await.unwrap();
    started.opened(1).await;
    started.cluster.status().nodes[0].connections[0].mechanism
}

pub fn signing(key: &str, secret: &str, token: Option<&str>, region: &str) -> AuthConfig {
    auth(AuthMethod::SigV4(SigV4Config {
        region: region.to_owned(),
        source: AwsSource::Static(Arc::new(AwsCredentials {
            access_key_id: key.to_owned(),
            secret_access_key: Secret::new(secret.as_bytes()),
            session_token: token.map(|token| Secret::new(token.as_bytes())),
            expires_at: None,
        })),
    }))
}
