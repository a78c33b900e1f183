//! SCRAM (RFC 5802, RFC 7677), the server's side.

use base64::prelude::{Engine, BASE64_STANDARD};

use super::conversation::{incorrect, may_act, Exchange, Step, Told};
use super::Login;
use crate::hash::{random_hex, Hash};

#[derive(Debug)]
pub(crate) struct Scram {
    hash: Hash,
    login: Login,
    /// What the server adds to the client's nonce.
    nonce: String,
    first: Option<First>,
}

/// What was said before the client's last message.
#[derive(Debug)]
struct First {
    header: String,
    bare: String,
    answer: String,
    user: String,
}

impl Scram {
    pub(crate) fn new(hash: Hash, login: &Login) -> Self {
        Self {
            hash,
            login: login.clone(),
            nonce: random_hex(24),
            first: None,
        }
    }

    /// `n,a=role,n=user,r=nonce` → `r=nonce and more,s=salt,i=iterations`
    fn first(&mut self, message: &str, told: &mut Told) -> Result<Step, &'static str> {
        let mut parts = message.splitn(3, ',');
        let (binding, role) = (parts.next(), parts.next().unwrap_or_default());
        if !matches!(binding, Some("n" | "y")) {
            return Err("channel binding is not supported");
        }
        let bare = parts.next().ok_or("there is no message after the header")?;
        if let Some(role) = role.strip_prefix("a=") {
            told.authorization_id = Some(name(role)?);
        } else if !role.is_empty() {
            return Err("the authorization id is malformed");
        }
        let mut attributes = bare.split(',');
        let user = attributes.next().and_then(|part| part.strip_prefix("n="));
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        let (Some(user), Some(nonce)) = (user, nonce) else {
            return Err("the first message has no user and nonce");
        };
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the nonce is malformed");
        }
        let answer = format!(
            "r={nonce}{},s={},i={}",
            self.nonce,
            BASE64_STANDARD.encode(&self.login.salt),
            self.login.iterations
        );
        self.first = Some(First {
            header: message[..message.len() - bare.len()].to_owned(),
            bare: bare.to_owned(),
            answer: answer.clone(),
            user: name(user)?,
        });
        Ok(Step::Challenge(answer.into_bytes()))
    }

    /// `c=header,r=nonce,p=proof` → `v=signature`
    fn last(&self, first: &First, message: &str, told: &Told) -> Result<Step, &'static str> {
        let (unproven, proof) = message
            .rsplit_once(",p=")
            .ok_or("the last message has no proof")?;
        let mut attributes = unproven.split(',');
        let header = format!("c={}", BASE64_STANDARD.encode(&first.header));
        if attributes.next() != Some(&header) {
            return Err("the channel binding is not that of the first message");
        }
        if attributes.next() != first.answer.split(',').next() {
            return Err("the nonce is not that of the challenge");
        }
        let proof = BASE64_STANDARD
            .decode(proof)
            .map_err(|_| "the proof is malformed")?;
        let Login {
            user,
            password,
            salt,
            iterations,
            ..
        } = &self.login;
        let salted = self.hash.pbkdf2(password.as_bytes(), salt, *iterations);
        let said = format!("{},{},{unproven}", first.bare, first.answer);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let stored_key = self.hash.of(&[&client_key]);
        let signature = self.hash.hmac(&stored_key, said.as_bytes());
        let expected: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        if *user != first.user || expected != proof {
            return Ok(incorrect(&first.user));
        }
        if let Err(message) = may_act(&self.login, told.authorization_id.as_deref()) {
            return Ok(Step::Refused(message));
        }
        let server_key = self.hash.hmac(&salted, b"Server Key");
        let signature = self.hash.hmac(&server_key, said.as_bytes());
        let message = format!("v={}", BASE64_STANDARD.encode(signature));
        Ok(Step::Done(user.clone(), Some(message.into_bytes())))
    }
}

impl Exchange for Scram {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        let step = match (std::str::from_utf8(token), self.first.take()) {
            (Err(_), _) => Err("the message is no UTF-8"),
            (Ok(message), None) => self.first(message, told),
            (Ok(message), Some(first)) => self.last(&first, message, told),
        };
        step.unwrap_or_else(|problem| Step::Refused(format!("SCRAM: {problem}")))
    }
}

/// A name, in which `,` and `=` are written as `=2C` and `=3D`.
fn name(text: &str) -> Result<String, &'static str> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (mark, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err("a name is malformed"),
        };
        name.push(mark);
        name.push_str(rest);
    }
    if name.is_empty() {
        return Err("a name is empty");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(hash: Hash, nonce: &str, salt: &str, messages: [&str; 2]) -> [String; 2] {
        let mut login = Login::new("user", "pencil");
        login.salt = BASE64_STANDARD.decode(salt).unwrap();
        let mut scram = Scram::new(hash, &login);
        scram.nonce = nonce.to_owned();
        let mut told = Told::default();
        messages.map(
            |message| match scram.answer(message.as_bytes(), &mut told) {
                Step::Challenge(bytes) | Step::Done(_, Some(bytes)) => {
                    String::from_utf8(bytes).unwrap()
                }
                Step::Done(_, None) => panic!("no last message"),
                Step::Refused(message) => panic!("{message}"),
            },
        )
    }

    #[test]
    fn the_conversation_of_rfc_5802() {
        let said = conversation(
            Hash::Sha1,
            "3rfcNHYJY1ZVvWVs7j",
            "QSXCR+Q6sek8bf92",
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            ],
        );
        assert_eq!(
            said,
            [
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
            ]
        );
    }

    #[test]
    fn the_conversation_of_rfc_7677() {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let said = conversation(
            Hash::Sha256,
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                &format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
            ],
        );
        assert_eq!(
            said,
            [
                format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned()
            ]
        );
    }

    #[test]
    fn names_are_written_without_commas() {
        assert_eq!(name("a=2Cb=3Dc").as_deref(), Ok("a,b=c"));
        assert!(name("a=2").is_err());
        assert!(name("").is_err());
    }
}
