//! PKCS#12 files for the Elixir side, which can read PEM and DER itself.

use palladion_driver::tls::{read_pkcs12 as read, Pkcs12, Pkcs12Error};
use palladion_driver::Secret;
use rustler::{Binary, Encoder, Env, NewBinary, ResourceArc, Term};

use crate::atoms;
use crate::errors::{reply, NativeError};
use crate::secret::SecretResource;

/// Deriving a key from a password takes long by design.
#[rustler::nif(schedule = "DirtyCpu")]
fn read_pkcs12<'a>(env: Env<'a>, file: Term<'a>, password: Term<'a>) -> Term<'a> {
    reply(env, decoded(file, password))
}

fn decoded(file: Term<'_>, password: Term<'_>) -> Result<Answer, NativeError> {
    let file: Binary<'_> = file
        .decode()
        .map_err(|_| NativeError::bad_argument("file"))?;
    let password: Option<ResourceArc<SecretResource>> = password
        .decode()
        .map_err(|_| NativeError::bad_argument("password"))?;
    let none = Secret::new(b"");
    let password = password.as_ref().map_or(&none, |password| &password.0);
    read(&file, password)
        .map(Answer)
        .map_err(|error| NativeError::from(&error))
}

/// `{[der], {:pkcs8, secret}}`.
struct Answer(Pkcs12);

impl Encoder for Answer {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let chain: Vec<Term<'a>> = self
            .0
            .chain
            .iter()
            .map(|der| NewBinary::from_slice(env, der).into())
            .collect();
        let key = ResourceArc::new(SecretResource(self.0.key.clone()));
        (chain, (atoms::pkcs8(), key)).encode(env)
    }
}

impl From<&Pkcs12Error> for NativeError {
    fn from(error: &Pkcs12Error) -> Self {
        match error {
            Pkcs12Error::WrongPassword => Self::named("wrong_password"),
            Pkcs12Error::Malformed(detail) => {
                Self::named("malformed").with("detail", detail.as_str())
            }
            Pkcs12Error::NoKey => Self::named("no_key"),
            Pkcs12Error::NoCertificate => Self::named("no_certificate"),
            Pkcs12Error::AmbiguousKey(count) => {
                Self::named("ambiguous_key").with("count", i64::try_from(*count).unwrap_or(0))
            }
            Pkcs12Error::KeyMismatch => Self::named("key_mismatch"),
            Pkcs12Error::UnsupportedEncryption(detail) => {
                Self::named("unsupported_encryption").with("detail", detail.as_str())
            }
        }
    }
}
