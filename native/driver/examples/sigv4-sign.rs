//! Signs as a login at Amazon Keyspaces does, for comparisons with other implementations.
//!
//! A line of standard input has, with tabs in between, a region, an access key's name, the key, a
//! session token or `-`, a time in milliseconds since 1970 and a challenge in hexadecimal digits.
//! The answer is a line with the response in hexadecimal digits, or `-` where there is none.

use std::io::{self, BufRead, Write};

use palladion_driver::auth::callbacks::time_of_millis;
use palladion_driver::auth::sigv4::{response_to, AwsCredentials};
use palladion_driver::Secret;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        match answer(&line?) {
            Some(response) => writeln!(out, "{}", hex(&response))?,
            None => writeln!(out, "-")?,
        }
    }
    Ok(())
}

fn answer(line: &str) -> Option<Vec<u8>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [region, id, key, token, time, challenge] = fields[..] else {
        return None;
    };
    let credentials = AwsCredentials {
        access_key_id: id.to_owned(),
        secret_access_key: Secret::new(key.as_bytes()),
        session_token: (token != "-").then(|| Secret::new(token.as_bytes())),
        expires_at: None,
    };
    let now = time_of_millis(time.parse().ok()?)?;
    response_to(&unhex(challenge)?, &credentials, region, now)
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
