//! Tuples of Candid types, and the encoding and decoding of values that have them.

use std::sync::{Arc, OnceLock};

use ::candid::ser::ValueSerializer;
use ::candid::types::{CandidType, Type, TypeEnv};
use ::candid::{IDLArgs, IDLValue};

use super::decoding::{decoder_config, explain};
use super::misfit;
use super::schema::{Import, Schema, Shape, ShapeId};
use crate::{Error, Result};

/// A tuple of types, e.g. the arguments of a method. Cheap to clone, shared between threads.
#[derive(Debug, Clone)]
pub struct Types {
    schema: Arc<Schema>,
    shapes: Arc<[ShapeId]>,
    header: Arc<OnceLock<Vec<u8>>>,
}

impl Types {
    pub(crate) fn new(schema: Arc<Schema>, shapes: Vec<ShapeId>) -> Self {
        Self { schema, shapes: shapes.into(), header: Arc::default() }
    }

    /// From types that the crate has checked: every name is bound, none to an endless chain of names.
    pub fn from_candid(env: &TypeEnv, types: &[Type]) -> Result<Self> {
        let mut import = Import::new(env);
        let shapes = import.add_all(types)?;
        Ok(Self::new(Arc::new(import.finish()?), shapes))
    }

    /// What the shapes refer to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The shape of each value.
    pub fn shapes(&self) -> &[ShapeId] {
        &self.shapes
    }

    /// One of the types, as a tuple of one.
    pub fn nth(&self, index: usize) -> Option<Self> {
        self.shapes.get(index).map(|shape| Self::new(self.schema.clone(), vec![*shape]))
    }

    /// The same types, with what an `opt` holds in its place: one level of it.
    pub fn without_opt(&self) -> Self {
        let inner = |shape: &ShapeId| match self.schema.shape(*shape) {
            Shape::Opt(item) => *item,
            _ => *shape,
        };
        Self::new(self.schema.clone(), self.shapes.iter().map(inner).collect())
    }

    /// Encodes values that have exactly these types; the type table is written once and kept.
    pub fn encode(&self, values: Vec<IDLValue>) -> Result<Vec<u8>> {
        let mut body = ValueSerializer::new();
        for value in &values {
            value.idl_serialize(&mut body).map_err(|problem| explain(&problem))?;
        }
        let body = body.get_result();
        if let Some(header) = self.header.get() {
            return Ok([header, body].concat());
        }
        let (env, types) = self.schema.to_candid(&self.shapes);
        let whole = IDLArgs { args: values }.to_bytes_with_types(&env, &types).map_err(|problem| explain(&problem))?;
        debug_assert!(whole.ends_with(body));
        self.header.get_or_init(|| whole[..whole.len() - body.len()].to_vec());
        Ok(whole)
    }

    /// Decodes with subtyping: one value for each type.
    pub fn decode(&self, data: &[u8]) -> Result<Vec<IDLValue>> {
        let (env, types) = self.schema.to_candid(&self.shapes);
        IDLArgs::from_bytes_with_types_with_config(data, &env, &types, &decoder_config(data.len()))
            .map(|values| values.args)
            .map_err(|problem| {
                misfit::find(&self.schema, &self.shapes, data).map_or_else(|| explain(&problem), Error::Candid)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u64) -> IDLValue {
        IDLValue::Nat64(n)
    }

    #[test]
    fn encodes_the_same_with_and_without_a_kept_header() {
        let types = Types::parse("(nat64, opt vec nat8)").unwrap();
        let first = types.encode(vec![number(7), IDLValue::None]).unwrap();
        assert_eq!(types.encode(vec![number(7), IDLValue::None]).unwrap(), first);
        assert_eq!(types.decode(&first).unwrap(), vec![number(7), IDLValue::None]);
    }

    #[test]
    fn a_type_of_a_tuple_stands_alone_and_without_its_opt() {
        let types = Types::parse("(nat64, opt opt nat64)").unwrap();
        let second = types.nth(1).unwrap();
        assert!(types.nth(2).is_none());
        let some = IDLValue::Opt(Box::new(number(7)));
        let alone = Types::parse("(opt nat64)").unwrap().encode(vec![some.clone()]).unwrap();
        assert_eq!(second.without_opt().encode(vec![some]).unwrap(), alone);
        assert_eq!(
            types.without_opt().decode(&types.nth(0).unwrap().encode(vec![number(7)]).unwrap()).unwrap()[0],
            number(7)
        );
    }
}
