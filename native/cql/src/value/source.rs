//! What an encoder asks of a value.

use std::net::IpAddr;

/// What a value says when it is asked for itself as some type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<T> {
    /// Here it is.
    Yes(T),
    /// It is of another kind: text where a number is wanted.
    No,
    /// It is of that kind, but can't be held by the type.
    OutOfRange,
}

impl<T> Answer<T> {
    /// Of an option: nothing means the value is of another kind.
    pub fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::No, Self::Yes)
    }
}

/// A value that can be encoded. A value is cheap to copy: a term, or a reference.
#[allow(missing_docs)] // a method a kind of value, named like it
pub trait Source<'a>: Copy {
    fn is_null(self) -> bool;
    /// "Leave what is stored as it is", in bound values.
    fn is_unset(self) -> bool;
    /// A value of no bytes where its type has some, as in [`super::Builder::empty`].
    fn is_empty(self) -> bool {
        false
    }
    fn boolean(self) -> Answer<bool>;
    fn int(self) -> Answer<i64>;
    /// Two's complement, big-endian, as short as can be.
    fn varint(self) -> Answer<Vec<u8>>;
    /// Scale, and the unscaled number as in [`Source::varint`].
    fn decimal(self) -> Answer<(i32, Vec<u8>)>;
    fn float(self) -> Answer<f64>;
    fn text(self) -> Answer<&'a str>;
    fn blob(self) -> Answer<&'a [u8]>;
    fn uuid(self) -> Answer<[u8; 16]>;
    /// Milliseconds since 1970.
    fn timestamp(self) -> Answer<i64>;
    /// Days since 1970.
    fn date(self) -> Answer<i64>;
    /// Nanoseconds since midnight.
    fn time(self) -> Answer<i64>;
    /// Months, days, nanoseconds.
    fn duration(self) -> Answer<(i32, i32, i64)>;
    fn inet(self) -> Answer<IpAddr>;
    /// For lists and vectors.
    fn items(self) -> Answer<impl Iterator<Item = Self>>;
    /// For sets.
    fn members(self) -> Answer<impl Iterator<Item = Self>>;
    fn pairs(self) -> Answer<impl Iterator<Item = (Self, Self)>>;
    /// For tuples.
    fn elements(self) -> Answer<impl ExactSizeIterator<Item = Self>>;
    /// How many fields a user-defined type's value has.
    fn field_count(self) -> usize;
    /// The field of that name; `Yes(None)` where the value has none.
    fn field(self, name: &str) -> Answer<Option<Self>>;
}
