//! CRAM-MD5 (RFC 2195) and DIGEST-MD5 (RFC 2831), the server's side.

use std::collections::HashMap;

use super::conversation::{incorrect, may_act, Exchange, Step, Told};
use super::Login;
use crate::hash::{hex, random_hex, Hash};

#[derive(Debug)]
pub(crate) struct CramMd5 {
    login: Login,
    challenge: String,
    asked: bool,
}

impl CramMd5 {
    pub(crate) fn new(login: &Login) -> Self {
        Self {
            login: login.clone(),
            challenge: format!("<{}@testkit>", random_hex(16)),
            asked: false,
        }
    }
}

impl Exchange for CramMd5 {
    fn answer(&mut self, token: &[u8], _told: &mut Told) -> Step {
        if !self.asked {
            self.asked = true;
            return ask(token, &self.challenge);
        }
        let token = String::from_utf8_lossy(token);
        let Some((user, digest)) = token.rsplit_once(' ') else {
            return Step::Refused("CRAM-MD5: there is no user and digest".to_owned());
        };
        let (password, challenge) = (&self.login.password, &self.challenge);
        let expected = Hash::Md5.hmac(password.as_bytes(), challenge.as_bytes());
        if user == self.login.user && digest == hex(&expected) {
            Step::Done(user.to_owned(), None)
        } else {
            incorrect(user)
        }
    }
}

/// Where the server speaks first, the client has nothing to say before.
fn ask(token: &[u8], challenge: &str) -> Step {
    if token.is_empty() {
        Step::Challenge(challenge.as_bytes().to_vec())
    } else {
        Step::Refused("the server speaks first in this mechanism".to_owned())
    }
}

#[derive(Debug)]
pub(crate) struct DigestMd5 {
    login: Login,
    nonce: String,
    asked: bool,
}

impl DigestMd5 {
    pub(crate) fn new(login: &Login) -> Self {
        Self {
            login: login.clone(),
            nonce: random_hex(24),
            asked: false,
        }
    }

    fn challenge(&self) -> String {
        let realms = self.login.realms.iter();
        let realms: String = realms
            .map(|realm| format!("realm={},", quoted(realm)))
            .collect();
        format!(
            "{realms}nonce=\"{}\",qop=\"auth\",charset=utf-8,algorithm=md5-sess",
            self.nonce
        )
    }

    fn check(&self, token: &[u8], told: &mut Told) -> Result<Step, String> {
        let token = std::str::from_utf8(token).map_err(|_| "the response is no UTF-8")?;
        let given = directives(token)?;
        let value = |name: &str| given.get(name).map(String::as_str);
        let need = |name: &'static str| value(name).ok_or(format!("{name} is missing"));
        let (user, uri) = (need("username")?, need("digest-uri")?);
        let realm = value("realm").unwrap_or_default();
        let offered = &self.login.realms;
        let none_needed = offered.is_empty() && realm.is_empty();
        if !none_needed && !offered.iter().any(|known| known == realm) {
            return Err("the realm is none that was offered".to_owned());
        }
        if need("nonce")? != self.nonce {
            return Err("the nonce is not that of the challenge".to_owned());
        }
        if need("nc")? != "00000001" {
            return Err("the nonce was used before".to_owned());
        }
        if value("qop").unwrap_or("auth") != "auth" {
            return Err("qop is not auth".to_owned());
        }
        if !uri.contains('/') {
            return Err("digest-uri is no service and host".to_owned());
        }
        let cnonce = need("cnonce")?;
        if cnonce.is_empty() {
            return Err("cnonce is empty".to_owned());
        }
        told.authorization_id = value("authzid").map(str::to_owned);
        let utf8 = match value("charset") {
            None => false,
            Some("utf-8") => true,
            Some(_) => return Err("charset is not utf-8".to_owned()),
        };
        let digest = Digest {
            user: encoded(user, utf8)?,
            realm: encoded(realm, utf8)?,
            password: encoded(&self.login.password, utf8)?,
            nonce: &self.nonce,
            cnonce,
            uri,
            authorization_id: told.authorization_id.as_deref(),
        };
        if user != self.login.user || need("response")? != digest.of("AUTHENTICATE") {
            return Ok(incorrect(user));
        }
        if let Err(message) = may_act(&self.login, told.authorization_id.as_deref()) {
            return Ok(Step::Refused(message));
        }
        let last = format!("rspauth={}", digest.of(""));
        Ok(Step::Done(user.to_owned(), Some(last.into_bytes())))
    }
}

impl Exchange for DigestMd5 {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        if !self.asked {
            self.asked = true;
            return ask(token, &self.challenge());
        }
        self.check(token, told)
            .unwrap_or_else(|problem| Step::Refused(format!("DIGEST-MD5: {problem}")))
    }
}

struct Digest<'a> {
    user: Vec<u8>,
    realm: Vec<u8>,
    password: Vec<u8>,
    nonce: &'a str,
    cnonce: &'a str,
    uri: &'a str,
    authorization_id: Option<&'a str>,
}

impl Digest<'_> {
    /// The client's proof with the method `AUTHENTICATE`, the server's without one.
    fn of(&self, method: &str) -> String {
        let Self {
            user,
            realm,
            password,
            nonce,
            cnonce,
            uri,
            authorization_id,
        } = self;
        let md5 = |parts: &[&[u8]]| Hash::Md5.of(parts);
        let secret = md5(&[user, b":", realm, b":", password]);
        let role = authorization_id
            .map(|id| format!(":{id}"))
            .unwrap_or_default();
        let session = format!(":{nonce}:{cnonce}{role}");
        let a1 = hex(&md5(&[&secret, session.as_bytes()]));
        let a2 = hex(&md5(&[format!("{method}:{uri}").as_bytes()]));
        let all = format!("{a1}:{nonce}:00000001:{cnonce}:auth:{a2}");
        hex(&md5(&[all.as_bytes()]))
    }
}

/// What is hashed of a text: ISO 8859-1 wherever it has the characters, else UTF-8, if that was agreed on.
fn encoded(text: &str, utf8: bool) -> Result<Vec<u8>, String> {
    let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    match latin {
        Some(latin) => Ok(latin),
        None if utf8 => Ok(text.as_bytes().to_vec()),
        None => Err("a text needs charset=utf-8".to_owned()),
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{text}\"")
}

/// `name=value,name="value"`, each name once.
fn directives(text: &str) -> Result<HashMap<String, String>, String> {
    let mut found = HashMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("a directive has no value")?;
        let (value, after) = match after.strip_prefix('"') {
            Some(after) => unquote(after).ok_or("a quotation has no end")?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        rest = match after.strip_prefix(',') {
            Some(rest) => rest.trim_start(),
            None if after.is_empty() => after,
            None => return Err("there is something behind a quotation".to_owned()),
        };
        if found.insert(name.trim().to_lowercase(), value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(found)
}

/// The text up to the closing quotation mark, and what comes after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(chars.next()?.1),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_rfc_2195() {
        let mut cram = CramMd5::new(&Login::new("tim", "tanstaaftanstaaf"));
        cram.challenge = "<1896.697170952@postoffice.reston.mci.net>".to_owned();
        let mut told = Told::default();
        cram.answer(b"", &mut told);
        let response = b"tim b913a602c7eda7a495b4e6e7334d3890";
        assert!(
            matches!(cram.answer(response, &mut told), Step::Done(user, None) if user == "tim")
        );
    }

    #[test]
    fn the_conversation_of_rfc_2831() {
        let mut login = Login::new("chris", "secret");
        login.realms = vec!["elwood.innosoft.com".to_owned()];
        let mut digest = DigestMd5::new(&login);
        digest.nonce = "OA6MG9tEQGm2hh".to_owned();
        let mut told = Told::default();
        digest.answer(b"", &mut told);
        let response = "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",\
                        nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",digest-uri=\"imap/elwood.innosoft.com\",\
                        response=d388dad90d4bbd760a152321f2143af7,qop=auth";
        let last = b"rspauth=ea40f60335c427b5527b84dbabcdfffd".to_vec();
        match digest.answer(response.as_bytes(), &mut told) {
            Step::Done(user, sent) => assert_eq!((user.as_str(), sent), ("chris", Some(last))),
            Step::Refused(message) => panic!("{message}"),
            Step::Challenge(_) => panic!("one more challenge"),
        }
    }

    #[test]
    fn directives_may_be_quoted() {
        let read = directives(r#"a="x, \"y\" \\",b=z, C=1"#).unwrap();
        assert_eq!(read["a"], r#"x, "y" \"#);
        assert_eq!((read["b"].as_str(), read["c"].as_str()), ("z", "1"));
        for wrong in ["a", "a=\"x", "a=\"x\"y", "a=1,a=2"] {
            assert!(directives(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts_are_latin_where_they_can_be() {
        assert_eq!(encoded("é", true), Ok(vec![0xE9]));
        assert_eq!(encoded("€", true), Ok("€".as_bytes().to_vec()));
        assert!(encoded("€", false).is_err());
    }
}
