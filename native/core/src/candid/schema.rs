//! Candid types as a graph of numbered shapes. The crate's own types are reference counted for one thread, ours may be
//! kept and shared; recursion is a number instead of a name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ::candid::types::{Field as CandidField, FuncMode, Function, Label as CandidLabel, Type, TypeEnv, TypeInner};

use super::decoding::explain;
use crate::{Error, Result};

/// A shape's number in its [`Schema`].
pub type ShapeId = usize;

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// As it was written.
    Name(String),
    /// A number, written or given by position.
    Number(u32),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A field of a record or an alternative of a variant.
#[derive(Debug, Clone)]
pub struct Field {
    /// How the type calls it.
    pub label: Label,
    /// The number that goes over the wire: written, or the hash of the name.
    pub id: u32,
    /// What it holds.
    pub shape: ShapeId,
}

impl Field {
    /// Whether a record of these fields is a tuple: they are numbered from 0 without a gap, and there are some.
    pub fn are_tuple(fields: &[Field]) -> bool {
        !fields.is_empty() && fields.iter().enumerate().all(|(index, field)| field.id as usize == index)
    }
}

/// One type; types in it are numbers.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // the names are those of the Candid specification
pub enum Shape {
    Null,
    Bool,
    Nat,
    Int,
    Nat8,
    Nat16,
    Nat32,
    Nat64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    Reserved,
    Empty,
    Principal,
    Opt(ShapeId),
    Vec(ShapeId),
    Record(Vec<Field>),
    Variant(Vec<Field>),
    Func { arguments: Vec<ShapeId>, results: Vec<ShapeId>, modes: Vec<FuncMode> },
    Service(Vec<(String, ShapeId)>),
}

impl Shape {
    /// Its keyword.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Nat => "nat",
            Self::Int => "int",
            Self::Nat8 => "nat8",
            Self::Nat16 => "nat16",
            Self::Nat32 => "nat32",
            Self::Nat64 => "nat64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Text => "text",
            Self::Reserved => "reserved",
            Self::Empty => "empty",
            Self::Principal => "principal",
            Self::Opt(_) => "opt",
            Self::Vec(_) => "vec",
            Self::Record(_) => "record",
            Self::Variant(_) => "variant",
            Self::Func { .. } => "func",
            Self::Service(_) => "service",
        }
    }
}

/// All shapes of a text of types.
#[derive(Debug, Default)]
pub struct Schema {
    shapes: Vec<Shape>,
    names: HashMap<ShapeId, String>,
}

impl Schema {
    /// A shape by its number.
    pub fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id]
    }

    /// Whether the shape is a blob: a vector of bytes.
    pub fn is_blob(&self, id: ShapeId) -> bool {
        matches!(self.shape(id), Shape::Vec(item) if matches!(self.shape(*item), Shape::Nat8))
    }

    /// Whether an optional of this shape needs a wrap to tell "none" from "some none".
    pub fn is_nullable(&self, id: ShapeId) -> bool {
        matches!(self.shape(id), Shape::Opt(_) | Shape::Null | Shape::Reserved)
    }

    /// A type in a word.
    pub fn describe(&self, id: ShapeId) -> &'static str {
        if self.is_blob(id) { "blob" } else { self.shape(id).name() }
    }

    /// The types as the crate wants them, with the names that they need.
    pub fn to_candid(&self, roots: &[ShapeId]) -> (TypeEnv, Vec<Type>) {
        let mut export = Export { schema: self, env: BTreeMap::new(), pending: Vec::new() };
        let types = roots.iter().map(|root| export.reference(*root)).collect();
        while let Some(id) = export.pending.pop() {
            let body = export.body(id);
            export.env.insert(self.names[&id].clone(), body);
        }
        (TypeEnv(export.env), types)
    }
}

struct Export<'a> {
    schema: &'a Schema,
    env: BTreeMap<String, Type>,
    pending: Vec<ShapeId>,
}

impl Export<'_> {
    fn reference(&mut self, id: ShapeId) -> Type {
        let Some(name) = self.schema.names.get(&id) else {
            return self.body(id);
        };
        if !self.env.contains_key(name) {
            self.env.insert(name.clone(), TypeInner::Unknown.into());
            self.pending.push(id);
        }
        TypeInner::Var(name.clone()).into()
    }

    fn references(&mut self, ids: &[ShapeId]) -> Vec<Type> {
        ids.iter().map(|id| self.reference(*id)).collect()
    }

    fn fields(&mut self, fields: &[Field]) -> Vec<CandidField> {
        let field = |field: &Field| {
            let label = match &field.label {
                // The crate's decoder gives these names meanings of its own.
                Label::Name(name) if name != "_" && !name.contains(',') => CandidLabel::Named(name.clone()),
                _ => CandidLabel::Id(field.id),
            };
            CandidField { id: label.into(), ty: self.reference(field.shape) }
        };
        fields.iter().map(field).collect()
    }

    fn body(&mut self, id: ShapeId) -> Type {
        match self.schema.shape(id) {
            Shape::Null => TypeInner::Null,
            Shape::Bool => TypeInner::Bool,
            Shape::Nat => TypeInner::Nat,
            Shape::Int => TypeInner::Int,
            Shape::Nat8 => TypeInner::Nat8,
            Shape::Nat16 => TypeInner::Nat16,
            Shape::Nat32 => TypeInner::Nat32,
            Shape::Nat64 => TypeInner::Nat64,
            Shape::Int8 => TypeInner::Int8,
            Shape::Int16 => TypeInner::Int16,
            Shape::Int32 => TypeInner::Int32,
            Shape::Int64 => TypeInner::Int64,
            Shape::Float32 => TypeInner::Float32,
            Shape::Float64 => TypeInner::Float64,
            Shape::Text => TypeInner::Text,
            Shape::Reserved => TypeInner::Reserved,
            Shape::Empty => TypeInner::Empty,
            Shape::Principal => TypeInner::Principal,
            Shape::Opt(item) => TypeInner::Opt(self.reference(*item)),
            Shape::Vec(item) => TypeInner::Vec(self.reference(*item)),
            Shape::Record(fields) => TypeInner::Record(self.fields(fields)),
            Shape::Variant(fields) => TypeInner::Variant(self.fields(fields)),
            Shape::Func { arguments, results, modes } => TypeInner::Func(Function {
                modes: modes.clone(),
                args: self.references(arguments),
                rets: self.references(results),
            }),
            Shape::Service(methods) => {
                TypeInner::Service(methods.iter().map(|(name, id)| (name.clone(), self.reference(*id))).collect())
            }
        }
        .into()
    }
}

/// Makes a [`Schema`] from types that the crate has checked: all names bound, none an endless chain of names.
pub(super) struct Import<'a> {
    env: &'a TypeEnv,
    schema: Schema,
    named: HashMap<&'a str, ShapeId>,
    pending: Vec<(ShapeId, &'a Type)>,
}

impl<'a> Import<'a> {
    pub(super) fn new(env: &'a TypeEnv) -> Self {
        Self { env, schema: Schema::default(), named: HashMap::new(), pending: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Result<Schema> {
        while let Some((id, body)) = self.pending.pop() {
            self.schema.shapes[id] = self.shape(body)?;
        }
        Ok(self.schema)
    }

    /// The shape of a type; what its names stand for follows in [`Import::finish`].
    pub(super) fn add(&mut self, ty: &'a Type) -> Result<ShapeId> {
        if let TypeInner::Var(name) = ty.as_ref() {
            return self.add_named(name);
        }
        let shape = self.shape(ty)?;
        self.schema.shapes.push(shape);
        Ok(self.schema.shapes.len() - 1)
    }

    pub(super) fn add_all(&mut self, types: &'a [Type]) -> Result<Vec<ShapeId>> {
        types.iter().map(|ty| self.add(ty)).collect()
    }

    /// The shape of a name, through names that stand for it.
    pub(super) fn add_named(&mut self, mut name: &'a str) -> Result<ShapeId> {
        let body = loop {
            let body = self.env.find_type(name).map_err(|problem| explain(&problem))?;
            match body.as_ref() {
                TypeInner::Var(next) => name = next,
                _ => break body,
            }
        };
        if let Some(id) = self.named.get(name) {
            return Ok(*id);
        }
        let id = self.schema.shapes.len();
        self.schema.shapes.push(Shape::Empty);
        if is_built(body) {
            self.schema.names.insert(id, export_name(name));
        }
        self.named.insert(name, id);
        self.pending.push((id, body));
        Ok(id)
    }

    fn fields(&mut self, fields: &'a [CandidField]) -> Result<Vec<Field>> {
        let field = |field: &'a CandidField| {
            let label = match field.id.as_ref() {
                CandidLabel::Named(name) => Label::Name(name.clone()),
                CandidLabel::Id(number) | CandidLabel::Unnamed(number) => Label::Number(*number),
            };
            Ok(Field { label, id: field.id.get_id(), shape: self.add(&field.ty)? })
        };
        fields.iter().map(field).collect()
    }

    fn shape(&mut self, ty: &'a Type) -> Result<Shape> {
        Ok(match ty.as_ref() {
            TypeInner::Null => Shape::Null,
            TypeInner::Bool => Shape::Bool,
            TypeInner::Nat => Shape::Nat,
            TypeInner::Int => Shape::Int,
            TypeInner::Nat8 => Shape::Nat8,
            TypeInner::Nat16 => Shape::Nat16,
            TypeInner::Nat32 => Shape::Nat32,
            TypeInner::Nat64 => Shape::Nat64,
            TypeInner::Int8 => Shape::Int8,
            TypeInner::Int16 => Shape::Int16,
            TypeInner::Int32 => Shape::Int32,
            TypeInner::Int64 => Shape::Int64,
            TypeInner::Float32 => Shape::Float32,
            TypeInner::Float64 => Shape::Float64,
            TypeInner::Text => Shape::Text,
            TypeInner::Reserved => Shape::Reserved,
            TypeInner::Empty => Shape::Empty,
            TypeInner::Principal => Shape::Principal,
            TypeInner::Opt(item) => Shape::Opt(self.add(item)?),
            TypeInner::Vec(item) => Shape::Vec(self.add(item)?),
            TypeInner::Record(fields) => Shape::Record(self.fields(fields)?),
            TypeInner::Variant(fields) => Shape::Variant(self.fields(fields)?),
            TypeInner::Func(function) => Shape::Func {
                arguments: self.add_all(&function.args)?,
                results: self.add_all(&function.rets)?,
                modes: function.modes.clone(),
            },
            TypeInner::Service(methods) => {
                let method = |(name, ty): &'a (String, Type)| Ok((name.clone(), self.add(ty)?));
                Shape::Service(methods.iter().map(method).collect::<Result<_>>()?)
            }
            _ => return Err(Error::Candid(format!("{ty} is not the type of a value"))),
        })
    }
}

/// The decoder calls the types of a message `table0`, `table1`, …; a type of the same name would be taken for one.
fn export_name(name: &str) -> String {
    let is_taken = name.strip_prefix("table").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if is_taken { format!("{name}'") } else { name.to_owned() }
}

/// Whether a type refers to others, so that a name may be what ends its recursion.
fn is_built(ty: &Type) -> bool {
    use TypeInner::{Func, Opt, Record, Service, Variant, Vec};
    matches!(ty.as_ref(), Opt(_) | Vec(_) | Record(_) | Variant(_) | Func(_) | Service(_))
}
