//! Values as text, close to how CQL writes them.

use std::net::IpAddr;

use palladion_cql::value::{uuid, Value};
use palladion_cql::ColumnType;

use crate::types::split_top_level;
use crate::Error;

/// Reads a value of a type: `1`, `'it''s'`, `0xCAFE`, `[1, 2]`, `{'a': 1}`, `(1, null)`,
/// `{street: 'x'}`. Dates are days since 1970, times nanoseconds since midnight, timestamps
/// milliseconds since 1970, durations `(months, days, nanoseconds)`. `null`, `unset` and `empty`
/// stand for themselves.
pub fn parse_value(text: &str, ty: &ColumnType) -> Result<Value, Error> {
    let text = text.trim();
    match text {
        "null" => return Ok(Value::Null),
        "unset" => return Ok(Value::Unset),
        "empty" => return Ok(Value::Empty),
        _ => {}
    }
    let wrong = || Error::usage(format!("{text} is no {ty}"));
    let int = || text.parse().map_err(|_| wrong());
    Ok(match ty {
        ColumnType::Bigint
        | ColumnType::Counter
        | ColumnType::Int
        | ColumnType::Smallint
        | ColumnType::Tinyint => Value::Int(int()?),
        ColumnType::Timestamp => Value::Timestamp(int()?),
        ColumnType::Date => Value::Date(int()?),
        ColumnType::Time => Value::Time(int()?),
        ColumnType::Boolean => Value::Boolean(text.parse().map_err(|_| wrong())?),
        ColumnType::Double | ColumnType::Float => Value::Float(text.parse().map_err(|_| wrong())?),
        ColumnType::Ascii | ColumnType::Text => Value::Text(unquote(text).ok_or_else(wrong)?),
        ColumnType::Blob | ColumnType::Custom(_) => {
            let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
            Value::Blob(parse_hex(digits).ok_or_else(wrong)?)
        }
        ColumnType::Uuid | ColumnType::Timeuuid => {
            Value::Uuid(uuid::parse(text.as_bytes()).ok_or_else(wrong)?)
        }
        ColumnType::Inet => {
            let address = unquote(text).ok_or_else(wrong)?;
            Value::Inet(address.parse::<IpAddr>().map_err(|_| wrong())?)
        }
        ColumnType::Varint => Value::Varint(shortest(text.parse().map_err(|_| wrong())?)),
        ColumnType::Decimal => {
            let scale = text
                .split_once('.')
                .map_or(0, |(_, fraction)| fraction.len());
            let unscaled = text.replacen('.', "", 1).parse().map_err(|_| wrong())?;
            Value::Decimal(scale as i32, shortest(unscaled))
        }
        ColumnType::Duration => {
            let parts = split_top_level(between(text, '(', ')').ok_or_else(wrong)?, ',');
            let part = |at: usize| {
                let part: Option<i64> = parts.get(at).and_then(|part| part.trim().parse().ok());
                part.ok_or_else(wrong)
            };
            let narrow = |part: i64| i32::try_from(part).map_err(|_| wrong());
            Value::Duration(narrow(part(0)?)?, narrow(part(1)?)?, part(2)?)
        }
        ColumnType::List(item) | ColumnType::Vector(item, _) => {
            let items = between(text, '[', ']').ok_or_else(wrong)?;
            Value::List(values(items, |_| Some(item))?)
        }
        ColumnType::Set(item) => {
            let items = between(text, '{', '}').ok_or_else(wrong)?;
            Value::Set(values(items, |_| Some(item))?)
        }
        ColumnType::Tuple(types) => {
            let items = between(text, '(', ')').ok_or_else(wrong)?;
            Value::Tuple(values(items, |at| types.get(at))?)
        }
        ColumnType::Map(pair) => {
            let pairs = pairs(between(text, '{', '}').ok_or_else(wrong)?)?.into_iter();
            let pairs = pairs
                .map(|(key, value)| Ok((parse_value(key, &pair.0)?, parse_value(value, &pair.1)?)));
            Value::Map(pairs.collect::<Result<_, Error>>()?)
        }
        ColumnType::Udt(udt) => {
            let pairs = pairs(between(text, '{', '}').ok_or_else(wrong)?)?.into_iter();
            let fields = pairs.map(|(name, value)| {
                let field = udt.fields.iter().find(|(known, _)| **known == *name);
                let (_, ty) = field.ok_or_else(wrong)?;
                Ok((name.into(), parse_value(value, ty)?))
            });
            Value::Udt(fields.collect::<Result<_, Error>>()?)
        }
    })
}

/// The values of a row: `1, 'ann'`.
pub(crate) fn values<'t>(
    text: &str,
    type_at: impl Fn(usize) -> Option<&'t ColumnType>,
) -> Result<Vec<Value>, Error> {
    let values = split_top_level(text, ',').into_iter().enumerate();
    values
        .map(|(at, value)| {
            let ty = type_at(at).ok_or_else(|| Error::usage(format!("too many in {text}")))?;
            parse_value(value, ty)
        })
        .collect()
}

/// Bytes out of hexadecimal digits.
pub fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

fn pairs(text: &str) -> Result<Vec<(&str, &str)>, Error> {
    let pairs = split_top_level(text, ',').into_iter();
    pairs
        .map(|pair| match split_top_level(pair, ':').as_slice() {
            [key, value] => Ok((key.trim(), *value)),
            _ => Err(Error::usage(format!("{pair} is no pair"))),
        })
        .collect()
}

pub(crate) fn between(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

fn unquote(text: &str) -> Option<String> {
    let quoted = text.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(quoted.replace("''", "'"))
}

/// Two's complement without needless bytes.
fn shortest(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xFF } else { 0 };
    let needless = (0..15)
        .take_while(|at| bytes[*at] == sign && (bytes[*at + 1] ^ sign) & 0x80 == 0)
        .count();
    bytes[needless..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_type;

    fn value(text: &str, ty: &str) -> Result<Value, Error> {
        parse_value(text, &parse_type(ty).unwrap())
    }

    #[test]
    fn literals_are_read_by_their_type() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (literal, ty, expected) in [
            ("1", "int", Value::Int(1)),
            ("null", "int", Value::Null),
            ("'it''s, (so)'", "text", text("it's, (so)")),
            ("0xCAfe", "blob", Value::Blob(vec![0xCA, 0xFE])),
            ("-Infinity", "double", Value::Float(f64::NEG_INFINITY)),
            ("-129", "varint", Value::Varint(vec![0xFF, 0x7F])),
            ("128", "varint", Value::Varint(vec![0, 0x80])),
            ("0", "varint", Value::Varint(vec![0])),
            ("-1.28", "decimal", Value::Decimal(2, vec![0x80])),
            ("(1, 2, -3)", "duration", Value::Duration(1, 2, -3)),
            ("'::1'", "inet", Value::Inet("::1".parse().unwrap())),
            ("[]", "list<int>", Value::List(vec![])),
            (
                "{'a:b': [1, 2]}",
                "map<text, list<int>>",
                Value::Map(vec![(
                    text("a:b"),
                    Value::List(vec![Value::Int(1), Value::Int(2)]),
                )]),
            ),
            (
                "{street: 'x', no: (1, null)}",
                "udt<ks.address, street text, no tuple<int, int>>",
                Value::Udt(vec![
                    ("street".into(), text("x")),
                    ("no".into(), Value::Tuple(vec![Value::Int(1), Value::Null])),
                ]),
            ),
        ] {
            assert_eq!(value(literal, ty).unwrap(), expected, "{literal}");
        }
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused() {
        for (literal, ty) in [
            ("x", "int"),
            ("x", "text"),
            ("0xABC", "blob"),
            ("{1}", "map<int, int>"),
            ("(1, 2, 3)", "tuple<int, int>"),
            ("{x: 1}", "udt<k.t, a int>"),
        ] {
            assert!(value(literal, ty).is_err(), "{literal}");
        }
    }
}
