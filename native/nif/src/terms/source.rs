//! From terms to what an encoder asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use palladion_cql::value::{uuid, Answer, Source};
use rustler::types::map::MapIterator;
use rustler::types::tuple::get_tuple;
use rustler::{Atom, BigInt, Binary, Term};

use super::civil;
use crate::atoms;

/// A term as a value.
#[derive(Clone, Copy)]
pub(crate) enum TermSource<'a> {
    Term(Term<'a>),
    /// The end of a list that does not end properly: no value of any type.
    ImproperTail,
}

impl<'a> TermSource<'a> {
    fn term(self) -> Option<Term<'a>> {
        match self {
            Self::Term(term) => Some(term),
            Self::ImproperTail => None,
        }
    }

    fn is(self, atom: Atom) -> bool {
        self.term()
            .is_some_and(|term| term.is_atom() && atom == term)
    }

    fn binary(self) -> Option<Binary<'a>> {
        self.term()?.decode().ok()
    }

    /// The term, if it is a map and no struct: what a struct is, it says by `Palladion.Encoder`.
    fn plain_map(self) -> Option<Term<'a>> {
        self.term()
            .filter(|term| term.is_map() && term.map_get(atoms::__struct__()).is_err())
    }

    /// The term, if it is this struct.
    fn structure(self, module: Atom) -> Option<Term<'a>> {
        let term = self.term()?;
        let name: Atom = term.map_get(atoms::__struct__()).ok()?.decode().ok()?;
        (name == module).then_some(term)
    }

    fn int_field(term: Term<'a>, field: Atom) -> Option<i64> {
        term.map_get(field).ok()?.decode().ok()
    }

    /// The same, where a struct made by hand could have anything.
    fn field_in(term: Term<'a>, field: Atom, range: RangeInclusive<i64>) -> Option<i64> {
        Self::int_field(term, field).filter(|value| range.contains(value))
    }

    /// A number out of a struct with a calendar; an integer is that number itself.
    fn calendar(self, module: Atom, number: fn(Term<'a>) -> Option<i64>) -> Answer<i64> {
        let Some(term) = self.structure(module) else {
            return self.int();
        };
        let calendar = term.map_get(atoms::calendar());
        if calendar.is_ok_and(|calendar| atoms::elixir_calendar_iso() == calendar) {
            number(term).map_or(Answer::OutOfRange, Answer::Yes)
        } else {
            Answer::No
        }
    }

    /// Days since 1970 of a struct that has a date.
    fn days(term: Term<'a>) -> Option<i64> {
        let year = Self::field_in(term, atoms::year(), civil::YEARS)?;
        let month = Self::field_in(term, atoms::month(), 1..=12)?;
        let day = Self::field_in(term, atoms::day(), 1..=31)?;
        let days = civil::to_days(year, month, day);
        // Not the 31st of a shorter month.
        (i64::from(civil::from_days(days).2) == day).then_some(days)
    }

    /// Microseconds since midnight of a struct that has a time.
    fn micros_of_day(term: Term<'a>) -> Option<i64> {
        let hour = Self::field_in(term, atoms::hour(), 0..=23)?;
        let minute = Self::field_in(term, atoms::minute(), 0..=59)?;
        let second = Self::field_in(term, atoms::second(), 0..=59)?;
        let (micros, _precision): (i64, i64) =
            term.map_get(atoms::microsecond()).ok()?.decode().ok()?;
        let seconds = (hour * 60 + minute) * 60 + second;
        (0..1_000_000)
            .contains(&micros)
            .then(|| seconds * 1_000_000 + micros)
    }

    fn date_time_millis(term: Term<'a>) -> Option<i64> {
        let offset = Self::field_in(term, atoms::utc_offset(), -86_400..=86_400)?
            + Self::field_in(term, atoms::std_offset(), -86_400..=86_400)?;
        let of_day = Self::micros_of_day(term)? / 1_000;
        Some(Self::days(term)? * 86_400_000 + of_day - offset * 1_000)
    }
}

/// The items of a list, and a last one that is no value if the list is improper.
struct Items<'a> {
    rest: Option<Term<'a>>,
}

impl<'a> Iterator for Items<'a> {
    type Item = TermSource<'a>;

    fn next(&mut self) -> Option<TermSource<'a>> {
        let rest = self.rest.take()?;
        match rest.list_get_cell() {
            Ok((head, tail)) => {
                self.rest = Some(tail);
                Some(TermSource::Term(head))
            }
            Err(_) if rest.is_empty_list() => None,
            Err(_) => Some(TermSource::ImproperTail),
        }
    }
}

impl<'a> Source<'a> for TermSource<'a> {
    fn is_null(self) -> bool {
        self.is(atoms::nil())
    }

    fn is_unset(self) -> bool {
        self.is(atoms::unset())
    }

    fn is_empty(self) -> bool {
        self.is(atoms::empty())
    }

    fn boolean(self) -> Answer<bool> {
        Answer::from_option(self.term().and_then(|term| term.decode().ok()))
    }

    fn int(self) -> Answer<i64> {
        match self.term().filter(|term| term.is_integer()) {
            Some(term) => term.decode().map_or(Answer::OutOfRange, Answer::Yes),
            None => Answer::No,
        }
    }

    fn varint(self) -> Answer<Vec<u8>> {
        let Some(term) = self.term().filter(|term| term.is_integer()) else {
            return Answer::No;
        };
        if let Ok(short) = term.decode::<i64>() {
            return Answer::Yes(shortest(short));
        }
        let number = term.decode::<BigInt>();
        Answer::from_option(number.ok().map(|number| number.to_signed_bytes_be()))
    }

    fn decimal(self) -> Answer<(i32, Vec<u8>)> {
        let structure = self.structure(atoms::elixir_decimal());
        let structure = structure.or_else(|| self.structure(atoms::palladion_decimal()));
        let Some(term) = structure else {
            return match self.varint() {
                Answer::Yes(integer) => Answer::Yes((0, integer)),
                Answer::No => Answer::No,
                Answer::OutOfRange => Answer::OutOfRange,
            };
        };
        let (Ok(coef), Some(exp), Some(sign)) = (
            term.map_get(atoms::coef())
                .and_then(|coef| coef.decode::<BigInt>()),
            Self::int_field(term, atoms::exp()),
            Self::int_field(term, atoms::sign()),
        ) else {
            // NaN and infinity, which CQL's decimals don't have.
            return Answer::OutOfRange;
        };
        match exp.checked_neg().map(i32::try_from) {
            Some(Ok(scale)) => Answer::Yes((scale, (coef * sign).to_signed_bytes_be())),
            _ => Answer::OutOfRange,
        }
    }

    fn float(self) -> Answer<f64> {
        let Some(term) = self.term() else {
            return Answer::No;
        };
        // Asked first: rustler decodes integers too, rounded.
        if term.is_integer() {
            // As far as a float can say it exactly.
            return match term.decode::<i64>() {
                Ok(value) if value.unsigned_abs() <= 1 << 53 => Answer::Yes(value as f64),
                _ => Answer::OutOfRange,
            };
        }
        if let Ok(value) = term.decode::<f64>() {
            return Answer::Yes(value);
        }
        if self.is(atoms::nan()) {
            Answer::Yes(f64::NAN)
        } else if self.is(atoms::infinity()) {
            Answer::Yes(f64::INFINITY)
        } else if self.is(atoms::neg_infinity()) {
            Answer::Yes(f64::NEG_INFINITY)
        } else {
            Answer::No
        }
    }

    fn text(self) -> Answer<&'a str> {
        match self.binary() {
            Some(bytes) => {
                std::str::from_utf8(bytes.as_slice()).map_or(Answer::OutOfRange, Answer::Yes)
            }
            None => Answer::No,
        }
    }

    fn blob(self) -> Answer<&'a [u8]> {
        Answer::from_option(self.binary().map(|bytes| bytes.as_slice()))
    }

    fn uuid(self) -> Answer<[u8; 16]> {
        let Some(bytes) = self.binary() else {
            return Answer::No;
        };
        match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(uuid) => Answer::Yes(uuid),
            Err(_) => uuid::parse(bytes.as_slice()).map_or(Answer::OutOfRange, Answer::Yes),
        }
    }

    fn timestamp(self) -> Answer<i64> {
        self.calendar(atoms::elixir_date_time(), Self::date_time_millis)
    }

    fn date(self) -> Answer<i64> {
        self.calendar(atoms::elixir_date(), Self::days)
    }

    fn time(self) -> Answer<i64> {
        self.calendar(atoms::elixir_time(), |term| {
            Self::micros_of_day(term).map(|micros| micros * 1_000)
        })
    }

    fn duration(self) -> Answer<(i32, i32, i64)> {
        let Some(term) = self.structure(atoms::elixir_duration()) else {
            return Answer::No;
        };
        let field = |name| Self::int_field(term, name);
        let parts = (
            field(atoms::months()).map(i32::try_from),
            field(atoms::days()).map(i32::try_from),
            field(atoms::nanoseconds()),
        );
        match parts {
            (Some(Ok(months)), Some(Ok(days)), Some(nanos)) => Answer::Yes((months, days, nanos)),
            _ => Answer::OutOfRange,
        }
    }

    fn inet(self) -> Answer<IpAddr> {
        if let Some(text) = self.binary() {
            let text = std::str::from_utf8(text.as_slice()).ok();
            return text
                .and_then(|text| text.parse().ok())
                .map_or(Answer::OutOfRange, Answer::Yes);
        }
        let Some(parts) = self.term().and_then(|term| get_tuple(term).ok()) else {
            return Answer::No;
        };
        // Not as u16 at once: rustler cuts an integer that is too large.
        let part = |part: Term<'a>| part.decode::<u32>().ok()?.try_into().ok();
        let parts: Option<Vec<u16>> = parts.into_iter().map(part).collect();
        match parts.as_deref() {
            Some([a, b, c, d]) if [a, b, c, d].iter().all(|part| **part < 256) => {
                Answer::Yes(Ipv4Addr::new(*a as u8, *b as u8, *c as u8, *d as u8).into())
            }
            Some(&[a, b, c, d, e, f, g, h]) => {
                Answer::Yes(Ipv6Addr::new(a, b, c, d, e, f, g, h).into())
            }
            _ => Answer::OutOfRange,
        }
    }

    fn items(self) -> Answer<impl Iterator<Item = Self>> {
        let list = self
            .term()
            .filter(|term| term.is_list() || term.is_empty_list());
        Answer::from_option(list.map(|rest| Items { rest: Some(rest) }))
    }

    fn members(self) -> Answer<impl Iterator<Item = Self>> {
        // A `MapSet` keeps its members as the keys of a map.
        let map = self
            .term()
            .filter(|_| self.structure(atoms::elixir_map_set()).is_some())
            .and_then(|set| set.map_get(atoms::map()).ok())
            .and_then(MapIterator::new);
        if let Some(members) = map {
            let members = members.map(|(member, _)| Self::Term(member));
            return Answer::Yes(Either::Left(members));
        }
        match self.items() {
            Answer::Yes(items) => Answer::Yes(Either::Right(items)),
            Answer::No => Answer::No,
            Answer::OutOfRange => Answer::OutOfRange,
        }
    }

    fn pairs(self) -> Answer<impl Iterator<Item = (Self, Self)>> {
        let pairs = self.plain_map().and_then(MapIterator::new);
        Answer::from_option(
            pairs.map(|pairs| pairs.map(|(key, value)| (Self::Term(key), Self::Term(value)))),
        )
    }

    fn elements(self) -> Answer<impl ExactSizeIterator<Item = Self>> {
        let elements = self.term().and_then(|term| get_tuple(term).ok());
        Answer::from_option(elements.map(|terms| terms.into_iter().map(Self::Term)))
    }

    fn field_count(self) -> usize {
        self.plain_map()
            .map_or(0, |term| term.map_size().unwrap_or(0))
    }

    fn field(self, name: &str) -> Answer<Option<Self>> {
        let Some(term) = self.plain_map() else {
            return Answer::No;
        };
        if let Ok(value) = term.map_get(name) {
            return Answer::Yes(Some(Self::Term(value)));
        }
        let atom = Atom::existing_from_str(term.get_env(), name).ok();
        let value = atom.and_then(|atom| term.map_get(atom).ok());
        Answer::Yes(value.map(Self::Term))
    }
}

/// Two's complement in as few bytes as hold it.
fn shortest(integer: i64) -> Vec<u8> {
    let bytes = integer.to_be_bytes();
    let sign_bits = (if integer < 0 { !integer } else { integer }).leading_zeros() - 1;
    bytes[(sign_bits / 8) as usize..].to_vec()
}

enum Either<L, R> {
    Left(L),
    Right(R),
}

impl<T, L: Iterator<Item = T>, R: Iterator<Item = T>> Iterator for Either<L, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Left(left) => left.next(),
            Self::Right(right) => right.next(),
        }
    }
}
