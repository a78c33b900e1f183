//! Values as terms, both ways, without anything in between.

mod build;
mod civil;
mod source;

pub(crate) use build::{distinct_or_last, remember_map_set, text, Forms, TermBuilder};
pub(crate) use source::TermSource;
