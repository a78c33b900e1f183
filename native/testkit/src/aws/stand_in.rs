//! IMDSv2, the container endpoint and STS, each as far as clients ask it for credentials.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::http::{Answer, HttpServer, Request};
use super::{expiry, AccessKey, AccessKeys};
use crate::clock;
use crate::hash::random_hex;
use crate::Error;

/// What a stand-in stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// The metadata of an EC2 instance (IMDSv2), whose role and region are these.
    Imds {
        /// The role that its credentials are of.
        role: String,
        /// The region that it is in.
        region: String,
    },
    /// The endpoint of a container or a pod, at any path; with the Authorization header that it asks
    /// for, if it does.
    Container(Option<String>),
    /// STS; with the web identity token that it accepts, if not any.
    Sts(Option<String>),
}

/// What a stand-in does with requests for credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Never answers.
    Hang,
    /// Answers with status 500.
    Failure,
    /// Leaves the secret out.
    Half,
    /// Answers with something else.
    Garbage,
    /// Gives out what expired an hour ago.
    Expired,
}

/// How a stand-in behaves; can be changed while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandInOptions {
    /// How long what it gives out is good.
    pub validity: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// How often it does, if not always.
    pub fault_times: Option<u64>,
}

impl Default for StandInOptions {
    fn default() -> Self {
        Self {
            validity: Duration::from_secs(3600),
            fault: None,
            fault_times: None,
        }
    }
}

/// What a stand-in has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AwsCounters {
    /// Requests of any kind.
    pub requests: u64,
    /// Session tokens of IMDSv2 given out.
    pub tokens: u64,
    /// Requests for credentials: answered, or not by a fault.
    pub asked: u64,
    /// Credentials given out, good ones.
    pub issued: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Requests that were refused: without or with a wrong token.
    pub refused: u64,
}

impl AwsCounters {
    /// Every count with its name.
    pub fn pairs(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("requests", self.requests),
            ("tokens", self.tokens),
            ("asked", self.asked),
            ("issued", self.issued),
            ("faults", self.faults),
            ("refused", self.refused),
        ]
    }
}

/// A small HTTP server on 127.0.0.1 that hands out access keys, a new one each time, and makes them
/// known to [`AccessKeys`]. Dropping it stops it.
#[derive(Debug)]
pub struct StandIn {
    server: HttpServer,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    service: Service,
    keys: AccessKeys,
    /// The session token of IMDSv2.
    token: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    options: StandInOptions,
    counters: AwsCounters,
}

/// How often a condition is looked at that somebody waits for.
const LOOK: Duration = Duration::from_millis(5);

impl StandIn {
    /// Starts one. It listens when this returns.
    pub fn start(
        service: Service,
        options: StandInOptions,
        keys: &AccessKeys,
    ) -> Result<Self, Error> {
        let desk = Arc::new(Desk {
            service,
            keys: keys.clone(),
            token: random_hex(40),
            state: Mutex::new(State {
                options,
                counters: AwsCounters::default(),
            }),
        });
        let server = HttpServer::start({
            let desk = desk.clone();
            move |request| desk.answer(request)
        })?;
        Ok(Self { server, desk })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The same as the address of its root, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// How it behaves now.
    pub fn options(&self) -> StandInOptions {
        self.desk.lock().options
    }

    /// Changes how it behaves.
    pub fn set_options(&self, options: StandInOptions) {
        self.desk.lock().options = options;
    }

    /// What it has seen.
    pub fn counters(&self) -> AwsCounters {
        self.desk.lock().counters
    }

    /// Waits until the counters fulfil a condition; gives the last ones as an error if they don't.
    pub fn wait(
        &self,
        timeout: Duration,
        condition: impl Fn(&AwsCounters) -> bool,
    ) -> Result<AwsCounters, AwsCounters> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.counters();
            if condition(&seen) {
                return Ok(seen);
            }
            if Instant::now() >= deadline {
                return Err(seen);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// What a client is to be given.
enum Given {
    Key(AccessKey),
    Fault(Answer),
}

impl Desk {
    fn answer(&self, request: &Request) -> Answer {
        self.lock().counters.requests += 1;
        match &self.service {
            Service::Imds { role, region } => self.imds(role, region, request),
            Service::Container(authorization) => {
                let expected = authorization.as_deref();
                if expected.is_some() && request.header("authorization") != expected {
                    return self.refuse(Answer::text(401, "the authorization token is wrong"));
                }
                self.json(&[("RoleArn", "arn:aws:iam::123456789012:role/testkit")])
            }
            Service::Sts(token) => self.sts(token.as_deref(), request),
        }
    }

    fn imds(&self, role: &str, region: &str, request: &Request) -> Answer {
        let path = request.path.as_str();
        if path == "/latest/api/token" {
            let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            let Some(ttl) = ttl.filter(|_| request.method == "PUT") else {
                return self.refuse(Answer::text(400, "a token is asked for with PUT and a TTL"));
            };
            self.lock().counters.tokens += 1;
            return Answer::Now {
                status: 200,
                kind: "text/plain",
                headers: vec![("x-aws-ec2-metadata-token-ttl-seconds", ttl.to_owned())],
                body: self.token.clone(),
            };
        }
        if request.header("x-aws-ec2-metadata-token") != Some(&self.token) {
            return self.refuse(Answer::text(401, "the token is missing or wrong"));
        }
        let path = path.strip_prefix("/latest/meta-data/").unwrap_or_default();
        let roles = path.strip_prefix("iam/security-credentials/");
        match roles {
            _ if path == "placement/region" => Answer::text(200, region),
            Some("") => Answer::text(200, role),
            Some(asked) if asked == role => {
                let now = clock::to_text(clock::now());
                self.json(&[
                    ("Code", "Success"),
                    ("LastUpdated", &now),
                    ("Type", "AWS-HMAC"),
                ])
            }
            _ => Answer::text(404, "there is nothing"),
        }
    }

    fn json(&self, more: &[(&str, &str)]) -> Answer {
        let (key, half) = match self.give() {
            (Given::Fault(answer), _) => return answer,
            (Given::Key(key), half) => (key, half),
        };
        let expiration = clock::to_text(key.expires_at.unwrap_or_default());
        let mut fields = more.to_vec();
        fields.push(("AccessKeyId", &key.id));
        if !half {
            fields.push(("SecretAccessKey", &key.secret));
        }
        fields.push(("Token", key.session_token.as_deref().unwrap_or_default()));
        fields.push(("Expiration", &expiration));
        let fields = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":\"{value}\""));
        let body = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
        Answer::new(200, "application/json", body)
    }

    fn sts(&self, expected: Option<&str>, request: &Request) -> Answer {
        let action = request.field("Action").unwrap_or_default();
        let named = request.field("RoleArn").is_some_and(|arn| !arn.is_empty());
        let problem = match action.as_str() {
            _ if request.method != "POST" => Some("InvalidAction"),
            "AssumeRoleWithWebIdentity" => {
                let token = request.field("WebIdentityToken").unwrap_or_default();
                let right = expected.map_or(!token.is_empty(), |expected| token == expected);
                (!right).then_some("InvalidIdentityToken")
            }
            "AssumeRole" => {
                let signed = request.header("authorization");
                let signed = signed.is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256 "));
                (!signed).then_some("MissingAuthenticationToken")
            }
            _ => Some("InvalidAction"),
        };
        let problem = problem.or((!named).then_some("ValidationError"));
        if let Some(code) = problem {
            let body = format!(
                "<ErrorResponse xmlns=\"{XML}\"><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>refused</Message></Error><RequestId>1</RequestId></ErrorResponse>"
            );
            return self.refuse(Answer::new(400, "text/xml", body));
        }
        let (key, half) = match self.give() {
            (Given::Fault(answer), _) => return answer,
            (Given::Key(key), half) => (key, half),
        };
        let secret = if half {
            String::new()
        } else {
            format!("<SecretAccessKey>{}</SecretAccessKey>", key.secret)
        };
        let body = format!(
            "<{action}Response xmlns=\"{XML}\"><{action}Result><Credentials>\
             <AccessKeyId>{}</AccessKeyId>{secret}<SessionToken>{}</SessionToken>\
             <Expiration>{}</Expiration></Credentials><AssumedRoleUser>\
             <Arn>arn:aws:sts::123456789012:assumed-role/testkit/session</Arn>\
             <AssumedRoleId>AROATESTKIT:session</AssumedRoleId></AssumedRoleUser>\
             </{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
             </{action}Response>",
            key.id,
            key.session_token.as_deref().unwrap_or_default(),
            clock::to_text(key.expires_at.unwrap_or_default()),
        );
        Answer::new(200, "text/xml", body)
    }

    /// A new access key and whether only half of it is to be told, or another answer.
    fn give(&self) -> (Given, bool) {
        let (validity, fault) = {
            let mut state = self.lock();
            state.counters.asked += 1;
            let fault = state.fault();
            state.counters.faults += u64::from(fault.is_some());
            state.counters.issued += u64::from(fault.is_none());
            (state.options.validity, fault)
        };
        let expires_at = match fault {
            Some(Fault::Hang) => return (Given::Fault(Answer::Never), false),
            Some(Fault::Failure) => {
                return (Given::Fault(Answer::text(500, "as the test wanted")), false);
            }
            Some(Fault::Garbage) => {
                return (Given::Fault(Answer::text(200, "not what you think")), false);
            }
            Some(Fault::Expired) => clock::now() - 3_600_000,
            Some(Fault::Half) | None => expiry(validity),
        };
        match self.keys.issue(expires_at) {
            Ok(key) => (Given::Key(key), fault == Some(Fault::Half)),
            Err(error) => (Given::Fault(Answer::text(500, &error.to_string())), false),
        }
    }

    fn refuse(&self, answer: Answer) -> Answer {
        self.lock().counters.refused += 1;
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const XML: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

impl State {
    /// The fault that happens now.
    fn fault(&mut self) -> Option<Fault> {
        match &mut self.options.fault_times {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        self.options.fault
    }
}
