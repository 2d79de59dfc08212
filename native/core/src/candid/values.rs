//! Values as Candid text: `(record { name = "a" }, 7)`, as people write arguments and read replies.

use ::candid::Principal;
use ::candid::types::Label as CandidLabel;
use ::candid::types::value::{IDLField, VariantValue};
use ::candid::{IDLArgs, IDLValue};
use candid_parser::parse_idl_args;

use super::decoding::{decode_untyped, explain};
use super::schema::{Field, Label, Schema, Shape, ShapeId};
use super::text::{locate, with_room};
use super::types::Types;
use crate::{Error, Result};

/// The deepest value that is written as text. The printer's recursion is bounded by it.
const MAX_DEPTH: usize = 100;
/// The deepest type of which a sample shows everything.
const SAMPLE_DEPTH: usize = 8;
/// How long a line of text gets, in characters.
const WIDTH: usize = 100;

impl Types {
    /// Encodes a text of values. What may be left out at the end may be left out.
    pub fn encode_text(&self, source: &str) -> Result<Vec<u8>> {
        with_room(source, || {
            let parsed = parse_idl_args(source).map_err(|problem| locate(source, &problem))?;
            let (given, wanted) = (parsed.args.len(), self.shapes().len());
            if given > wanted {
                return Err(Error::Candid(format!("{given} values given, {wanted} wanted")));
            }
            let (env, types) = self.schema().to_candid(self.shapes());
            let typed = parsed.annotate_types(true, &env, &types).map_err(|problem| explain(&problem))?;
            self.encode(typed.args)
        })
    }

    /// Decodes with subtyping, into text.
    pub fn decode_text(&self, data: &[u8]) -> Result<String> {
        to_text(self.decode(data)?)
    }

    /// Values of these types as text, to begin with: zeros, empty texts, the simplest alternative, nothing optional.
    pub fn sample(&self) -> String {
        let values = self.shapes().iter().map(|shape| sample(self.schema(), *shape, SAMPLE_DEPTH)).collect();
        IDLArgs { args: values }.to_string()
    }

    /// The types in Candid's notation; those that have names by their names.
    pub fn to_text(&self) -> String {
        let (_, types) = self.schema().to_candid(self.shapes());
        ::candid::pretty::candid::pp_args(&types).pretty(WIDTH).to_string()
    }
}

/// Encodes a text of values by the types that they seem to have.
pub fn encode_text(source: &str) -> Result<Vec<u8>> {
    with_room(source, || {
        let parsed = parse_idl_args(source).map_err(|problem| locate(source, &problem))?;
        parsed.to_bytes().map_err(|problem| explain(&problem))
    })
}

/// Decodes by the types of the message, into text. Fields are numbers, for a message has no names.
pub fn decode_text(data: &[u8]) -> Result<String> {
    to_text(decode_untyped(data)?)
}

fn to_text(values: Vec<IDLValue>) -> Result<String> {
    if values.iter().any(|value| is_deeper(value, MAX_DEPTH)) {
        return Err(Error::Candid(format!("nested deeper than {MAX_DEPTH}")));
    }
    Ok(with_readable_zeros(&IDLArgs { args: values }.to_string()))
}

/// The printer writes the character 0 as `\0`, which the parser does not read. In blobs, `\00` is a byte.
fn with_readable_zeros(printed: &str) -> String {
    let mut text = String::with_capacity(printed.len());
    let mut is_blob = None; // None outside of quotes
    let mut characters = printed.chars();
    while let Some(character) = characters.next() {
        match (character, is_blob) {
            ('"', None) => is_blob = Some(text.ends_with("blob ")),
            ('"', Some(_)) => is_blob = None,
            ('\\', Some(is_blob)) => {
                let escaped = characters.next();
                text.push(character);
                if !is_blob && escaped == Some('0') {
                    text.push_str("u{0}")
                } else {
                    text.extend(escaped)
                }
                continue;
            }
            _ => {}
        }
        text.push(character);
    }
    text
}

fn is_deeper(value: &IDLValue, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else { return true };
    match value {
        IDLValue::Opt(inner) => is_deeper(inner, below),
        IDLValue::Vec(items) => items.iter().any(|item| is_deeper(item, below)),
        IDLValue::Record(fields) => fields.iter().any(|field| is_deeper(&field.val, below)),
        IDLValue::Variant(variant) => is_deeper(&variant.0.val, below),
        _ => false,
    }
}

fn sample(schema: &Schema, id: ShapeId, depth: usize) -> IDLValue {
    let Some(below) = depth.checked_sub(1) else { return IDLValue::Null };
    match schema.shape(id) {
        Shape::Null | Shape::Empty => IDLValue::Null,
        Shape::Bool => IDLValue::Bool(false),
        Shape::Nat => IDLValue::Nat(0u8.into()),
        Shape::Int => IDLValue::Int(0.into()),
        Shape::Nat8 => IDLValue::Nat8(0),
        Shape::Nat16 => IDLValue::Nat16(0),
        Shape::Nat32 => IDLValue::Nat32(0),
        Shape::Nat64 => IDLValue::Nat64(0),
        Shape::Int8 => IDLValue::Int8(0),
        Shape::Int16 => IDLValue::Int16(0),
        Shape::Int32 => IDLValue::Int32(0),
        Shape::Int64 => IDLValue::Int64(0),
        Shape::Float32 => IDLValue::Float32(0.0),
        Shape::Float64 => IDLValue::Float64(0.0),
        Shape::Text => IDLValue::Text(String::new()),
        Shape::Reserved => IDLValue::Reserved,
        Shape::Principal => IDLValue::Principal(Principal::management_canister()),
        Shape::Func { .. } => IDLValue::Func(Principal::management_canister(), "method".into()),
        Shape::Service(_) => IDLValue::Service(Principal::management_canister()),
        Shape::Opt(_) => IDLValue::None,
        Shape::Vec(_) if schema.is_blob(id) => IDLValue::Blob(Vec::new()),
        Shape::Vec(_) => IDLValue::Vec(Vec::new()),
        Shape::Record(fields) => IDLValue::Record(fields.iter().map(|field| filled(schema, field, below)).collect()),
        Shape::Variant(fields) => {
            let is_plain = |field: &&Field| matches!(schema.shape(field.shape), Shape::Null);
            match fields.iter().find(is_plain).or_else(|| fields.first()) {
                Some(field) => IDLValue::Variant(VariantValue(Box::new(filled(schema, field, below)), 0)),
                None => IDLValue::Null,
            }
        }
    }
}

fn filled(schema: &Schema, field: &Field, depth: usize) -> IDLField {
    let id = match &field.label {
        Label::Name(name) => CandidLabel::Named(name.clone()),
        Label::Number(number) => CandidLabel::Id(*number),
    };
    IDLField { id, val: sample(schema, field.shape, depth) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(types: &str, values: &str) -> String {
        match Types::parse(types).unwrap().encode_text(values) {
            Err(Error::Candid(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_take_the_types_that_are_wanted() {
        let types = Types::parse("(record { id: nat64; name: text; note: opt text }, variant { A; B: int }, opt nat)");
        let types = types.unwrap();
        let data = types.encode_text(r#"(record { name = "a"; id = 7 }, variant { B = 3 })"#).unwrap();
        let text = types.decode_text(&data).unwrap();
        assert!(text.contains("name = \"a\"") && text.contains("id = 7 : nat64"), "{text}");
        assert_eq!(types.encode_text(&text).unwrap(), data);
    }

    #[test]
    fn problems_are_sentences() {
        assert!(problem("(nat)", "(1, 2)").contains("2 values given, 1 wanted"));
        assert!(problem("(nat)", "()").contains("Omitted"));
        assert!(problem("(nat)", "(\"a\")").contains("nat"));
        assert!(problem("(nat)", "(1").starts_with("line 1, column "));
        assert!(problem("(nat)", &format!("({}1)", "opt ".repeat(1000))).contains("deeper"));
        assert_eq!(problem("(nat)", "(0X1_f)"), "line 1, column 2: 0X1f: a hexadecimal number begins with 0x");
    }

    #[test]
    fn texts_without_types_say_what_they_are() {
        let data = encode_text("(7 : nat64, \"a\", opt record { 1; true })").unwrap();
        assert_eq!(encode_text(&decode_text(&data).unwrap()).unwrap(), data);
        let types = Types::parse("(text, blob, text)").unwrap();
        for text in ["a\0\u{1}00\\0\"", "blob \"\\0\0", "\u{10ffff}", "\\u{10ffff}\0"] {
            let text = || IDLValue::Text(text.into());
            let data = types.encode(vec![text(), IDLValue::Blob(b"\0\"\\\x01".to_vec()), text()]).unwrap();
            let told = decode_text(&data).unwrap();
            assert_eq!(encode_text(&told).unwrap(), data, "{told}");
        }
    }

    #[test]
    fn a_sample_fits_its_types() {
        for types in [
            "()",
            "(nat, int, nat8, int64, float32, text, blob, vec text, opt nat, principal, reserved, null, bool)",
            "(record { a: nat; \"a field\": record { text; bool } }, variant { B: nat; A }, variant { C: text })",
            "(func (nat) -> () query, service {})",
        ] {
            let types = Types::parse(types).unwrap();
            let sample = types.sample();
            types.encode_text(&sample).unwrap_or_else(|problem| panic!("{sample}: {problem}"));
        }
    }

    #[test]
    fn types_are_written_as_they_are_read() {
        assert_eq!(Types::parse("(nat,opt record{a:text})").unwrap().to_text(), "(nat, opt record { a : text })");
    }

    #[test]
    fn values_too_deep_for_the_printer_are_refused() {
        let mut value = IDLValue::Null;
        for _ in 0..MAX_DEPTH {
            value = IDLValue::Opt(Box::new(value));
        }
        assert!(to_text(vec![value]).is_err());
    }
}
