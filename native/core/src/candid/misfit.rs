//! Which part of a message does not fit the types it was decoded under. The decoder names the argument and its type
//! only; here the message is decoded once more by its own types, and compared.

use ::candid::{IDLArgs, IDLValue};

use super::decoding::decoder_config;
use super::schema::{Schema, Shape, ShapeId};

/// The deepest place that is compared.
const MAX_DEPTH: usize = 100;

/// A sentence about the first value that does not fit; none where all seem to, e.g. where budgets are exceeded.
pub(super) fn find(schema: &Schema, shapes: &[ShapeId], data: &[u8]) -> Option<String> {
    let values = IDLArgs::from_bytes_with_config(data, &decoder_config(data.len())).ok()?.args;
    shapes.iter().enumerate().find_map(|(index, shape)| match values.get(index) {
        Some(value) => {
            let (path, problem) = compare(schema, *shape, value, MAX_DEPTH)?;
            let place: String = path.into_iter().rev().collect();
            let comma = if place.is_empty() { "" } else { ", " };
            Some(format!("argument {index}{comma}{}: {problem}", place.trim_start_matches('.')))
        }
        None if schema.is_nullable(*shape) => None,
        None => Some(format!("argument {index} is missing, which is {}", schema.describe(*shape))),
    })
}

type Misfit = (Vec<String>, String);

/// The path (from the inside out) and what is wrong there.
fn compare(schema: &Schema, id: ShapeId, value: &IDLValue, depth: usize) -> Option<Misfit> {
    let depth = depth.checked_sub(1)?;
    let below = |step: String, id, value| {
        let (mut path, problem) = compare(schema, id, value, depth)?;
        path.push(step);
        Some((path, problem))
    };
    let here = |problem: String| Some((Vec::new(), problem));
    match (schema.shape(id), value) {
        (Shape::Reserved | Shape::Opt(_), _) => None,
        (Shape::Vec(_), IDLValue::Blob(_)) if schema.is_blob(id) => None,
        (Shape::Vec(item), IDLValue::Vec(values)) => {
            values.iter().enumerate().find_map(|(index, value)| below(format!("[{index}]"), *item, value))
        }
        (Shape::Record(fields), IDLValue::Record(values)) => {
            fields.iter().find_map(|field| match values.iter().find(|value| value.id.get_id() == field.id) {
                Some(value) => below(format!(".{}", field.label), field.shape, &value.val),
                None if schema.is_nullable(field.shape) => None,
                None => here(format!("field {} is missing", field.label)),
            })
        }
        (Shape::Variant(fields), IDLValue::Variant(value)) => {
            match fields.iter().find(|field| field.id == value.0.id.get_id()) {
                Some(field) => below(format!(".{}", field.label), field.shape, &value.0.val),
                None => {
                    let known: Vec<_> = fields.iter().map(|field| field.label.to_string()).collect();
                    here(format!("the variant has none of {}", known.join(", ")))
                }
            }
        }
        (shape, value) if fits(shape, value) => None,
        (_, value) => here(format!("{} where {} belongs", name_of(value), schema.describe(id))),
    }
}

fn fits(shape: &Shape, value: &IDLValue) -> bool {
    match (shape, value) {
        (Shape::Int, IDLValue::Nat(_)) | (Shape::Principal, IDLValue::Service(_)) => true,
        _ => shape.name() == name_of(value),
    }
}

fn name_of(value: &IDLValue) -> &'static str {
    match value {
        IDLValue::Bool(_) => "bool",
        IDLValue::Null => "null",
        IDLValue::Text(_) => "text",
        IDLValue::Float64(_) => "float64",
        IDLValue::Float32(_) => "float32",
        IDLValue::Opt(_) | IDLValue::None => "opt",
        IDLValue::Vec(_) => "vec",
        IDLValue::Blob(_) => "blob",
        IDLValue::Record(_) => "record",
        IDLValue::Variant(_) => "variant",
        IDLValue::Principal(_) => "principal",
        IDLValue::Service(_) => "service",
        IDLValue::Func(..) => "func",
        IDLValue::Nat(_) => "nat",
        IDLValue::Int(_) | IDLValue::Number(_) => "int",
        IDLValue::Nat8(_) => "nat8",
        IDLValue::Nat16(_) => "nat16",
        IDLValue::Nat32(_) => "nat32",
        IDLValue::Nat64(_) => "nat64",
        IDLValue::Int8(_) => "int8",
        IDLValue::Int16(_) => "int16",
        IDLValue::Int32(_) => "int32",
        IDLValue::Int64(_) => "int64",
        IDLValue::Reserved => "reserved",
    }
}

#[cfg(test)]
mod tests {
    use candid_parser::parse_idl_args;

    use super::super::types::Types;
    use crate::Error;

    fn problem(sent: &str, value: &str, expected: &str) -> String {
        let types = Types::parse(sent).unwrap();
        let (env, own) = types.schema().to_candid(types.shapes());
        let data = types.encode(parse_idl_args(value).unwrap().annotate_types(true, &env, &own).unwrap().args).unwrap();
        match Types::parse(expected).unwrap().decode(&data) {
            Err(Error::Candid(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sentences_name_the_place() {
        let key = "(record { key: record { nonce: nat32 } })";
        assert_eq!(
            problem(key, "(record { key = record { nonce = 1 } })", "(record { key: record { nonce: nat64 } })"),
            "argument 0, key.nonce: nat32 where nat64 belongs"
        );
        assert_eq!(
            problem("(nat, record {})", "(1, record {})", "(nat, record { id: text })"),
            "argument 1: field id is missing"
        );
        assert_eq!(
            problem("(variant { B: nat })", "(variant { B = 1 })", "(variant { A; C })"),
            "argument 0: the variant has none of A, C"
        );
        assert_eq!(problem("(vec text)", "(vec { \"a\" })", "(vec nat)"), "argument 0, [0]: text where nat belongs");
        assert_eq!(problem("()", "()", "(nat)"), "argument 0 is missing, which is nat");
        assert_eq!(problem("(blob)", "(blob \"a\")", "(text)"), "argument 0: blob where text belongs");
    }
}
