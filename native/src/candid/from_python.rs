//! Python objects as values of a Candid type; the stub says which is which.

use candid::types::Label as FieldLabel;
use candid::types::value::{IDLField, IDLValue, VariantValue};
use icws_core::candid::{Field, Label, Schema, Shape, ShapeId, int_from_le_bytes, nat_from_le_bytes};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PySequence, PyString, PyTuple};

use super::to_python::MAX_DEPTH;
use crate::errors::candid_error;

/// Why a value does not fit its type, and where in it.
pub(crate) enum Misfit {
    Value { path: Vec<String>, problem: String },
    Python(PyErr),
}

type Fit<T> = Result<T, Misfit>;

impl Misfit {
    pub(crate) fn raise(self, argument: usize) -> PyErr {
        match self {
            Misfit::Python(error) => error,
            Misfit::Value { path, problem } if path.is_empty() => {
                candid_error(format!("argument {argument}: {problem}"))
            }
            Misfit::Value { mut path, problem } => {
                path.reverse();
                candid_error(format!("argument {argument}, {}: {problem}", path.concat().trim_start_matches('.')))
            }
        }
    }

    fn below(self, step: String) -> Self {
        match self {
            Misfit::Value { mut path, problem } => {
                path.push(step);
                Misfit::Value { path, problem }
            }
            python => python,
        }
    }
}

impl From<PyErr> for Misfit {
    fn from(error: PyErr) -> Self {
        Misfit::Python(error)
    }
}

fn misfit<T>(problem: impl Into<String>) -> Fit<T> {
    Err(Misfit::Value { path: Vec::new(), problem: problem.into() })
}

/// The value of a Python object under a type.
pub(crate) fn from_python(schema: &Schema, id: ShapeId, value: &Bound<'_, PyAny>, depth: usize) -> Fit<IDLValue> {
    if depth > MAX_DEPTH {
        return misfit(format!("nested deeper than {MAX_DEPTH}"));
    }
    let wrong = || misfit(format!("{} cannot be {}", schema.describe(id), kind(value)));
    match schema.shape(id) {
        Shape::Null if value.is_none() => Ok(IDLValue::Null),
        Shape::Bool => value.cast::<PyBool>().map_or_else(|_| wrong(), |value| Ok(IDLValue::Bool(value.is_true()))),
        Shape::Text => match value.cast::<PyString>() {
            Ok(text) => match text.to_str() {
                Ok(text) => Ok(IDLValue::Text(text.to_owned())),
                Err(_) => misfit("text cannot hold half of a surrogate pair"),
            },
            Err(_) => wrong(),
        },
        Shape::Float32 | Shape::Float64 if !is_number(value) => wrong(),
        Shape::Float32 => value.extract().map(IDLValue::Float32).or_else(|_| too_large(schema, id)),
        Shape::Float64 => value.extract().map(IDLValue::Float64).or_else(|_| too_large(schema, id)),
        Shape::Reserved => Ok(IDLValue::Reserved),
        Shape::Principal => Ok(IDLValue::Principal(principal(schema, id, value)?)),
        Shape::Service(_) => Ok(IDLValue::Service(principal(schema, id, value)?)),
        Shape::Func { .. } => function(schema, id, value),
        Shape::Opt(_) if value.is_none() => Ok(IDLValue::None),
        Shape::Opt(item) if schema.is_nullable(*item) => wrapped(schema, *item, value, depth),
        Shape::Opt(item) => Ok(IDLValue::Opt(Box::new(from_python(schema, *item, value, depth + 1)?))),
        Shape::Vec(_) if schema.is_blob(id) && is_bytes(value) => Ok(IDLValue::Blob(value.extract()?)),
        Shape::Vec(item) => match sequence(value) {
            Some(items) => items_of(schema, *item, items, depth).map(IDLValue::Vec),
            None => wrong(),
        },
        Shape::Record(fields) => record(schema, fields, value, depth),
        Shape::Variant(fields) => variant(schema, fields, value, depth),
        Shape::Null | Shape::Empty => wrong(),
        number => match value.cast::<PyInt>() {
            Ok(integer) if !value.is_instance_of::<PyBool>() => integer_of(number, integer),
            _ => wrong(),
        },
    }
}

fn too_large<T>(schema: &Schema, id: ShapeId) -> Fit<T> {
    misfit(format!("{} cannot hold so large a number", schema.describe(id)))
}

fn integer_of(shape: &Shape, value: &Bound<'_, PyInt>) -> Fit<IDLValue> {
    let fitting = match shape {
        Shape::Nat8 => value.extract().map(IDLValue::Nat8),
        Shape::Nat16 => value.extract().map(IDLValue::Nat16),
        Shape::Nat32 => value.extract().map(IDLValue::Nat32),
        Shape::Nat64 => value.extract().map(IDLValue::Nat64),
        Shape::Int8 => value.extract().map(IDLValue::Int8),
        Shape::Int16 => value.extract().map(IDLValue::Int16),
        Shape::Int32 => value.extract().map(IDLValue::Int32),
        Shape::Int64 => value.extract().map(IDLValue::Int64),
        _ => return big_integer(shape, value),
    };
    fitting.or_else(|_| misfit(format!("{} cannot hold {}", shape.name(), number_text(value))))
}

fn big_integer(shape: &Shape, value: &Bound<'_, PyInt>) -> Fit<IDLValue> {
    let negative = value.lt(0)?;
    if negative && matches!(shape, Shape::Nat) {
        return misfit(format!("nat cannot hold {}", number_text(value)));
    }
    let bits: usize = value.call_method0("bit_length")?.extract()?;
    let options = PyDict::new(value.py());
    options.set_item("signed", true)?;
    let bytes = value.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&options))?;
    let bytes = bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes();
    Ok(if matches!(shape, Shape::Nat) { nat_from_le_bytes(bytes) } else { int_from_le_bytes(bytes) })
}

fn number_text(value: &Bound<'_, PyInt>) -> String {
    let text = value.str().map_or_else(|_| String::new(), |text| text.to_string());
    if (1..=40).contains(&text.len()) { text } else { "so large a number".into() }
}

fn principal(schema: &Schema, id: ShapeId, value: &Bound<'_, PyAny>) -> Fit<candid::Principal> {
    let Ok(bytes) = value.cast::<PyBytes>() else {
        return misfit(format!("{} cannot be {}", schema.describe(id), kind(value)));
    };
    let length = bytes.as_bytes().len();
    candid::Principal::try_from_slice(bytes.as_bytes())
        .or_else(|_| misfit(format!("a principal has at most 29 bytes, not {length}")))
}

fn function(schema: &Schema, id: ShapeId, value: &Bound<'_, PyAny>) -> Fit<IDLValue> {
    let parts = value.cast::<PyTuple>().ok().filter(|parts| parts.len() == 2);
    let name = parts.and_then(|parts| parts.get_item(1).ok()).and_then(|name| name.extract::<String>().ok());
    match (parts, name) {
        (Some(parts), Some(name)) => Ok(IDLValue::Func(principal(schema, id, &parts.get_item(0)?)?, name)),
        _ => misfit(format!("{} is a tuple of principal and method name, not {}", schema.describe(id), kind(value))),
    }
}

/// An optional of something that may be null: a list of none or one.
fn wrapped(schema: &Schema, item: ShapeId, value: &Bound<'_, PyAny>, depth: usize) -> Fit<IDLValue> {
    let Some(items) = sequence(value).filter(|items| items.len().is_ok_and(|length| length <= 1)) else {
        let inner = schema.describe(item);
        return misfit(format!("opt {inner} is None or a list of none or one, not {}", kind(value)));
    };
    Ok(match items_of(schema, item, items, depth)?.pop() {
        Some(value) => IDLValue::Opt(Box::new(value)),
        None => IDLValue::None,
    })
}

fn items_of(schema: &Schema, item: ShapeId, items: &Bound<'_, PySequence>, depth: usize) -> Fit<Vec<IDLValue>> {
    let convert = |(index, value): (usize, PyResult<Bound<'_, PyAny>>)| {
        from_python(schema, item, &value?, depth + 1).map_err(|misfit| misfit.below(format!("[{index}]")))
    };
    items.try_iter()?.enumerate().map(convert).collect()
}

fn record(schema: &Schema, fields: &[Field], value: &Bound<'_, PyAny>, depth: usize) -> Fit<IDLValue> {
    if let Some(items) = sequence(value).filter(|_| Field::are_tuple(fields)) {
        let length = items.len()?;
        if length != fields.len() {
            return misfit(format!("a record of {} fields cannot be a tuple of {length}", fields.len()));
        }
        let values = fields.iter().zip(items.try_iter()?).map(|(field, value)| entry(schema, field, &value?, depth));
        return values.collect::<Fit<_>>().map(IDLValue::Record);
    }
    let Ok(entries) = value.cast::<PyDict>() else {
        return misfit(format!("a record cannot be {}", kind(value)));
    };
    let mut found = 0;
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let value = get(entries, &field.label)?;
        found += usize::from(value.is_some());
        values.push(match value {
            Some(value) => entry(schema, field, &value, depth)?,
            None => IDLField { id: FieldLabel::Id(field.id), val: omitted(schema, field)? },
        });
    }
    if found < entries.len() {
        return misfit(format!("the record has {}", surplus(fields, entries)));
    }
    Ok(IDLValue::Record(values))
}

fn entry(schema: &Schema, field: &Field, value: &Bound<'_, PyAny>, depth: usize) -> Fit<IDLField> {
    let val = from_python(schema, field.shape, value, depth + 1)
        .map_err(|misfit| misfit.below(format!(".{}", field.label)))?;
    Ok(IDLField { id: FieldLabel::Id(field.id), val })
}

fn omitted(schema: &Schema, field: &Field) -> Fit<IDLValue> {
    match schema.shape(field.shape) {
        Shape::Null => Ok(IDLValue::Null),
        Shape::Opt(_) => Ok(IDLValue::None),
        Shape::Reserved => Ok(IDLValue::Reserved),
        _ => misfit(format!("field {} is missing", field.label)),
    }
}

fn variant(schema: &Schema, fields: &[Field], value: &Bound<'_, PyAny>, depth: usize) -> Fit<IDLValue> {
    let Some(entries) = value.cast::<PyDict>().ok().filter(|entries| entries.len() == 1) else {
        return misfit(format!("a variant is a dict of one item, not {}", kind(value)));
    };
    for (index, field) in fields.iter().enumerate() {
        if let Some(value) = get(entries, &field.label)? {
            let entry = entry(schema, field, &value, depth)?;
            return Ok(IDLValue::Variant(VariantValue(Box::new(entry), index as u64)));
        }
    }
    misfit(format!("the variant has {}", surplus(fields, entries)))
}

fn get<'py>(entries: &Bound<'py, PyDict>, label: &Label) -> PyResult<Option<Bound<'py, PyAny>>> {
    match label {
        Label::Name(name) => entries.get_item(PyString::intern(entries.py(), name)),
        Label::Number(number) => entries.get_item(number),
    }
}

/// What is wrong with the keys of a dict of which not all were found.
fn surplus(fields: &[Field], entries: &Bound<'_, PyDict>) -> String {
    let known: Vec<_> = fields.iter().map(|field| field.label.to_string()).collect();
    let mut names = entries.keys().iter().map(|key| key.to_string()).filter(|name| !known.contains(name));
    format!("no field {}, only {}", names.next().unwrap_or_else(|| "of that kind".into()), known.join(", "))
}

fn sequence<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PySequence>> {
    let listed = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    if listed { value.cast().ok() } else { None }
}

fn is_bytes(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()
}

fn is_number(value: &Bound<'_, PyAny>) -> bool {
    !value.is_instance_of::<PyBool>() && (value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>())
}

fn kind(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "that".into(), |name| name.to_string())
}
