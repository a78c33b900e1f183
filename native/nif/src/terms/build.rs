//! From decoded values to terms.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::OnceLock;

use palladion_cql::types::Udt;
use palladion_cql::value::{uuid, Builder};
use rustler::types::tuple::make_tuple;
use rustler::{BigInt, Encoder, Env, NewBinary, Term};

use super::civil;
use crate::atoms;

/// Builds terms in an environment.
pub(crate) struct TermBuilder<'a> {
    env: Env<'a>,
    forms: Forms,
    /// The texts that every `DateTime` has, made once for all of them.
    utc: Option<(Term<'a>, Term<'a>)>,
    /// The names of each type's fields, made once for all of its values, by the type's address:
    /// types stay where they are while their values are read.
    fields: HashMap<*const Udt, Vec<Term<'a>>>,
}

/// The forms of values for which there is a choice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Forms {
    /// UUIDs as sixteen bytes instead of text.
    pub(crate) binary_uuids: bool,
    /// Timestamps as milliseconds instead of `DateTime`.
    pub(crate) integer_timestamps: bool,
    /// Decimals as the package `decimal` has them, instead of our own struct.
    pub(crate) decimal_package: bool,
}

/// The field `version` of `MapSet`, where this Elixir has one.
static MAP_SET_VERSION: OnceLock<Option<i64>> = OnceLock::new();

/// Remembers what an empty `MapSet` looks like.
pub(crate) fn remember_map_set(empty: Term<'_>) {
    let version = empty.map_get(atoms::version());
    let _ = MAP_SET_VERSION.set(version.and_then(|version| version.decode()).ok());
}

/// Text as a binary of its own: never a part of the page, which it would keep alive.
pub(crate) fn text<'a>(env: Env<'a>, text: &str) -> Term<'a> {
    NewBinary::from_slice(env, text.as_bytes()).into()
}

impl<'a> TermBuilder<'a> {
    pub(crate) fn new(env: Env<'a>, forms: Forms) -> Self {
        Self {
            env,
            forms,
            utc: None,
            fields: HashMap::new(),
        }
    }

    fn structure(&self, keys: &[Term<'a>], values: &[Term<'a>]) -> Term<'a> {
        Term::map_from_term_arrays(self.env, keys, values).unwrap_or_else(|_| self.null())
    }

    /// `null` as a method of no trait, for `&self`.
    fn null(&self) -> Term<'a> {
        atoms::nil().to_term(self.env)
    }

    fn big(&self, bytes: &[u8]) -> Term<'a> {
        match short_integer(bytes) {
            Some(integer) => integer.encode(self.env),
            None => BigInt::from_signed_bytes_be(bytes).encode(self.env),
        }
    }
}

/// An integer of at most eight bytes. Longer ones go through the external term format, which
/// costs more than all other cells of a row.
fn short_integer(bytes: &[u8]) -> Option<i64> {
    let missing = 8usize.checked_sub(bytes.len())?;
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xFF };
    let mut extended = [sign; 8];
    extended[missing..].copy_from_slice(bytes);
    Some(i64::from_be_bytes(extended))
}

const MILLIS_A_DAY: i64 = 86_400_000;

impl<'a> Builder for TermBuilder<'a> {
    type Term = Term<'a>;

    fn null(&mut self) -> Term<'a> {
        TermBuilder::null(self)
    }

    fn empty(&mut self) -> Term<'a> {
        atoms::empty().to_term(self.env)
    }

    fn boolean(&mut self, value: bool) -> Term<'a> {
        value.encode(self.env)
    }

    fn int(&mut self, value: i64) -> Term<'a> {
        value.encode(self.env)
    }

    fn varint(&mut self, bytes: &[u8]) -> Term<'a> {
        self.big(bytes)
    }

    fn decimal(&mut self, scale: i32, unscaled: &[u8]) -> Term<'a> {
        let env = self.env;
        let negative = unscaled.first().is_some_and(|byte| *byte & 0x80 != 0);
        let sign: i64 = if negative { -1 } else { 1 };
        let coef = match short_integer(unscaled) {
            Some(integer) => integer.unsigned_abs().encode(env),
            None => {
                let unscaled = BigInt::from_signed_bytes_be(unscaled);
                let coef: BigInt = unscaled * sign;
                coef.encode(env)
            }
        };
        let module = if self.forms.decimal_package {
            atoms::elixir_decimal()
        } else {
            atoms::palladion_decimal()
        };
        let keys = [
            atoms::__struct__(),
            atoms::sign(),
            atoms::coef(),
            atoms::exp(),
        ];
        let values = [
            module.to_term(env),
            sign.encode(env),
            coef,
            (-i64::from(scale)).encode(env),
        ];
        self.structure(&keys.map(|key| key.to_term(env)), &values)
    }

    fn float(&mut self, value: f64) -> Term<'a> {
        // The BEAM's floats are always finite.
        if value.is_nan() {
            atoms::nan().to_term(self.env)
        } else if value == f64::INFINITY {
            atoms::infinity().to_term(self.env)
        } else if value == f64::NEG_INFINITY {
            atoms::neg_infinity().to_term(self.env)
        } else {
            value.encode(self.env)
        }
    }

    fn text(&mut self, value: &str) -> Term<'a> {
        text(self.env, value)
    }

    fn blob(&mut self, value: &[u8]) -> Term<'a> {
        NewBinary::from_slice(self.env, value).into()
    }

    fn uuid(&mut self, value: &[u8; 16]) -> Term<'a> {
        if self.forms.binary_uuids {
            return NewBinary::from_slice(self.env, value).into();
        }
        NewBinary::from_slice(self.env, &uuid::format(value)).into()
    }

    /// A `DateTime` in UTC, or milliseconds where it can't say the year.
    fn timestamp(&mut self, millis: i64) -> Term<'a> {
        let env = self.env;
        let (year, month, day) = civil::from_days(millis.div_euclid(MILLIS_A_DAY));
        if self.forms.integer_timestamps || !civil::YEARS.contains(&year) {
            return millis.encode(env);
        }
        let of_day = millis.rem_euclid(MILLIS_A_DAY);
        let (zone, abbreviation) = *self
            .utc
            .get_or_insert_with(|| (text(env, "Etc/UTC"), text(env, "UTC")));
        let keys = [
            atoms::__struct__(),
            atoms::calendar(),
            atoms::day(),
            atoms::hour(),
            atoms::microsecond(),
            atoms::minute(),
            atoms::month(),
            atoms::second(),
            atoms::std_offset(),
            atoms::time_zone(),
            atoms::utc_offset(),
            atoms::year(),
            atoms::zone_abbr(),
        ];
        let values = [
            atoms::elixir_date_time().to_term(env),
            atoms::elixir_calendar_iso().to_term(env),
            day.encode(env),
            (of_day / 3_600_000).encode(env),
            (of_day % 1_000 * 1_000, 3).encode(env),
            (of_day / 60_000 % 60).encode(env),
            month.encode(env),
            (of_day / 1_000 % 60).encode(env),
            0.encode(env),
            zone,
            0.encode(env),
            year.encode(env),
            abbreviation,
        ];
        self.structure(&keys.map(|key| key.to_term(env)), &values)
    }

    /// A `Date`, or days since 1970 where it can't say the year.
    fn date(&mut self, days: i64) -> Term<'a> {
        let env = self.env;
        let (year, month, day) = civil::from_days(days);
        if !civil::YEARS.contains(&year) {
            return days.encode(env);
        }
        let keys = [
            atoms::__struct__(),
            atoms::calendar(),
            atoms::day(),
            atoms::month(),
            atoms::year(),
        ];
        let values = [
            atoms::elixir_date().to_term(env),
            atoms::elixir_calendar_iso().to_term(env),
            day.encode(env),
            month.encode(env),
            year.encode(env),
        ];
        self.structure(&keys.map(|key| key.to_term(env)), &values)
    }

    /// A `Time`, or nanoseconds since midnight where it would lose some.
    fn time(&mut self, nanos: i64) -> Term<'a> {
        let env = self.env;
        if nanos % 1_000 != 0 || !(0..86_400_000_000_000).contains(&nanos) {
            return nanos.encode(env);
        }
        let micros = nanos / 1_000;
        let keys = [
            atoms::__struct__(),
            atoms::calendar(),
            atoms::hour(),
            atoms::microsecond(),
            atoms::minute(),
            atoms::second(),
        ];
        let values = [
            atoms::elixir_time().to_term(env),
            atoms::elixir_calendar_iso().to_term(env),
            (micros / 3_600_000_000).encode(env),
            (micros % 1_000_000, 6).encode(env),
            (micros / 60_000_000 % 60).encode(env),
            (micros / 1_000_000 % 60).encode(env),
        ];
        self.structure(&keys.map(|key| key.to_term(env)), &values)
    }

    fn duration(&mut self, months: i32, days: i32, nanos: i64) -> Term<'a> {
        let env = self.env;
        let keys = [
            atoms::__struct__(),
            atoms::months(),
            atoms::days(),
            atoms::nanoseconds(),
        ];
        let values = [
            atoms::elixir_duration().to_term(env),
            months.encode(env),
            days.encode(env),
            nanos.encode(env),
        ];
        self.structure(&keys.map(|key| key.to_term(env)), &values)
    }

    /// A tuple, as `:inet` has it.
    fn inet(&mut self, value: IpAddr) -> Term<'a> {
        let env = self.env;
        let parts: Vec<Term<'a>> = match value {
            IpAddr::V4(ip) => ip.octets().iter().map(|part| part.encode(env)).collect(),
            IpAddr::V6(ip) => ip.segments().iter().map(|part| part.encode(env)).collect(),
        };
        make_tuple(env, &parts)
    }

    fn list(&mut self, items: Vec<Term<'a>>) -> Term<'a> {
        items.encode(self.env)
    }

    fn vector(&mut self, items: Vec<Term<'a>>) -> Term<'a> {
        items.encode(self.env)
    }

    /// A `MapSet`: a struct around a map whose keys are the members.
    fn set(&mut self, items: Vec<Term<'a>>) -> Term<'a> {
        let env = self.env;
        let nothing = Term::list_new_empty(env);
        let members = distinct_or_last(env, &items, &vec![nothing; items.len()]);
        let module = atoms::elixir_map_set().to_term(env);
        let keys = [atoms::__struct__(), atoms::map(), atoms::version()];
        let keys = keys.map(|key| key.to_term(env));
        match MAP_SET_VERSION.get().copied().flatten() {
            Some(version) => self.structure(&keys, &[module, members, version.encode(env)]),
            None => self.structure(&keys[..2], &[module, members]),
        }
    }

    fn map(&mut self, pairs: Vec<(Term<'a>, Term<'a>)>) -> Term<'a> {
        let (keys, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        distinct_or_last(self.env, &keys, &values)
    }

    fn tuple(&mut self, items: Vec<Term<'a>>) -> Term<'a> {
        make_tuple(self.env, &items)
    }

    fn udt(&mut self, udt: &Udt, fields: Vec<Term<'a>>) -> Term<'a> {
        let env = self.env;
        let keys = self.fields.entry(std::ptr::from_ref(udt));
        let keys =
            keys.or_insert_with(|| udt.fields.iter().map(|(name, _)| text(env, name)).collect());
        distinct_or_last(env, keys, &fields)
    }
}

/// A map; of equal keys the last one counts.
pub(crate) fn distinct_or_last<'a>(
    env: Env<'a>,
    keys: &[Term<'a>],
    values: &[Term<'a>],
) -> Term<'a> {
    Term::map_from_term_arrays(env, keys, values).unwrap_or_else(|_| {
        // One by one they would leave a map behind for each, of a server that sends a million.
        let last: HashMap<_, _> = keys.iter().zip(values).collect();
        let (keys, values): (Vec<_>, Vec<_>) = last.into_iter().unzip();
        Term::map_from_term_arrays(env, &keys, &values)
            .unwrap_or_else(|_| rustler::types::map::map_new(env))
    })
}
