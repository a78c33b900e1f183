//! The NIF library: handles and requests of the BEAM towards the driver, and its answers as terms.
//!
//! Rules of this boundary stand in ARCHITECTURE.md: no function here runs long on a scheduler,
//! errors are returned as `{kind, map}`, a caller is answered exactly once, and resources' callbacks
//! only signal.

mod atoms;
mod auth;
mod callbacks;
mod cluster;
mod config;
mod errors;
mod events;
mod flights;
mod pkcs12;
mod probe;
mod reply;
mod request;
mod results;
mod runtime;
mod secret;
mod status;
mod terms;
mod timing;

rustler::init!("Elixir.Palladion.Native", load = load);

/// Called with an empty `MapSet`, whose fields differ between Elixir's versions.
fn load(_env: rustler::Env<'_>, empty_map_set: rustler::Term<'_>) -> bool {
    terms::remember_map_set(empty_map_set);
    true
}
