//! The places where Amazon's own programs look for credentials, in their order: the environment, a
//! profile, a web identity, the container's endpoint, the instance's. Programs that print some are
//! not run: nobody would bound or end them.
//!
//! `aws-config` reads the environment that the process was started with. What an application may
//! have set since comes from Elixir, and wins; only the container's variables can't be handed on.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::Region;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::ProvideCredentials;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use tokio::runtime::Builder;

use super::credentials::AwsCredentials;
use crate::error::LoginProblem;
use crate::Secret;

/// Where the chain begins.
#[derive(Debug, Clone)]
pub struct ChainConfig {
    /// The profile that the user named; else the environment may.
    pub profile: Option<String>,
    /// Variables as the application sees them.
    pub environment: Environment,
}

/// Variables of an environment, some of which are secret.
#[derive(Clone, Default)]
pub struct Environment(Arc<HashMap<String, Secret>>);

impl FromIterator<(String, Secret)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(variables: I) -> Self {
        Self(Arc::new(variables.into_iter().collect()))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// One that is empty is none.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?;
        let text = std::str::from_utf8(value.expose()).ok()?.trim();
        (!text.is_empty()).then_some(text)
    }

    fn credentials(&self) -> Result<Option<AwsCredentials>, LoginProblem> {
        let id = self.get("AWS_ACCESS_KEY_ID");
        let key = self.get("AWS_SECRET_ACCESS_KEY");
        let half = |missing: &str, given: &str| {
            let detail = format!("{missing} is missing from the environment, which has {given}");
            Err(LoginProblem::CredentialsFailed(detail))
        };
        match (id, key) {
            (Some(id), Some(key)) => Ok(Some(AwsCredentials {
                access_key_id: id.to_owned(),
                secret_access_key: Secret::new(key.as_bytes()),
                session_token: self
                    .get("AWS_SESSION_TOKEN")
                    .map(|token| Secret::new(token.as_bytes())),
                expires_at: None,
            })),
            (Some(_), None) => half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
            (None, Some(_)) => half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            (None, None) => Ok(None),
        }
    }
}

impl ChainConfig {
    fn profile(&self) -> Option<&str> {
        self.profile
            .as_deref()
            .or_else(|| self.environment.get("AWS_PROFILE"))
    }

    /// Looks everywhere anew, for files and tokens may have changed; on this thread alone, with
    /// everything that it takes.
    pub(super) fn fetch_alone(
        &self,
        region: &str,
        limit: Duration,
    ) -> Result<AwsCredentials, LoginProblem> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| LoginProblem::CredentialsFailed(error.to_string()))?;
        let fetch = async { tokio::time::timeout(limit, self.fetch(region)).await };
        let fetched = runtime.block_on(fetch);
        // What hangs in one of its threads is not waited for.
        runtime.shutdown_background();
        fetched.map_err(|_| LoginProblem::CredentialsTimeout(limit))?
    }

    async fn fetch(&self, region: &str) -> Result<AwsCredentials, LoginProblem> {
        // As with Amazon's programs, a profile that the user named is meant.
        if self.profile.is_none() {
            if let Some(found) = self.environment.credentials()? {
                return Ok(found);
            }
        }
        let config = ProviderConfig::default().with_region(Some(Region::new(region.to_owned())));
        let profile = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_files(self.files())
            .profile_name(self.profile().unwrap_or("default"))
            .build();
        let found = if let Some(name) = self.profile() {
            // Another identity must not take its place.
            profile.provide_credentials().await.map_err(|error| {
                let detail = format!("profile {name}: {}", detail(&error));
                match problem(&error) {
                    LoginProblem::CredentialsMissing(_) => LoginProblem::CredentialsFailed(detail),
                    other => other,
                }
            })?
        } else {
            let chain = self.chain(profile, &config)?;
            let found = chain.provide_credentials().await;
            found.map_err(|error| problem(&error))?
        };
        let token = found.session_token();
        Ok(AwsCredentials {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: Secret::new(found.secret_access_key().as_bytes()),
            session_token: token.map(|token| Secret::new(token.as_bytes())),
            expires_at: found.expiry(),
        })
    }

    fn chain(
        &self,
        profile: ProfileFileCredentialsProvider,
        config: &ProviderConfig,
    ) -> Result<CredentialsProviderChain, LoginProblem> {
        let mut chain = CredentialsProviderChain::first_try("Profile", profile);
        if let Some(web_identity) = self.web_identity(config) {
            chain = chain.or_else("WebIdentityToken", web_identity);
        }
        let container = EcsCredentialsProvider::builder().configure(config).build();
        let chain = chain.or_else("Container", container);
        let is_disabled = self.environment.get("AWS_EC2_METADATA_DISABLED");
        if is_disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(chain);
        }
        let mut client = imds::Client::builder().configure(config);
        if let Some(endpoint) = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            client = client.endpoint(endpoint).map_err(|_| {
                let detail = "AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL".to_owned();
                LoginProblem::CredentialsFailed(detail)
            })?;
        }
        let instance = ImdsCredentialsProvider::builder()
            .configure(config)
            .imds_client(client.build())
            .build();
        Ok(chain.or_else("Instance", instance))
    }

    fn web_identity(&self, config: &ProviderConfig) -> Option<WebIdentityTokenCredentialsProvider> {
        let file = self.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")?;
        let role_arn = self.environment.get("AWS_ROLE_ARN")?;
        let name = self.environment.get("AWS_ROLE_SESSION_NAME");
        let configuration = StaticConfiguration {
            web_identity_token_file: file.into(),
            role_arn: role_arn.to_owned(),
            session_name: name.unwrap_or("palladion").to_owned(),
        };
        let builder = WebIdentityTokenCredentialsProvider::builder().configure(config);
        Some(builder.static_configuration(configuration).build())
    }
}

impl ChainConfig {
    /// The files that profiles stand in, as the application's environment says: one that is not
    /// there is empty, and not the one that the process began with.
    fn files(&self) -> EnvConfigFiles {
        let home = self.environment.get("HOME");
        let home = home.or_else(|| self.environment.get("USERPROFILE"));
        let mut files = EnvConfigFiles::builder();
        for (kind, variable, name) in [
            (EnvConfigFileKind::Config, "AWS_CONFIG_FILE", "config"),
            (
                EnvConfigFileKind::Credentials,
                "AWS_SHARED_CREDENTIALS_FILE",
                "credentials",
            ),
        ] {
            let named = self.environment.get(variable).map(PathBuf::from);
            let usual = || home.map(|home| Path::new(home).join(".aws").join(name));
            files = match named.or_else(usual).filter(|path| path.is_file()) {
                Some(path) => files.with_file(kind, path),
                None => files.with_contents(kind, ""),
            };
        }
        files.build()
    }
}

/// The region that the profile names, if it names one.
pub async fn profile_region(chain: &ChainConfig) -> Option<String> {
    let profile = ProfileFileRegionProvider::builder()
        .profile_files(chain.files())
        .profile_name(chain.profile().unwrap_or("default"));
    let region = profile.build().region().await?;
    Some(region.to_string())
}

/// How long what is told of an error may be.
const LONGEST: usize = 300;

fn problem(error: &CredentialsError) -> LoginProblem {
    let detail = detail(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => LoginProblem::CredentialsMissing(detail),
        CredentialsError::ProviderTimedOut(timed_out) => {
            LoginProblem::CredentialsTimeout(timed_out.timeout_duration())
        }
        _ => LoginProblem::CredentialsFailed(detail),
    }
}

/// The error and its causes in a line.
fn detail(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
