//! Logins as Amazon Keyspaces has them: the client signs a nonce (AWS Signature Version 4).

use super::conversation::{Exchange, Step, Told};
use super::SigV4;
use crate::clock;
use crate::hash::{hex, random_hex, Hash};

/// What the client's first token is.
const FIRST: &[u8] = b"SigV4\0\0";
/// By how much the client's clock may differ, in milliseconds.
const TOLERANCE: i64 = 15 * 60 * 1000;
/// Regions in which a signature is tried, so that the client can be told that its region is wrong.
const REGIONS: [&str; 8] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-central-1",
    "eu-west-1",
    "ap-northeast-1",
    "ap-southeast-2",
];

/// What is signed, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// The access key's id.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// In lower case.
    pub region: &'a str,
    /// The time of signing: `2020-06-09T22:41:51.000Z`.
    pub amzdate: &'a str,
    /// The 32 characters of the challenge.
    pub nonce: &'a str,
}

/// The signature that belongs to this, 64 hexadecimal digits.
pub fn signature(signing: &Signing<'_>) -> String {
    let Signing {
        access_key_id,
        secret,
        region,
        amzdate,
        nonce,
    } = signing;
    let date: String = amzdate.chars().take(10).filter(|c| *c != '-').collect();
    let scope = format!("{date}/{region}/cassandra/aws4_request");
    let credential = url_encoded(&format!("{access_key_id}/{scope}"));
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires=900",
        url_encoded(amzdate)
    );
    let sha256 = |text: &str| hex(&Hash::Sha256.of(&[text.as_bytes()]));
    let lines = [
        "PUT",
        "/authenticate",
        &query,
        "host:cassandra",
        "",
        "host",
        &sha256(nonce),
    ];
    let request = sha256(&lines.join("\n"));
    let to_sign = format!("AWS4-HMAC-SHA256\n{amzdate}\n{scope}\n{request}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date.as_str(), region, "cassandra", "aws4_request", &to_sign] {
        key = Hash::Sha256.hmac(&key, part.as_bytes());
    }
    hex(&key)
}

/// A point in time, in milliseconds since 1970, as it is signed.
pub fn amzdate(millis: i64) -> String {
    clock::to_text(millis)
}

fn url_encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}

#[derive(Debug)]
pub(crate) struct SigV4Exchange {
    options: SigV4,
    nonce: String,
    asked: bool,
}

impl SigV4Exchange {
    pub(crate) fn new(options: SigV4) -> Self {
        Self {
            options,
            nonce: random_hex(32),
            asked: false,
        }
    }

    /// Who has logged in, or why nobody has.
    fn check(&self, token: &[u8], now: i64, told: &mut Told) -> Result<String, String> {
        let text = std::str::from_utf8(token).map_err(|_| "The response is no text")?;
        let response = Response::parse(text).ok_or("The response is malformed")?;
        let id = response.access_key_id;
        told.access_key_id = Some(id.to_owned());
        told.session_token = response.session_token.map(str::to_owned);
        let signed_at = clock::from_text(response.amzdate).ok_or("amzdate is malformed")?;
        let key = self.options.keys.get(id);
        let key = key.ok_or("The access key is unknown")?;
        match (&key.session_token, response.session_token) {
            (Some(_), None) => return Err("The session token is missing".to_owned()),
            (None, Some(_)) => return Err("The access key has no session token".to_owned()),
            (Some(known), Some(given)) if known != given => {
                return Err("The session token is not that of the access key".to_owned());
            }
            _ => {}
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err("The credentials have expired".to_owned());
        }
        if signed_at < now - TOLERANCE {
            return Err("The signature has expired".to_owned());
        }
        if signed_at > now + TOLERANCE {
            return Err("The signature is not yet current".to_owned());
        }
        let signed_for = |region: &str| {
            response.signature
                == signature(&Signing {
                    access_key_id: id,
                    secret: &key.secret,
                    region,
                    amzdate: response.amzdate,
                    nonce: &self.nonce,
                })
        };
        let region = &self.options.region;
        if signed_for(region) {
            Ok(id.to_owned())
        } else if let Some(other) = REGIONS.into_iter().find(|other| signed_for(other)) {
            Err(format!(
                "The signature is for {other}, and not for {region}"
            ))
        } else {
            Err("The signature does not match".to_owned())
        }
    }
}

impl Exchange for SigV4Exchange {
    fn answer(&mut self, token: &[u8], told: &mut Told) -> Step {
        if !self.asked {
            if token != FIRST {
                return Step::Refused("The first response is not SigV4".to_owned());
            }
            self.asked = true;
            let challenge = format!("nonce={}{}", self.nonce, self.options.suffix);
            return Step::Challenge(challenge.into_bytes());
        }
        match self.check(token, clock::now() + self.options.skew, told) {
            Ok(id) => Step::Done(id, None),
            Err(message) => Step::Refused(message),
        }
    }
}

/// `signature=…,access_key=…,amzdate=…[,session_token=…]`, in this order.
struct Response<'a> {
    signature: &'a str,
    access_key_id: &'a str,
    amzdate: &'a str,
    session_token: Option<&'a str>,
}

impl<'a> Response<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(',');
        let signature = parts.next()?.strip_prefix("signature=")?;
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if signature.len() != 64 || !signature.bytes().all(digits) {
            return None;
        }
        let access_key_id = parts.next()?.strip_prefix("access_key=")?;
        let amzdate = parts.next()?.strip_prefix("amzdate=")?;
        let session_token = match parts.next() {
            None => None,
            Some(part) => Some(part.strip_prefix("session_token=")?),
        };
        parts.next().is_none().then_some(Self {
            signature,
            access_key_id,
            amzdate,
            session_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{AccessKey, AccessKeys};

    const AMZDATE: &str = "2020-06-09T22:41:51.000Z";
    const NONCE: &str = "91703fdc2ef562e19fbdab0f58e42fe5";
    const SIGNATURE: &str = "7f3691c18a81b8ce7457699effbfae5b09b4e0714ab38c1292dbdf082c9ddd87";

    fn exchange(region: &str, session_token: Option<&str>) -> SigV4Exchange {
        let keys = AccessKeys::default();
        let mut key = AccessKey::new("UserID-1", "UserSecretKey-1");
        key.session_token = session_token.map(str::to_owned);
        keys.add(key).unwrap();
        SigV4Exchange {
            options: SigV4 {
                keys,
                region: region.to_owned(),
                skew: 0,
                suffix: String::new(),
            },
            nonce: NONCE.to_owned(),
            asked: true,
        }
    }

    fn check(exchange: &SigV4Exchange, token: &str, later: i64) -> Result<String, String> {
        let now = clock::from_text(AMZDATE).unwrap() + later;
        exchange.check(token.as_bytes(), now, &mut Told::default())
    }

    fn token(end: &str) -> String {
        format!("signature={SIGNATURE},access_key=UserID-1,amzdate={AMZDATE}{end}")
    }

    #[test]
    fn the_published_vector() {
        let signing = Signing {
            access_key_id: "UserID-1",
            secret: "UserSecretKey-1",
            region: "us-west-2",
            amzdate: AMZDATE,
            nonce: NONCE,
        };
        assert_eq!(signature(&signing), SIGNATURE);
    }

    #[test]
    fn a_signature_is_good_for_its_key_token_region_and_time_only() {
        let us = exchange("us-west-2", None);
        assert_eq!(check(&us, &token(""), 0).as_deref(), Ok("UserID-1"));
        assert!(check(&us, &token(""), TOLERANCE).is_ok());
        assert!(check(&us, &token(""), -TOLERANCE).is_ok());
        let with_token = exchange("us-west-2", Some("sess-token-1"));
        assert!(check(&with_token, &token(",session_token=sess-token-1"), 0).is_ok());
        let altered = token("").replace("=7f", "=8f");
        let unknown = token("").replace("UserID-1", "UserID-2");
        let problems = [
            check(&us, &altered, 0),
            check(&us, &unknown, 0),
            check(&us, &token(",session_token=x"), 0),
            check(&with_token, &token(""), 0),
            check(&with_token, &token(",session_token=x"), 0),
            check(&us, &token(""), TOLERANCE + 1),
            check(&us, &token(""), -TOLERANCE - 1),
            check(&exchange("eu-west-1", None), &token(""), 0),
            check(&us, "signature=7f", 0),
        ];
        for (at, problem) in problems.iter().enumerate() {
            assert!(problem.is_err(), "{at}");
            assert!(!problems[..at].contains(problem), "{problem:?}");
        }
        us.options.keys.expire("UserID-1", 0);
        let expired = check(&us, &token(""), 0).unwrap_err();
        assert_eq!(expired, "The credentials have expired");
    }

    #[test]
    fn a_response_has_its_parts_in_order() {
        for wrong in [
            format!("access_key=a,signature={SIGNATURE},amzdate={AMZDATE}"),
            token(",other=x"),
            token(",session_token=a,b"),
            token("").to_uppercase(),
        ] {
            assert!(Response::parse(&wrong).is_none(), "{wrong}");
        }
    }
}
