//! Credentials of Amazon Web Services from the places where its own programs look: each test makes
//! the environment of a process of its own, which is this one started again.
#![cfg(feature = "sigv4")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palladion_driver::auth::sigv4::{profile_region, AwsSource, ChainConfig, SigV4Config};
use palladion_driver::auth::AuthMethod;
use palladion_driver::{ClusterConfig, Event, Secret};
use palladion_testkit::aws::{AccessKey, AccessKeys, Fault, Service, StandIn, StandInOptions};
use palladion_testkit::{Login, Options, Server};
use support::*;

const REGION: &str = "us-east-1";
/// Logins are made by so many clusters at once.
const CLUSTERS: usize = 5;
const EXPIRIES: u64 = 50;

/// What a child is told beside its environment.
const PORT: &str = "PALLADION_TEST_PORT";
const TASK: &str = "PALLADION_TEST_TASK";
const PROFILE: &str = "PALLADION_TEST_PROFILE";
const GIVEN: &str = "PALLADION_TEST_GIVEN";
const TIMEOUT_MS: &str = "PALLADION_TEST_TIMEOUT_MS";

/// A server that checks signatures, the keys that it knows, and files for the child.
struct Amazon {
    server: Server,
    keys: AccessKeys,
    dir: PathBuf,
}

impl Amazon {
    fn new() -> Self {
        let keys = AccessKeys::default();
        let options = Options {
            login: Some(Login::sigv4(REGION, keys.clone())),
            ..Options::default()
        };
        let name = format!(
            "palladion-aws-{}-{}",
            std::process::id(),
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_nanos()
        );
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self {
            server: Server::start(options).unwrap(),
            keys,
            dir,
        }
    }

    fn key(&self, id: &str, secret: &str, token: Option<&str>) {
        let mut key = AccessKey::new(id, secret);
        key.session_token = token.map(str::to_owned);
        self.keys.add(key).unwrap();
    }

    fn stand_in(&self, service: Service, options: StandInOptions) -> StandIn {
        StandIn::start(service, options, &self.keys).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// This process once more, with nothing of Amazon's in its environment but this.
    fn child(&self, task: &str, environment: &[(&str, &str)]) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars() {
            if name.starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--exact", "a_child", "--ignored", "--nocapture"])
            .env("HOME", &self.dir)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env(PORT, self.server.address().port().to_string())
            .env(TASK, task)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What one login in such a process comes to.
    fn outcome(&self, environment: &[(&str, &str)]) -> String {
        let mut child = self.child("once", environment);
        let mut said = String::new();
        let mut out = child.stdout.take().unwrap();
        out.read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        let outcome = said.lines().find_map(|line| line.split_once("outcome: "));
        outcome.expect(&said).1.to_owned()
    }
}

impl Drop for Amazon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn short_lived() -> StandInOptions {
    StandInOptions {
        validity: Duration::from_secs(3),
        ..StandInOptions::default()
    }
}

/// Logs in again and again while credentials expire under it.
fn outlives_expiries(amazon: &Amazon, stand_in: &StandIn, environment: &[(&str, &str)]) {
    let mut child = amazon.child("many", environment);
    let enough = EXPIRIES + CLUSTERS as u64;
    let issued = stand_in.wait(Duration::from_secs(300), |seen| seen.issued >= enough);
    drop(child.stdin.take());
    let mut said = String::new();
    let mut out = child.stdout.take().unwrap();
    out.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(issued.is_ok(), "{issued:?} {said}");
    let counters = amazon.server.counters();
    assert_eq!(counters.failed_logins, 0, "{said}");
    assert!(counters.logins > 2 * EXPIRIES, "{} logins", counters.logins);
    assert!(said.contains("failures: 0"), "{said}");
}

fn imds() -> Service {
    Service::Imds {
        role: "testkit".to_owned(),
        region: REGION.to_owned(),
    }
}

fn of_instance(url: &str) -> [(&'static str, String); 2] {
    [
        ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.to_owned()),
    ]
}

#[test]
fn the_instances_credentials_expire_without_a_failed_login() {
    let amazon = Amazon::new();
    let stand_in = amazon.stand_in(imds(), short_lived());
    let variables = of_instance(&stand_in.url());
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    outlives_expiries(&amazon, &stand_in, &variables);
}

#[test]
fn the_containers_credentials_expire_without_a_failed_login() {
    let amazon = Amazon::new();
    let token = "Bearer abc";
    let stand_in = amazon.stand_in(Service::Container(Some(token.to_owned())), short_lived());
    let uri = format!("{}/get-credentials", stand_in.url());
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token),
    ];
    outlives_expiries(&amazon, &stand_in, &variables);
    assert_eq!(stand_in.counters().refused, 0);
}

#[test]
fn web_identity_credentials_expire_without_a_failed_login() {
    let amazon = Amazon::new();
    let stand_in = amazon.stand_in(Service::Sts(Some("a.web.token".to_owned())), short_lived());
    let file = amazon.file("token", "a.web.token");
    let url = stand_in.url();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/testkit"),
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
    ];
    outlives_expiries(&amazon, &stand_in, &variables);
}

#[test]
fn a_profile_assumes_a_role() {
    let amazon = Amazon::new();
    let stand_in = amazon.stand_in(Service::Sts(None), StandInOptions::default());
    let text = "[profile app]\nrole_arn = arn:aws:iam::123456789012:role/app\n\
                source_profile = base\n[profile base]\naws_access_key_id = AKIDBASE\n\
                aws_secret_access_key = secret\n";
    let config = amazon.file("config", text);
    let url = stand_in.url();
    let outcome = amazon.outcome(&[
        ("AWS_CONFIG_FILE", &config),
        ("AWS_PROFILE", "app"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ]);
    assert_eq!(outcome, "ready");
    assert_eq!(stand_in.counters().issued, 1);
}

#[test]
fn keys_come_from_the_environment_or_a_file() {
    let amazon = Amazon::new();
    amazon.key("AKIDENV", "secret-env", Some("token+/="));
    amazon.key("AKIDFILE", "secret-file", None);
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIDENV"),
        ("AWS_SECRET_ACCESS_KEY", "secret-env"),
        ("AWS_SESSION_TOKEN", "token+/="),
    ];
    assert_eq!(amazon.outcome(&environment), "ready");
    std::fs::create_dir_all(amazon.dir.join(".aws")).unwrap();
    let usual = "[default]\naws_access_key_id=AKIDFILE\naws_secret_access_key=secret-file\n";
    amazon.file(".aws/credentials", usual);
    assert_eq!(amazon.outcome(&[]), "ready");
    let named = usual.replace("default", "other");
    let file = amazon.file("elsewhere", &named);
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.as_str()),
        (PROFILE, "other"),
    ];
    assert_eq!(amazon.outcome(&variables), "ready");
    // A profile that was named is meant, whatever else there is.
    let all: Vec<_> = variables.iter().chain(&environment).copied().collect();
    assert_eq!(amazon.outcome(&all), "ready");
    let used: Vec<_> = amazon
        .server
        .connections()
        .into_iter()
        .filter_map(|connection| connection.login.access_key_id)
        .collect();
    assert_eq!(used, ["AKIDENV", "AKIDFILE", "AKIDFILE", "AKIDFILE"]);
}

#[test]
fn what_the_application_has_set_since_wins() {
    let amazon = Amazon::new();
    amazon.key("AKIDNEW", "secret-new", None);
    let outcome = amazon.outcome(&[
        ("AWS_ACCESS_KEY_ID", "AKIDOLD"),
        ("AWS_SECRET_ACCESS_KEY", "secret-old"),
        (
            GIVEN,
            "AWS_ACCESS_KEY_ID=AKIDNEW,AWS_SECRET_ACCESS_KEY=secret-new",
        ),
    ]);
    assert_eq!(outcome, "ready");
}

#[test]
fn each_way_to_fail_has_its_own_reason_in_time() {
    let amazon = Amazon::new();
    let half = [("AWS_ACCESS_KEY_ID", "AKIDHALF")];
    let outcome = amazon.outcome(&half);
    assert!(outcome.contains("CredentialsFailed") && outcome.contains("AWS_SECRET_ACCESS_KEY"));
    let none = amazon.outcome(&[]);
    assert!(none.contains("CredentialsMissing"), "{none}");
    let unknown = [
        ("AWS_ACCESS_KEY_ID", "AKIDUNKNOWN"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let refused = amazon.outcome(&unknown);
    assert!(refused.contains("SignatureRefused"), "{refused}");
    for (fault, expected) in [
        (Fault::Hang, "CredentialsTimeout"),
        (Fault::Failure, "CredentialsFailed"),
        (Fault::Half, "CredentialsFailed"),
        (Fault::Garbage, "CredentialsFailed"),
        (Fault::Expired, "CredentialsExpired"),
    ] {
        let options = StandInOptions {
            fault: Some(fault),
            ..StandInOptions::default()
        };
        let stand_in = amazon.stand_in(Service::Container(None), options);
        let uri = stand_in.url();
        let limit = if fault == Fault::Hang { "500" } else { "30000" };
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
            (TIMEOUT_MS, limit),
        ];
        let began = Instant::now();
        let outcome = amazon.outcome(&variables);
        assert!(outcome.contains(expected), "{fault:?}: {outcome}");
        assert!(began.elapsed() < Duration::from_secs(60), "{fault:?}");
    }
}

#[test]
fn a_profile_that_was_named_is_meant() {
    let amazon = Amazon::new();
    let stand_in = amazon.stand_in(imds(), StandInOptions::default());
    let [enabled, endpoint] = of_instance(&stand_in.url());
    let instance = [
        (enabled.0, enabled.1.as_str()),
        (endpoint.0, endpoint.1.as_str()),
    ];
    assert_eq!(amazon.outcome(&instance), "ready");
    for variable in [PROFILE, "AWS_PROFILE"] {
        let [enabled, endpoint] = instance;
        let outcome = amazon.outcome(&[enabled, endpoint, (variable, "prodd")]);
        assert!(
            outcome.contains("CredentialsFailed") && outcome.contains("prodd"),
            "{outcome}"
        );
    }
}

#[test]
fn what_the_application_has_taken_away_is_gone() {
    let amazon = Amazon::new();
    amazon.key("AKIDFILE", "secret-file", None);
    std::fs::create_dir_all(amazon.dir.join(".aws")).unwrap();
    amazon.file(
        ".aws/credentials",
        "[default]\naws_access_key_id=AKIDFILE\naws_secret_access_key=secret-file\n",
    );
    assert_eq!(amazon.outcome(&[]), "ready");
    for given in ["HOME=", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent"] {
        let outcome = amazon.outcome(&[(GIVEN, given)]);
        assert!(outcome.contains("CredentialsMissing"), "{given}: {outcome}");
    }
}

#[test]
fn programs_are_not_run() {
    let amazon = Amazon::new();
    let ran = amazon.dir.join("ran");
    let text = format!("[default]\ncredential_process = touch {}\n", ran.display());
    let config = amazon.file("config", &text);
    let outcome = amazon.outcome(&[("AWS_CONFIG_FILE", &config)]);
    assert!(outcome.contains("CredentialsFailed"), "{outcome}");
    assert!(!ran.exists());
}

#[cfg(unix)]
#[test]
fn a_file_that_hangs_stops_neither_the_clock_nor_others() {
    let amazon = Amazon::new();
    let fifo = amazon.dir.join("token");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let outcome = amazon.outcome(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", fifo.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/testkit"),
        (TIMEOUT_MS, "300"),
    ]);
    assert!(outcome.contains("CredentialsTimeout"), "{outcome}");
}

#[tokio::test]
async fn a_profile_names_the_region() {
    let amazon = Amazon::new();
    let config = amazon.file(
        "config",
        "[default]\nregion = eu-west-1\n[profile other]\nregion = ap-south-1\n[profile none]\n",
    );
    let region = |profile: Option<&str>| {
        let chain = ChainConfig {
            profile: profile.map(str::to_owned),
            environment: [("AWS_CONFIG_FILE".to_owned(), Secret::new(config.as_bytes()))]
                .into_iter()
                .collect(),
        };
        async move { profile_region(&chain).await }
    };
    assert_eq!(region(None).await.as_deref(), Some("eu-west-1"));
    assert_eq!(region(Some("other")).await.as_deref(), Some("ap-south-1"));
    assert_eq!(region(Some("none")).await, None);
}

/// What runs in the other process.
#[test]
#[ignore = "started by the other tests, in an environment that they make"]
fn a_child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    // One thread, as clusters have on small machines: nothing may hold it up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    match task.as_str() {
        "once" => println!("outcome: {}", runtime.block_on(once())),
        _ => println!("failures: {}", runtime.block_on(many())),
    }
}

fn config() -> ClusterConfig {
    // What Elixir would hand on: its own environment, with what was set since.
    let mut environment: Vec<_> = std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_") || name == "HOME")
        .collect();
    if let Ok(given) = std::env::var(GIVEN) {
        for pair in given.split(',') {
            let (name, value) = pair.split_once('=').unwrap();
            environment.retain(|(known, _)| known != name);
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    let chain = ChainConfig {
        profile: std::env::var(PROFILE).ok(),
        environment: environment
            .into_iter()
            .map(|(name, value)| (name, Secret::new(value.as_bytes())))
            .collect(),
    };
    let mut login = auth(AuthMethod::SigV4(SigV4Config {
        region: REGION.to_owned(),
        source: AwsSource::Chain(chain),
    }));
    let limit = std::env::var(TIMEOUT_MS)
        .ok()
        .and_then(|ms| ms.parse().ok());
    login.timeout = Duration::from_millis(limit.unwrap_or(10_000));
    let mut config = at("127.0.0.1", std::env::var(PORT).unwrap().parse().unwrap());
    config.timeouts.login = Duration::from_secs(40);
    config.auth = Some(login);
    config
}

async fn once() -> String {
    let mut started = start(config());
    loop {
        match started.events.recv().await.unwrap() {
            Event::Opened { .. } => return "ready".to_owned(),
            Event::ConnectFailed { error, .. } => return format!("{:?}", error.failure),
            _ => {}
        }
    }
}

/// Logs in again and again until standard input ends; how often that failed.
async fn many() -> usize {
    let stop = tokio::task::spawn_blocking(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    });
    let clusters: Vec<_> = (0..CLUSTERS).map(|_| start(config())).collect();
    let mut failures = 0;
    while !stop.is_finished() {
        for started in &clusters {
            let _ = started.reconnect().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for mut started in clusters {
        while let Ok(event) = started.events.try_recv() {
            failures += usize::from(matches!(event, Event::ConnectFailed { .. }));
        }
    }
    failures
}
