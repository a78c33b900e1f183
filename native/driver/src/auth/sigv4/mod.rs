//! Signatures of Amazon Web Services, version 4, as Amazon Keyspaces wants them.

#[cfg(feature = "sigv4")]
mod chain;
mod credentials;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

#[cfg(feature = "sigv4")]
pub use chain::{profile_region, ChainConfig};
pub use credentials::{AwsCredentials, AwsSource};

use super::callbacks::Callbacks;
use crate::error::LoginProblem;
use crate::{EventSink, Failure};
use credentials::Keeper;

/// What AUTH_RESPONSE begins with.
pub(crate) const FIRST: &[u8] = b"SigV4\0\0";

/// The service's name in a signature.
const SERVICE: &str = "cassandra";
/// Digits of a nonce.
const NONCE: usize = 32;

/// A login by signature.
#[derive(Debug, Clone)]
pub struct SigV4Config {
    /// The region of the endpoint: a signature is for one.
    pub region: String,
    /// Where the credentials come from.
    pub source: AwsSource,
}

/// A login by signature, with the credentials it has found.
pub(crate) struct SigV4 {
    region: String,
    keeper: Arc<Keeper>,
}

impl SigV4 {
    pub(crate) fn new(
        config: &SigV4Config,
        callbacks: &Arc<dyn Callbacks>,
        events: &Arc<dyn EventSink>,
        limit: Duration,
    ) -> Self {
        let source = config.source.clone();
        let keeper = Keeper::new(source, &config.region, callbacks, events, limit);
        Self {
            region: config.region.clone(),
            keeper: Arc::new(keeper),
        }
    }

    pub(crate) fn forget(&self) {
        self.keeper.forget();
    }

    /// The answer to a challenge, with the credentials of this moment.
    pub(crate) async fn respond(&self, challenge: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let nonce = nonce(challenge)?;
        let credentials = self.keeper.get().await?;
        sign(nonce, &credentials, &self.region, SystemTime::now())
            .map(Zeroizing::new)
            .ok_or_else(|| {
                LoginProblem::CredentialsFailed("nothing can be signed at this time".to_owned())
                    .into()
            })
    }
}

/// The nonce of a challenge: `nonce=` and 32 characters, up to a comma or the end.
fn nonce(challenge: &[u8]) -> Result<&[u8], LoginProblem> {
    const NAME: &[u8] = b"nonce=";
    let start = challenge
        .windows(NAME.len())
        .position(|window| window == NAME)
        .ok_or_else(|| malformed("there is no nonce= in it"))?;
    let rest = challenge.get(start + NAME.len()..).unwrap_or_default();
    let nonce = rest.split(|byte| *byte == b',').next().unwrap_or_default();
    if nonce.len() != NONCE || !nonce.is_ascii() {
        return Err(malformed("the nonce does not have 32 ASCII characters"));
    }
    Ok(nonce)
}

pub(crate) fn malformed(detail: &str) -> LoginProblem {
    LoginProblem::Challenge {
        mechanism: "SigV4",
        detail: detail.to_owned(),
    }
}

/// `signature=…,access_key=…,amzdate=…[,session_token=…]` for a challenge's nonce; nothing for a time
/// that no date stands for.
fn sign(
    nonce: &[u8],
    credentials: &AwsCredentials,
    region: &str,
    now: SystemTime,
) -> Option<Vec<u8>> {
    let region = region.to_ascii_lowercase();
    let (date, time) = timestamp(now)?;
    let access_key = &credentials.access_key_id;
    let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
    let canonical = format!(
        "PUT\n/authenticate\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={access_key}%2F{}\
         &X-Amz-Date={}&X-Amz-Expires=900\nhost:{SERVICE}\n\nhost\n{}",
        scope.replace('/', "%2F"),
        time.replace(':', "%3A"),
        hex(digest::digest(&digest::SHA256, nonce).as_ref()),
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()),
    );
    let secret = credentials.secret_access_key.expose();
    let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(secret);
    let mut key = mac(&first, date.as_bytes())?;
    for part in [region.as_bytes(), SERVICE.as_bytes(), b"aws4_request"] {
        key = mac(&key, part)?;
    }
    let signature = mac(&key, to_sign.as_bytes())?;
    let token = credentials.session_token.as_ref().map(|t| t.expose());
    let name = ",session_token=";
    let mut response = Vec::with_capacity(256 + token.map_or(0, |t| name.len() + t.len()));
    let head = format!(
        "signature={},access_key={access_key},amzdate={time}",
        hex(&signature)
    );
    // Reserved in one piece, so that no copy of the token stays behind in a grown buffer.
    response.reserve_exact(head.len() + token.map_or(0, |t| name.len() + t.len()));
    response.extend_from_slice(head.as_bytes());
    if let Some(token) = token {
        response.extend_from_slice(name.as_bytes());
        response.extend_from_slice(token);
    }
    Some(response)
}

/// Straight into what is wiped; nothing if the library fails.
fn mac(key: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut tag = Zeroizing::new(vec![0; digest::SHA256_OUTPUT_LEN]);
    hmac::sign_to_buffer(&hmac::Key::new(hmac::HMAC_SHA256, key), data, &mut tag).ok()?;
    Some(tag)
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xF] {
            digits.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    digits
}

/// A time as `yyyymmdd` and as `yyyy-mm-ddThh:mm:ss.mmmZ`: what is beyond the millisecond is cut
/// off, so that it never makes a fourth digit or another date.
fn timestamp(now: SystemTime) -> Option<(String, String)> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days)?;
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    );
    Some((date, time))
}

/// The date of a day since 1970 in the Gregorian calendar; nothing after the year 9999, which the
/// format has no room for.
fn civil(days: u64) -> Option<(u64, u64, u64)> {
    // In years that begin with March, February's last day is the year's.
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year_of_era + next_year;
    (year <= 9_999).then_some((year, month, day))
}

/// Signs as a login does, at a given time: for tests that compare the bytes.
#[doc(hidden)]
pub fn response_to(
    challenge: &[u8],
    credentials: &AwsCredentials,
    region: &str,
    now: SystemTime,
) -> Option<Vec<u8>> {
    sign(nonce(challenge).ok()?, credentials, region, now)
}
