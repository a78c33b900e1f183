//! Logins out of commands.

use palladion_testkit::aws::AccessKeys;
use palladion_testkit::login::{
    CertificateLogin, Faults, LastMessage, LastMessageIn, Mechanism, Method, SigV4,
};
use palladion_testkit::{parse_hex, Login};

use crate::desk::millis;
use crate::line::Command;
use crate::rule::list;

/// Who may log in and how; nothing without `user=`, `method=` and `mechanisms=`.
pub(crate) fn login(command: &mut Command, keys: &AccessKeys) -> Result<Option<Login>, String> {
    let authenticator = command.take("authenticator");
    let user = command.take("user");
    let Some(method) = method(command, keys, user.is_some())? else {
        return Ok(None);
    };
    let password = match &method {
        Method::Mechanism(Mechanism::External | Mechanism::Anonymous)
        | Method::SigV4(_)
        | Method::Certificate(_)
        | Method::Script(..) => command.take("password").unwrap_or_default(),
        _ if user.is_none() => return Err("user= is missing".to_owned()),
        _ => command.need("password")?,
    };
    let mut login = Login::new(&user.unwrap_or_default(), &password).by(method);
    if let Some(class) = authenticator {
        login.authenticator = class;
    }
    login.may_act_as = list(command.take("may_act_as"));
    login.iterations = command.parsed("iterations")?.unwrap_or(login.iterations);
    if let Some(salt) = hex(command, "salt")? {
        login.salt = salt;
    }
    if let Some(realms) = command.take("realms") {
        login.realms = list(Some(realms));
    }
    login.last_message_in = match command.take("final").as_deref() {
        None | Some("success") => LastMessageIn::Success,
        Some("challenge") => LastMessageIn::Challenge,
        Some(other) => return Err(format!("final={other} is none of success, challenge")),
    };
    login.faults = faults(command)?;
    Ok(Some(login))
}

fn method(
    command: &mut Command,
    keys: &AccessKeys,
    has_user: bool,
) -> Result<Option<Method>, String> {
    let names = command.take("mechanisms");
    let method = command.take("method");
    if let Some(names) = names {
        if method.is_some() {
            return Err("method= and mechanisms= exclude each other".to_owned());
        }
        let mechanisms = list(Some(names)).into_iter().map(|name| {
            let known = Mechanism::from_name(&name);
            known.ok_or_else(|| format!("mechanisms={name} is none"))
        });
        return Ok(Some(Method::Negotiated(
            mechanisms.collect::<Result<_, _>>()?,
        )));
    }
    Ok(Some(match method.as_deref() {
        None if !has_user => return Ok(None),
        None => Method::Mechanism(Mechanism::Plain),
        Some("sigv4") => Method::SigV4(SigV4 {
            keys: keys.clone(),
            region: command.take("region").unwrap_or("us-east-1".to_owned()),
            skew: command.parsed("skew")?.unwrap_or(0),
            suffix: command.take("nonce_suffix").unwrap_or_default(),
        }),
        Some("certificate") => Method::Certificate(CertificateLogin {
            role: command.take("role").unwrap_or("certificate".to_owned()),
            ready: command.parsed("ready")?.unwrap_or(false),
            fallback: command.parsed("fallback")?.unwrap_or(false),
        }),
        Some("script") => {
            let challenges = list(command.take("challenges")).into_iter();
            let challenges = challenges.map(|digits| parse_bytes("challenges", &digits));
            let challenges = challenges.collect::<Result<_, _>>()?;
            Method::Script(challenges, hex(command, "last")?)
        }
        Some(name) => {
            let name = name.replace('_', "-").to_uppercase();
            let mechanism = Mechanism::from_name(&name);
            Method::Mechanism(mechanism.ok_or_else(|| format!("method={name} is unknown"))?)
        }
    }))
}

fn faults(command: &mut Command) -> Result<Faults, String> {
    let last_message = match command.take("last_message").as_deref() {
        None | Some("right") => LastMessage::Right,
        Some("wrong") => LastMessage::Wrong,
        Some("missing") => LastMessage::Missing,
        Some(digits) => LastMessage::Bytes(parse_bytes("last_message", digits)?),
    };
    let n = command.parsed("challenge_number")?.unwrap_or(1);
    let challenge = match command.take("challenge").as_deref() {
        None => None,
        Some("null") => Some((n, None)),
        Some(digits) => Some((n, Some(parse_bytes("challenge", digits)?))),
    };
    Ok(Faults {
        last_message,
        challenge,
        endless: command.parsed("endless")?.unwrap_or(false),
        hang_after: command.parsed("hang_after")?,
        close_after: command.parsed("close_after")?,
        delay: millis(command, "login_delay")?.unwrap_or_default(),
    })
}

fn hex(command: &mut Command, key: &str) -> Result<Option<Vec<u8>>, String> {
    let digits = command.take(key);
    digits.map(|digits| parse_bytes(key, &digits)).transpose()
}

fn parse_bytes(key: &str, digits: &str) -> Result<Vec<u8>, String> {
    parse_hex(digits).ok_or_else(|| format!("{key}={digits} is no hexadecimal number"))
}
