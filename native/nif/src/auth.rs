//! How a cluster logs in, from the map that `Palladion.Config.Auth` makes.

use std::sync::Arc;
use std::time::Duration;

use palladion_driver::auth::sigv4::{AwsCredentials, AwsSource, SigV4Config};
use palladion_driver::auth::{AuthConfig, AuthMethod, CredentialSource, Credentials, Mechanism};
use palladion_driver::Secret;
use rustler::{Atom, Env, ResourceArc, Term};

use crate::atoms;
use crate::config::Options;
use crate::errors::{reply, NativeError};
use crate::secret::SecretResource;

pub(crate) fn auth_config(map: Term<'_>) -> Result<AuthConfig, NativeError> {
    let map = Options(map);
    let (kind, value): (Atom, Term<'_>) = map.get("method")?;
    let method = if kind == atoms::sasl() {
        let value = Options(value);
        AuthMethod::Sasl {
            mechanisms: mechanisms(value.get("mechanisms")?)?,
            negotiate: value.get("negotiate")?,
            credentials: credentials(value.get("credentials")?)?,
        }
    } else if kind == atoms::custom() {
        AuthMethod::Custom
    } else if kind == atoms::sigv4() {
        let value = Options(value);
        AuthMethod::SigV4(SigV4Config {
            region: value.get("region")?,
            source: aws_source(value.get("credentials")?)?,
        })
    } else {
        return Err(unknown("method"));
    };
    Ok(AuthConfig {
        method,
        require_auth: map.get("require_auth")?,
        allowed_authenticators: map.get("allowed_authenticators")?,
        timeout: Duration::from_millis(map.get("timeout")?),
    })
}

fn unknown(option: &str) -> NativeError {
    NativeError::bad_config(option, "is none of the kinds that there are")
}

fn mechanisms(names: Vec<Atom>) -> Result<Vec<Mechanism>, NativeError> {
    let known = [
        (atoms::plain(), Mechanism::Plain),
        (atoms::external(), Mechanism::External),
        (atoms::anonymous(), Mechanism::Anonymous),
        (atoms::cram_md5(), Mechanism::CramMd5),
        (atoms::digest_md5(), Mechanism::DigestMd5),
        (atoms::scram_sha_1(), Mechanism::ScramSha1),
        (atoms::scram_sha_256(), Mechanism::ScramSha256),
    ];
    let named = |name: Atom| known.iter().find(|(known, _)| *known == name);
    let found = names.into_iter().map(|name| named(name).map(|(_, m)| *m));
    found
        .collect::<Option<_>>()
        .ok_or_else(|| unknown("mechanisms"))
}

fn credentials((kind, value): (Atom, Term<'_>)) -> Result<CredentialSource, NativeError> {
    if kind == atoms::static_() {
        let map = Options(value);
        Ok(CredentialSource::Static(Credentials {
            username: map.get("username")?,
            password: secret(&map, "password")?,
            authorization_id: map.get("authorization_id")?,
        }))
    } else if kind == atoms::ask() {
        Ok(CredentialSource::Ask)
    } else if kind == atoms::none() {
        let authorization_id = value.decode().map_err(|_| unknown("authorization_id"))?;
        Ok(CredentialSource::None(authorization_id))
    } else {
        Err(unknown("credentials"))
    }
}

fn aws_source((kind, value): (Atom, Term<'_>)) -> Result<AwsSource, NativeError> {
    if kind == atoms::static_() {
        let map = Options(value);
        let token: Option<ResourceArc<SecretResource>> = map.get("session_token")?;
        Ok(AwsSource::Static(Arc::new(AwsCredentials {
            access_key_id: map.get("access_key_id")?,
            secret_access_key: secret(&map, "secret_access_key")?,
            session_token: token.map(|token| token.0.clone()),
            expires_at: None,
        })))
    } else if kind == atoms::ask() {
        Ok(AwsSource::Ask)
    } else if kind == atoms::chain() {
        chain_source(value)
    } else {
        Err(unknown("credentials"))
    }
}

fn secret(map: &Options<'_>, name: &'static str) -> Result<Secret, NativeError> {
    let secret: ResourceArc<SecretResource> = map.get(name)?;
    Ok(secret.0.clone())
}

#[cfg(feature = "sigv4")]
fn chain(map: Term<'_>) -> Result<palladion_driver::auth::sigv4::ChainConfig, NativeError> {
    let map = Options(map);
    let environment: Vec<(String, ResourceArc<SecretResource>)> = map.get("environment")?;
    let variables = environment.into_iter();
    Ok(palladion_driver::auth::sigv4::ChainConfig {
        profile: map.get("profile")?,
        environment: variables
            .map(|(name, value)| (name, value.0.clone()))
            .collect(),
    })
}

#[cfg(feature = "sigv4")]
fn chain_source(map: Term<'_>) -> Result<AwsSource, NativeError> {
    chain(map).map(AwsSource::Chain)
}

#[cfg(not(feature = "sigv4"))]
fn chain_source(_map: Term<'_>) -> Result<AwsSource, NativeError> {
    Err(without_chain())
}

#[cfg(not(feature = "sigv4"))]
fn without_chain() -> NativeError {
    let text =
        "needs the cargo feature sigv4, which config :palladion, :native_features leaves out";
    NativeError::bad_config("sigv4", text)
}

/// The region that a profile of Amazon's files names, or nothing.
#[rustler::nif(schedule = "DirtyIo")]
fn sigv4_region<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    reply(env, region(request))
}

#[cfg(feature = "sigv4")]
fn region(request: Term<'_>) -> Result<Option<String>, NativeError> {
    let chain = chain(request)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| NativeError::bad_config("region", e))?;
    Ok(runtime.block_on(palladion_driver::auth::sigv4::profile_region(&chain)))
}

#[cfg(not(feature = "sigv4"))]
fn region(_request: Term<'_>) -> Result<Option<String>, NativeError> {
    Ok(None)
}
