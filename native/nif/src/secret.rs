//! Secrets of the Elixir side: a resource whose content never comes back.

use palladion_driver::Secret;
use rustler::{Binary, Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::errors::NativeError;

pub(crate) struct SecretResource(pub(crate) Secret);

#[rustler::resource_impl]
impl Resource for SecretResource {}

/// Copies a binary into memory that is wiped when nobody refers to it any more.
#[rustler::nif]
fn secret_new<'a>(env: Env<'a>, value: Term<'a>) -> Term<'a> {
    let secret = value.decode::<Binary<'_>>().map_err(|_| {
        // Not `badarg`: its stack trace would print the argument.
        NativeError::bad_argument("secret")
    });
    match secret {
        Ok(bytes) => ResourceArc::new(SecretResource(Secret::new(&bytes))).encode(env),
        Err(error) => (atoms::error(), error).encode(env),
    }
}
