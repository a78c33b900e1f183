//! Types, values of them, and places in values.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::types::Udt;
use crate::value::{Step, Value};
use crate::ColumnType;

/// How deep generated types nest.
const DEPTH: u32 = 4;

pub(super) fn any_type() -> BoxedStrategy<ColumnType> {
    let simple = prop_oneof![
        prop::sample::select(ColumnType::SIMPLE.to_vec()),
        "[a-z.]{1,20}".prop_map(|class| ColumnType::Custom(class.into())),
    ];
    simple
        .prop_recursive(DEPTH, 24, 4, |inner| {
            let fields = vec(("[a-zA-Z ]{0,8}", inner.clone()), 1..4);
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|item| ColumnType::List(Box::new(item))),
                inner
                    .clone()
                    .prop_map(|item| ColumnType::Set(Box::new(item))),
                (inner.clone(), inner.clone()).prop_map(|pair| ColumnType::Map(Box::new(pair))),
                (inner.clone(), 1..4usize)
                    .prop_map(|(item, n)| ColumnType::Vector(Box::new(item), n)),
                vec(inner, 0..4).prop_map(ColumnType::Tuple),
                fields.prop_map(|fields| {
                    // Names are unique in a type.
                    let fields = fields.into_iter().enumerate();
                    let fields = fields.map(|(i, (name, ty))| (format!("{name}{i}").into(), ty));
                    ColumnType::Udt(Arc::new(Udt {
                        keyspace: "ks".into(),
                        name: "udt".into(),
                        fields: fields.collect(),
                    }))
                }),
            ]
        })
        .boxed()
}

/// A type and a value of it that decodes to itself.
pub(super) fn any_typed_value() -> impl Strategy<Value = (ColumnType, Value)> {
    any_type().prop_flat_map(|ty| {
        let value = prop_oneof![1 => Just(Value::Null), 19 => value_of(&ty)];
        (Just(ty), value)
    })
}

/// A value that is not null.
fn value_of(ty: &ColumnType) -> BoxedStrategy<Value> {
    let some = content_of(ty);
    if super::super::builder::has_empty_values(ty) {
        some
    } else {
        prop_oneof![1 => Just(Value::Empty), 30 => some].boxed()
    }
}

fn or_null(ty: &ColumnType) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value_of(ty)].boxed()
}

fn content_of(ty: &ColumnType) -> BoxedStrategy<Value> {
    let bytes = |len| vec(any::<u8>(), len);
    match ty {
        ColumnType::Custom(_) | ColumnType::Blob => bytes(0..9).prop_map(Value::Blob).boxed(),
        ColumnType::Ascii => "[ -~]{0,9}".prop_map(Value::Text).boxed(),
        ColumnType::Text => "\\PC{0,9}".prop_map(Value::Text).boxed(),
        ColumnType::Bigint | ColumnType::Counter => any::<i64>().prop_map(Value::Int).boxed(),
        ColumnType::Int => any::<i32>().prop_map(|n| Value::Int(n.into())).boxed(),
        ColumnType::Smallint => any::<i16>().prop_map(|n| Value::Int(n.into())).boxed(),
        ColumnType::Tinyint => any::<i8>().prop_map(|n| Value::Int(n.into())).boxed(),
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        // NaN is like nothing, not even itself: it has a test of its own.
        ColumnType::Double => any::<f64>()
            .prop_filter("NaN", |n| !n.is_nan())
            .prop_map(Value::Float)
            .boxed(),
        ColumnType::Float => any::<f32>()
            .prop_filter("NaN", |n| !n.is_nan())
            .prop_map(|n| Value::Float(n.into()))
            .boxed(),
        ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        ColumnType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        ColumnType::Timeuuid => any::<[u8; 16]>()
            .prop_map(|mut uuid| {
                uuid[6] = 0x10 | uuid[6] & 0x0F;
                Value::Uuid(uuid)
            })
            .boxed(),
        ColumnType::Varint => bytes(1..20).prop_map(Value::Varint).boxed(),
        ColumnType::Decimal => (any::<i32>(), bytes(1..20))
            .prop_map(|(scale, unscaled)| Value::Decimal(scale, unscaled))
            .boxed(),
        ColumnType::Inet => any::<IpAddr>().prop_map(Value::Inet).boxed(),
        ColumnType::Date => any::<i32>().prop_map(|n| Value::Date(n.into())).boxed(),
        ColumnType::Time => (0..86_400_000_000_000i64).prop_map(Value::Time).boxed(),
        ColumnType::Duration => (any::<bool>(), 0..=i32::MAX, 0..=i32::MAX, 0..=i64::MAX)
            .prop_map(|(negative, months, days, nanos)| {
                if negative {
                    Value::Duration(-months, -days, -nanos)
                } else {
                    Value::Duration(months, days, nanos)
                }
            })
            .boxed(),
        ColumnType::List(item) => vec(value_of(item), 0..4).prop_map(Value::List).boxed(),
        ColumnType::Vector(item, n) => {
            let item = match item.fixed_len() {
                Some(_) => content_of(item),
                None => value_of(item),
            };
            vec(item, *n).prop_map(Value::List).boxed()
        }
        ColumnType::Set(item) => vec(value_of(item), 0..4).prop_map(Value::Set).boxed(),
        ColumnType::Map(pair) => vec((value_of(&pair.0), value_of(&pair.1)), 0..4)
            .prop_map(Value::Map)
            .boxed(),
        ColumnType::Tuple(types) => types
            .iter()
            .map(or_null)
            .collect::<Vec<_>>()
            .prop_map(Value::Tuple)
            .boxed(),
        ColumnType::Udt(udt) => {
            let names: Vec<_> = udt.fields.iter().map(|(name, _)| name.clone()).collect();
            let values: Vec<_> = udt.fields.iter().map(|(_, ty)| or_null(ty)).collect();
            values
                .prop_map(move |values| Value::Udt(names.iter().cloned().zip(values).collect()))
                .boxed()
        }
    }
}

/// A value of another kind than the type's.
pub(super) fn wrong_value(ty: &ColumnType) -> Value {
    match ty {
        ColumnType::Boolean => Value::Int(1),
        _ => Value::Boolean(true),
    }
}

/// A place in a value: the way there, and the type it has.
pub(super) struct Place {
    pub(super) path: Vec<Step>,
    pub(super) ty: ColumnType,
}

impl Place {
    /// Every place in a value, itself first.
    pub(super) fn all(ty: &ColumnType, value: &Value) -> Vec<Self> {
        let mut places = vec![Self {
            path: Vec::new(),
            ty: ty.clone(),
        }];
        let mut inside = |step: Step, ty: &ColumnType, value: &Value| {
            places.extend(Self::all(ty, value).into_iter().map(|mut place| {
                place.path.insert(0, step.clone());
                place
            }));
        };
        match (ty, value) {
            (ColumnType::List(ty) | ColumnType::Vector(ty, _), Value::List(items))
            | (ColumnType::Set(ty), Value::Set(items)) => {
                for (i, item) in items.iter().enumerate() {
                    inside(Step::Item(i), ty, item);
                }
            }
            (ColumnType::Map(pair), Value::Map(pairs)) => {
                for (i, (key, value)) in pairs.iter().enumerate() {
                    inside(Step::Key(i), &pair.0, key);
                    inside(Step::Value(i), &pair.1, value);
                }
            }
            (ColumnType::Tuple(types), Value::Tuple(items)) => {
                for (i, (ty, item)) in types.iter().zip(items).enumerate() {
                    inside(Step::Item(i), ty, item);
                }
            }
            (ColumnType::Udt(udt), Value::Udt(fields)) => {
                for ((name, ty), (_, value)) in udt.fields.iter().zip(fields) {
                    inside(Step::Field(name.to_string()), ty, value);
                }
            }
            _ => {}
        }
        places
    }

    /// What stands there.
    pub(super) fn find<'v>(&self, value: &'v mut Value) -> &'v mut Value {
        self.path
            .iter()
            .fold(value, |value, step| match (step, value) {
                (Step::Item(i), Value::List(v) | Value::Set(v) | Value::Tuple(v)) => &mut v[*i],
                (Step::Key(i), Value::Map(v)) => &mut v[*i].0,
                (Step::Value(i), Value::Map(v)) => &mut v[*i].1,
                (Step::Field(name), Value::Udt(v)) => {
                    let field = v.iter_mut().find(|(n, _)| **n == **name);
                    &mut field.expect("the field is there").1
                }
                (step, _) => panic!("no {step} here"),
            })
    }
}
