//! Stand-ins for AWS services, and the access keys that all of them and all servers share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use palladion_testkit::aws::{
    expiry, AccessKey, AccessKeys, AwsCounters, Fault, Service, StandIn, StandInOptions,
};

use crate::bounds::Bounds;
use crate::desk::{millis, told, Reply};
use crate::line::{Command, Pairs};

/// Stand-ins at a time, at most.
const MAX_STAND_INS: usize = 64;

/// What there is of AWS.
#[derive(Default)]
pub(crate) struct Aws {
    pub(crate) keys: AccessKeys,
    stand_ins: HashMap<u64, Arc<StandIn>>,
    last_id: u64,
}

impl Aws {
    /// Carries out what is about AWS; nothing if the command is none of these.
    pub(crate) fn carry_out(&mut self, command: &mut Command) -> Option<Result<Reply, String>> {
        let done = match command.name.as_str() {
            "access_key" => self.add_key(command),
            "access_keys" => self.all_keys(command),
            "forget_access_key" => self.forget_key(command),
            "aws_start" => self.start(command),
            "aws_set" => self.set(command),
            "aws_counters" => self.counters(command),
            "aws_wait" => return Some(self.wait(command)),
            "aws_stop" => self.stop(command),
            _ => return None,
        };
        Some(done.map(Reply::from))
    }

    /// One that is known keeps what isn't named.
    fn add_key(&self, command: &mut Command) -> Result<Pairs, String> {
        let id = command.need("access_key_id")?;
        let known = self.keys.get(&id);
        let mut key = known.unwrap_or_else(|| AccessKey::new(&id, ""));
        if let Some(secret) = command.take("secret") {
            key.secret = secret;
        }
        if key.secret.is_empty() {
            return Err("secret= is missing".to_owned());
        }
        key.session_token = command.take("session_token").or(key.session_token);
        if let Some(validity) = millis(command, "expires_in")? {
            key.expires_at = Some(expiry(validity));
        }
        command.finish()?;
        told(self.keys.add(key)).map(|()| Pairs::default())
    }

    fn all_keys(&self, command: &Command) -> Result<Pairs, String> {
        command.finish()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as i64);
        let keys = self.keys.all().into_iter();
        Ok(keys.fold(Pairs::default(), |pairs, key| {
            let own = Pairs::default()
                .with("secret", key.secret)
                .with_some("session_token", key.session_token)
                .with_some("expires_in", key.expires_at.map(|end| end - now));
            pairs.with(&key.id, own.into_text())
        }))
    }

    fn forget_key(&self, command: &mut Command) -> Result<Pairs, String> {
        let id = command.need("access_key_id")?;
        command.finish()?;
        if self.keys.forget(&id) {
            Ok(Pairs::default())
        } else {
            Err(format!("there is no access key {id}"))
        }
    }

    fn start(&mut self, command: &mut Command) -> Result<Pairs, String> {
        if self.stand_ins.len() >= MAX_STAND_INS {
            return Err("too many stand-ins".to_owned());
        }
        let service = match command.need("service")?.as_str() {
            "imds" => Service::Imds {
                role: command.take("role").unwrap_or("testkit".to_owned()),
                region: command.take("region").unwrap_or("us-east-1".to_owned()),
            },
            "container" => Service::Container(command.take("authorization")),
            "sts" => Service::Sts(command.take("web_identity_token")),
            other => return Err(format!("service={other} is none of imds, container, sts")),
        };
        let options = options(command, StandInOptions::default())?;
        command.finish()?;
        let stand_in = told(StandIn::start(service, options, &self.keys))?;
        self.last_id += 1;
        let answer = Pairs::default()
            .with("aws", self.last_id)
            .with("address", stand_in.address().ip())
            .with("port", stand_in.address().port())
            .with("url", stand_in.url());
        self.stand_ins.insert(self.last_id, Arc::new(stand_in));
        Ok(answer)
    }

    fn set(&self, command: &mut Command) -> Result<Pairs, String> {
        let (_, stand_in) = self.find(command)?;
        let options = options(command, stand_in.options())?;
        command.finish()?;
        stand_in.set_options(options);
        Ok(Pairs::default())
    }

    fn counters(&self, command: &mut Command) -> Result<Pairs, String> {
        let (_, stand_in) = self.find(command)?;
        command.finish()?;
        Ok(counts(stand_in.counters()))
    }

    /// `aws_wait issued.min=3 timeout=5000`
    fn wait(&self, command: &mut Command) -> Result<Reply, String> {
        let (_, stand_in) = self.find(command)?;
        let timeout = millis(command, "timeout")?.unwrap_or(Duration::from_secs(5));
        let bounds = Bounds::take(command, &AwsCounters::default().pairs())?;
        Ok(Reply::Later(Box::new(move || {
            let hold = |counters: &AwsCounters| bounds.hold(&counters.pairs());
            let seen = stand_in.wait(timeout, hold);
            seen.map(counts)
                .map_err(|seen| format!("not in time: {seen:?}"))
        })))
    }

    fn stop(&mut self, command: &mut Command) -> Result<Pairs, String> {
        let (id, _) = self.find(command)?;
        command.finish()?;
        self.stand_ins.remove(&id);
        Ok(Pairs::default())
    }

    /// The one that `aws=` names, or the last one started.
    fn find(&self, command: &mut Command) -> Result<(u64, Arc<StandIn>), String> {
        let id = command.parsed("aws")?.unwrap_or(self.last_id);
        let stand_in = self.stand_ins.get(&id).cloned();
        let stand_in = stand_in.ok_or_else(|| format!("there is no stand-in {id}"))?;
        Ok((id, stand_in))
    }
}

/// A fault that isn't named once more is over.
fn options(command: &mut Command, now: StandInOptions) -> Result<StandInOptions, String> {
    let fault = match command.take("fault").as_deref() {
        None | Some("none") => None,
        Some("hang") => Some(Fault::Hang),
        Some("failure") => Some(Fault::Failure),
        Some("half") => Some(Fault::Half),
        Some("garbage") => Some(Fault::Garbage),
        Some("expired") => Some(Fault::Expired),
        Some(other) => {
            return Err(format!(
                "fault={other} is none of none, hang, failure, half, garbage, expired"
            ));
        }
    };
    Ok(StandInOptions {
        validity: millis(command, "validity")?.unwrap_or(now.validity),
        fault,
        fault_times: command.parsed("fault_times")?,
    })
}

fn counts(counters: AwsCounters) -> Pairs {
    let pairs = counters.pairs().into_iter();
    pairs.fold(Pairs::default(), |pairs, (name, n)| pairs.with(name, n))
}
