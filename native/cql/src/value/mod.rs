//! Values (section 6): bytes to whatever a [`Builder`] makes, and from whatever a [`Source`] is.

mod builder;
mod dynamic;
mod encode;
mod source;
pub mod uuid;

pub use builder::{decode, Builder};
pub(crate) use builder::{decode_one, Unpaid};
pub use dynamic::{Value, Values};
pub use encode::{encode, EncodeError, Problem, Step};
pub use source::{Answer, Source};

#[cfg(test)]
mod tests;
