//! Values as bytes and back.

mod generate;

use std::sync::Arc;

use proptest::prelude::*;

use self::generate::{any_type, any_typed_value, wrong_value, Place};
use super::uuid;
use super::*;
use crate::types::{Udt, MAX_DEPTH};
use crate::wire::Reader;
use crate::{ColumnType, DecodeError};

fn encoded(value: &Value, ty: &ColumnType) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode(value, ty, &mut bytes, usize::MAX)?;
    Ok(bytes)
}

/// What a `[value]` holds.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let content = reader.bytes("value").unwrap();
    assert!(reader.rest().is_empty(), "bytes after the value");
    content
}

fn decoded(bytes: &[u8], ty: &ColumnType) -> Result<Value, DecodeError> {
    decode(&mut Values, ty, content(bytes))
}

fn list(item: ColumnType) -> ColumnType {
    ColumnType::List(Box::new(item))
}

fn map(key: ColumnType, value: ColumnType) -> ColumnType {
    ColumnType::Map(Box::new((key, value)))
}

proptest! {
    #[test]
    fn a_class_name_is_read_as_its_type((ty, _) in any_typed_value()) {
        let class = ty.class_name();
        let mut option = vec![0, 0];
        crate::wire::put_short_bytes(&mut option, class.as_bytes(), "class").unwrap();
        let read = ColumnType::read(&mut Reader::new(&option)).unwrap();
        prop_assert_eq!(read.class_name(), class);
    }

    #[test]
    fn what_was_encoded_is_decoded((ty, value) in any_typed_value()) {
        let bytes = encoded(&value, &ty).unwrap();
        prop_assert_eq!(decoded(&bytes, &ty).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(
        ty in any_type(),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = decode(&mut Values, &ty, Some(&bytes));
    }

    /// Bytes that are nearly right get further into the decoder than random ones.
    #[test]
    fn bytes_changed_or_cut_are_a_value_or_an_error(
        (ty, value) in any_typed_value(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&value, &ty).unwrap().split_off(4);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            let _ = decode(&mut Values, &ty, Some(&bytes[..at]));
            bytes[at] = byte;
            let _ = decode(&mut Values, &ty, Some(&bytes));
        }
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_its_place(
        (ty, value) in any_typed_value(),
        choice in any::<prop::sample::Index>(),
    ) {
        let places = Place::all(&ty, &value);
        let place = &places[choice.index(places.len())];
        let mut wrong = value.clone();
        *place.find(&mut wrong) = wrong_value(&place.ty);
        let error = encoded(&wrong, &ty).unwrap_err();
        prop_assert_eq!(error.problem, Problem::WrongType);
        prop_assert_eq!(error.expected, place.ty.to_string());
        prop_assert_eq!(error.path, place.path.clone());
    }

    #[test]
    fn the_budget_is_never_exceeded(
        (ty, value) in any_typed_value(),
        before in 0usize..20,
        share in 0.0f64..1.0,
    ) {
        let needed = before + encoded(&value, &ty).unwrap().len();
        let mut out = vec![0; before];
        prop_assert_eq!(encode(&value, &ty, &mut out, needed), Ok(()));
        let budget = ((needed as f64 * share) as usize).max(before);
        let mut out = vec![0; before];
        let error = encode(&value, &ty, &mut out, budget).unwrap_err();
        prop_assert_eq!(error.problem, Problem::Budget);
        prop_assert!(out.len() <= budget);
    }

    #[test]
    fn uuids_are_read_as_they_are_written(bytes in any::<[u8; 16]>()) {
        let text = uuid::format(&bytes);
        prop_assert_eq!(uuid::parse(&text), Some(bytes));
        prop_assert_eq!(uuid::parse(&text.to_ascii_uppercase()), Some(bytes));
    }

    #[test]
    fn text_that_is_no_uuid_is_refused_without_a_panic(text in "[0-9a-f-]{0,40}|\\PC{36}") {
        if let Some(bytes) = uuid::parse(text.as_bytes()) {
            prop_assert_eq!(&uuid::format(&bytes)[..], text.as_bytes());
        }
    }
}

#[test]
fn uuids_stand_in_the_usual_form() {
    let text = b"00112233-4455-6677-8899-aabbccddeeff";
    let bytes = uuid::parse(text).unwrap();
    assert_eq!(bytes[..3], [0x00, 0x11, 0x22]);
    assert_eq!(&uuid::format(&bytes), text);
    for wrong in [
        "",
        "00112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeefg",
        "001122334-455-6677-8899-aabbccddeeff",
        "-0112233-4455-6677-8899-aabbccddeeff",
    ] {
        assert_eq!(uuid::parse(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn null_unset_and_empty_are_three_things() {
    let ty = ColumnType::Int;
    let null = encoded(&Value::Null, &ty).unwrap();
    assert_eq!(null, (-1i32).to_be_bytes());
    assert_eq!(decoded(&null, &ty), Ok(Value::Null));
    assert_eq!(encoded(&Value::Unset, &ty).unwrap(), (-2i32).to_be_bytes());
    let empty = encoded(&Value::Empty, &ty).unwrap();
    assert_eq!(empty, 0i32.to_be_bytes());
    assert_eq!(decoded(&empty, &ty), Ok(Value::Empty));
    // Text has no value of no bytes beside the empty text.
    let text = Value::Text(String::new());
    assert_eq!(decoded(&empty, &ColumnType::Text), Ok(text));
    let error = encoded(&Value::Empty, &ColumnType::Text).unwrap_err();
    assert_eq!(error.problem, Problem::WrongType);
}

#[test]
fn collections_hold_no_null_and_nothing_inside_is_unset() {
    let udt = ColumnType::Udt(Arc::new(Udt {
        keyspace: "ks".into(),
        name: "t".into(),
        fields: vec![("a".into(), ColumnType::Int)],
    }));
    let tuple = ColumnType::Tuple(vec![ColumnType::Int]);
    let field = |value| Value::Udt(vec![("a".into(), value)]);
    let in_list = |value| (list(ColumnType::Int), Value::List(vec![value]));
    let as_key = |value| {
        let pairs = vec![(value, Value::Int(1))];
        (map(ColumnType::Int, ColumnType::Int), Value::Map(pairs))
    };
    for ((ty, value), problem) in [
        (in_list(Value::Null), Problem::NullInCollection),
        (in_list(Value::Unset), Problem::NullInCollection),
        (as_key(Value::Null), Problem::NullInCollection),
        (
            (tuple.clone(), Value::Tuple(vec![Value::Unset])),
            Problem::WrongType,
        ),
        ((udt.clone(), field(Value::Unset)), Problem::WrongType),
    ] {
        let error = encoded(&value, &ty).unwrap_err();
        assert_eq!(error.problem, problem, "{ty}");
        assert_eq!(error.path.len(), 1, "{ty}");
    }
    for (ty, value) in [
        (tuple, Value::Tuple(vec![Value::Null])),
        (udt, field(Value::Null)),
    ] {
        assert_eq!(decoded(&encoded(&value, &ty).unwrap(), &ty), Ok(value));
    }
}

#[test]
fn a_path_leads_through_every_kind_of_collection() {
    let udt = ColumnType::Udt(Arc::new(Udt {
        keyspace: "ks".into(),
        name: "address".into(),
        fields: vec![
            ("street".into(), ColumnType::Text),
            (
                "No".into(),
                ColumnType::Tuple(vec![ColumnType::Text, ColumnType::Int]),
            ),
        ],
    }));
    let tuple = Value::Tuple(vec![Value::Null, Value::Int(1 << 40)]);
    let value = Value::Map(vec![
        (Value::Text("a".into()), Value::List(vec![])),
        (
            Value::Text("b".into()),
            Value::List(vec![Value::Udt(vec![("No".into(), tuple)])]),
        ),
    ]);
    let error = encoded(&value, &map(ColumnType::Text, list(udt))).unwrap_err();
    assert_eq!(error.problem, Problem::OutOfRange);
    assert_eq!(error.expected, "int");
    let path: Vec<String> = error.path.iter().map(Step::to_string).collect();
    assert_eq!(path, ["value 1", "item 0", "field No", "item 1"]);
}

#[test]
fn values_beyond_their_type_are_out_of_range() {
    let mixed = Value::Duration(1, -1, 0);
    for (ty, value) in [
        (ColumnType::Tinyint, Value::Int(128)),
        (ColumnType::Smallint, Value::Int(-32_769)),
        (ColumnType::Int, Value::Int(1 << 31)),
        (ColumnType::Float, Value::Float(f64::MAX)),
        (ColumnType::Ascii, Value::Text("é".into())),
        (ColumnType::Date, Value::Date(1 << 31)),
        (ColumnType::Date, Value::Date(-(1 << 31) - 1)),
        (ColumnType::Date, Value::Date(i64::MAX)),
        (ColumnType::Time, Value::Time(-1)),
        (ColumnType::Time, Value::Time(86_400_000_000_000)),
        (ColumnType::Duration, mixed),
        (ColumnType::Timeuuid, Value::Uuid([0x40; 16])),
    ] {
        let error = encoded(&value, &ty).unwrap_err();
        assert_eq!(error.problem, Problem::OutOfRange, "{ty}");
    }
}

#[test]
fn floats_keep_nan_and_infinities() {
    for ty in [ColumnType::Float, ColumnType::Double] {
        let bytes = encoded(&Value::Float(f64::NAN), &ty).unwrap();
        let Ok(Value::Float(nan)) = decoded(&bytes, &ty) else {
            panic!("no float");
        };
        assert!(nan.is_nan());
        let bytes = encoded(&Value::Float(f64::NEG_INFINITY), &ty).unwrap();
        assert_eq!(decoded(&bytes, &ty), Ok(Value::Float(f64::NEG_INFINITY)));
    }
}

#[test]
fn a_tuple_may_be_shorter_than_its_type_but_not_longer() {
    let ty = ColumnType::Tuple(vec![ColumnType::Int, ColumnType::Int]);
    let short = encoded(&Value::Tuple(vec![Value::Int(1)]), &ty).unwrap();
    let padded = Value::Tuple(vec![Value::Int(1), Value::Null]);
    assert_eq!(decoded(&short, &ty), Ok(padded));
    let long = Value::Tuple(vec![Value::Int(1), Value::Int(2), Value::Int(3)]);
    assert_eq!(encoded(&long, &ty).unwrap_err().problem, Problem::WrongSize);
}

/// A `[vint]` as the nanoseconds of a duration, of which the first two bytes are 0.
fn vint(value: i64) -> Vec<u8> {
    let bytes = encoded(&Value::Duration(0, 0, value), &ColumnType::Duration).unwrap();
    bytes[6..].to_vec()
}

#[test]
fn vints_are_those_of_the_specification() {
    // Zigzag: 0 = 0, -1 = 1, 1 = 2, -2 = 3, …
    for (value, bytes) in [(0, 0u8), (-1, 1), (1, 2), (-2, 3), (2, 4), (-3, 5), (3, 6)] {
        assert_eq!(vint(value), [bytes]);
    }
    // Cassandra's own example: 256000 unsigned, so 128000 in zigzag.
    assert_eq!(vint(128_000), [0b1100_0011, 0b1110_1000, 0]);
    let longest = [[0xFF; 1].as_slice(), &[0xFF; 8]].concat();
    assert_eq!(vint(i64::MIN), longest);
    assert_eq!(vint(i64::MAX), [&longest[..8], &[0xFE]].concat());
}

#[test]
fn vints_are_as_short_as_can_be_and_come_back() {
    let powers = (0..63).flat_map(|bit| {
        let power = 1i64 << bit;
        [power - 1, power, power + 1, -power, -power - 1, 1 - power]
    });
    for value in powers.chain([i64::MIN, i64::MIN + 1, i64::MAX]) {
        let bytes = vint(value);
        let zigzag = ((value << 1) ^ (value >> 63)) as u64;
        let bits = 64 - zigzag.leading_zeros().min(63) as usize;
        assert_eq!(bytes.len(), bits.div_ceil(7).min(9), "{value}");
        assert_eq!(bytes[0].leading_ones() as usize, bytes.len() - 1, "{value}");
        let duration = [&[0, 0], &bytes[..]].concat();
        let expected = Value::Duration(0, 0, value);
        assert_eq!(
            decode(&mut Values, &ColumnType::Duration, Some(&duration)),
            Ok(expected)
        );
    }
}

#[test]
fn a_duration_that_is_none_is_an_error() {
    let months_beyond_i32 = [&[0xFF][..], &[0xFF; 8], &[0, 0]].concat();
    for bytes in [&[0x80][..], &[0, 0], &[0xFF, 1, 2], &months_beyond_i32] {
        let result = decode(&mut Values, &ColumnType::Duration, Some(bytes));
        assert!(result.is_err(), "{bytes:?}");
    }
}

/// The `[option]` of so many lists around an int.
fn nested_lists(depth: usize) -> Vec<u8> {
    [&[0x00, 0x20].repeat(depth)[..], &[0x00, 0x09]].concat()
}

#[test]
fn types_nest_to_a_stated_depth() {
    let read = |depth| ColumnType::read(&mut Reader::new(&nested_lists(depth)));
    let mut value = Value::Int(7);
    for _ in 0..MAX_DEPTH {
        value = Value::List(vec![value]);
    }
    let deepest = read(MAX_DEPTH).unwrap();
    let bytes = encoded(&value, &deepest).unwrap();
    assert_eq!(decoded(&bytes, &deepest), Ok(value));
    assert_eq!(read(MAX_DEPTH + 1), Err(DecodeError::TooDeep));
    assert_eq!(read(1_000_000), Err(DecodeError::TooDeep));
}

#[test]
fn a_hostile_count_is_refused_before_memory_is_taken_for_it() {
    let mut bytes = i32::MAX.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0; 6]);
    let decode = |ty| decode(&mut Values, &ty, Some(&bytes));
    // The error of the count, not of the first item that is missing.
    assert_eq!(
        decode(list(ColumnType::Int)),
        Err(DecodeError::Truncated("list"))
    );
    let set = ColumnType::Set(Box::new(ColumnType::Text));
    assert_eq!(decode(set), Err(DecodeError::Truncated("list")));
    let map = map(ColumnType::Int, ColumnType::Int);
    assert_eq!(decode(map), Err(DecodeError::Truncated("map")));

    let vector = |item, dimension| ColumnType::Vector(Box::new(item), dimension);
    let nothing = vector(ColumnType::Float, 0);
    for (item, dimension) in [
        (ColumnType::Text, 1 << 60),
        (ColumnType::Double, 1 << 60),
        (ColumnType::Double, usize::MAX),
        (vector(ColumnType::Double, usize::MAX), 1 << 60),
        (nothing, 1 << 60),
    ] {
        let wrong_length = DecodeError::BadLength {
            ty: "vector",
            len: bytes.len(),
        };
        assert_eq!(decode(vector(item, dimension)), Err(wrong_length));
    }

    bytes[0] = 0xFF;
    let negative = super::decode(&mut Values, &list(ColumnType::Int), Some(&bytes));
    assert_eq!(negative, Err(DecodeError::Negative("list")));
}

#[test]
fn what_somebody_wrote_wrongly_is_the_value_s_fault_alone() {
    let tuple = ColumnType::Tuple(vec![ColumnType::Int, ColumnType::Int]);
    let texts = ColumnType::Vector(Box::new(ColumnType::Text), 2);
    for (ty, bytes) in [
        (ColumnType::Decimal, &[0, 0, 0, 0][..]),
        (ColumnType::Decimal, &[1, 2]),
        (ColumnType::Duration, &[0xFF, 0xFF]),
        // More months than there can be.
        (ColumnType::Duration, &[0xF8, 1, 2, 3, 4, 5, 0, 0]),
        (ColumnType::Int, &[1, 2, 3]),
        (ColumnType::Text, &[0xFF]),
        (ColumnType::Inet, &[1, 2, 3]),
        (tuple, &[0, 0, 0, 9, 1]),
        (texts.clone(), &[9, b'a', 1]),
        (texts, &[1, b'a', 0xFF, 0xFF]),
    ] {
        let error = decode(&mut Values, &ty, Some(bytes)).unwrap_err();
        assert!(error.is_value(), "{ty}: {error}");
    }
}
