//! Reading Candid text: tuples of types and whole interfaces (`.did`), with the position of what is wrong.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::candid::types::{FuncMode, TypeEnv, TypeInner};
use candid_parser::syntax::{Dec, IDLProg, IDLTypes};
use candid_parser::token::{Token, Tokenizer};
use candid_parser::typing::ast_to_type;

use super::schema::{Import, Schema, Shape, ShapeId};
use super::types::Types;
use crate::{Error, Result};

/// The longest text in bytes. Interfaces of large canisters have about 100 kB.
const MAX_TEXT: usize = 1 << 20;
/// The deepest nesting of one type. The parser's recursion is bounded by it.
const MAX_DEPTH: usize = 100;
/// The longest text whose chain of type names is followed on the caller's stack.
const SHORT_TEXT: usize = 4096;
/// Stack for longer texts. A level of nesting takes 4 bytes of text (`opt `) at least and some 300 of stack.
const LARGE_STACK: usize = 256 << 20;

/// A method of an interface.
#[derive(Debug, Clone)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub arguments: Types,
    /// What it answers.
    pub results: Types,
    /// Whether it is called as a query: declared `query` or `composite_query`.
    pub is_query: bool,
}

/// A parsed `.did` text.
#[derive(Debug)]
pub struct Interface {
    /// The methods of its service, in the order of their names.
    pub methods: Vec<Method>,
    /// The arguments of the installation.
    pub init: Types,
    schema: Arc<Schema>,
    named: BTreeMap<String, ShapeId>,
}

impl Types {
    /// Parses e.g. `(record {nonce: nat64}, opt text)`. Fails with [`Error::Candid`] or [`Error::TooLarge`].
    pub fn parse(source: &str) -> Result<Self> {
        parse_types(source)
    }
}

impl Interface {
    /// Parses and checks a text. One without a service has no methods; imports are refused, for there is no directory.
    pub fn parse(source: &str) -> Result<Self> {
        with_room(source, || parse_interface(source))
    }

    /// A named type, as a tuple of one.
    pub fn named(&self, name: &str) -> Result<Types> {
        match self.named.get(name) {
            Some(id) => Ok(Types::new(self.schema.clone(), vec![*id])),
            None => Err(Error::Candid(format!("the interface has no type {name}"))),
        }
    }
}

fn parse_types(source: &str) -> Result<Types> {
    with_room(source, || {
        let parsed: IDLTypes = source.parse().map_err(|problem| locate(source, &problem))?;
        let env = TypeEnv::new();
        let types = parsed
            .args
            .iter()
            .map(|argument| ast_to_type(&env, &argument.typ))
            .collect::<candid_parser::Result<Vec<_>>>()
            .map_err(|problem| locate(source, &problem))?;
        Types::from_candid(&env, &types)
    })
}

fn parse_interface(source: &str) -> Result<Interface> {
    let program: IDLProg = source.parse().map_err(|problem| locate(source, &problem))?;
    if let Some(Dec::ImportType(file) | Dec::ImportServ(file)) =
        program.decs.iter().find(|dec| !matches!(dec, Dec::TypD(_)))
    {
        return Err(Error::Candid(format!("import of {file:?}: put the imported types into the text")));
    }
    let mut env = TypeEnv::new();
    let actor = candid_parser::check_prog(&mut env, &program).map_err(|problem| locate(source, &problem))?;
    let (init, service) = match actor.as_ref().map(AsRef::as_ref) {
        Some(TypeInner::Class(init, service)) => (init.as_slice(), Some(service)),
        _ => (&[][..], actor.as_ref()),
    };
    let mut import = Import::new(&env);
    let named = env.0.keys().map(|name| Ok((name.clone(), import.add_named(name)?))).collect::<Result<_>>()?;
    let init = import.add_all(init)?;
    let service = service.map(|service| import.add(service)).transpose()?;
    let schema = Arc::new(import.finish()?);
    let methods = service.map_or(Ok(Vec::new()), |id| methods(&schema, id))?;
    Ok(Interface { methods, init: Types::new(schema.clone(), init), schema, named })
}

fn methods(schema: &Arc<Schema>, service: ShapeId) -> Result<Vec<Method>> {
    let Shape::Service(entries) = schema.shape(service) else {
        return Err(Error::Candid("the main type is not a service".into()));
    };
    let method = |(name, id): &(String, ShapeId)| match schema.shape(*id) {
        Shape::Func { arguments, results, modes } => Ok(Method {
            name: name.clone(),
            arguments: Types::new(schema.clone(), arguments.clone()),
            results: Types::new(schema.clone(), results.clone()),
            is_query: modes.iter().any(|mode| !matches!(mode, FuncMode::Oneway)),
        }),
        _ => Err(Error::Candid(format!("method {name} is not a function"))),
    };
    entries.iter().map(method).collect()
}

/// Runs a parser after the checks that keep its recursion small, with a stack that suffices for the rest.
pub(super) fn with_room<T: Send>(source: &str, parse: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if source.len() > MAX_TEXT {
        return Err(Error::TooLarge {
            what: "Candid text",
            size: source.len() as u64,
            limit: MAX_TEXT as u64,
            unit: "bytes",
        });
    }
    check_tokens(source)?;
    if source.len() <= SHORT_TEXT {
        return catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| Err(failed()));
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(LARGE_STACK)
            .spawn_scoped(scope, parse)
            .map_err(|problem| Error::Candid(format!("no thread to parse in: {problem}")))?;
        thread.join().unwrap_or_else(|_| Err(failed()))
    })
}

fn failed() -> Error {
    Error::Candid("the parser failed".into())
}

/// Refuses what the parser would panic at: numbers that begin with `0X`, which it takes for hexadecimal ones and cannot
/// read; and types that nest too deep, by counting what nests: brackets, and `opt` and `vec` in front of a type.
fn check_tokens(source: &str) -> Result<()> {
    let (mut open, mut prefixes, mut depth) = (Vec::new(), 0usize, 0usize);
    for token in Tokenizer::new(source) {
        let Ok((start, token, _)) = token else { return Ok(()) };
        match token {
            Token::Opt | Token::Vec => (prefixes, depth) = (prefixes + 1, depth + 1),
            Token::LParen | Token::LBrace => {
                open.push(prefixes);
                (prefixes, depth) = (0, depth + 1);
            }
            Token::RParen | Token::RBrace => {
                let outer = open.pop().unwrap_or(0);
                depth = depth.saturating_sub(prefixes + 1);
                prefixes = outer;
            }
            Token::Hex(digits) if digits.contains('X') => {
                return Err(at(source, start, &format!("{digits}: a hexadecimal number begins with 0x")));
            }
            Token::Semi | Token::Comma => (prefixes, depth) = (0, depth - prefixes),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(at(source, start, &format!("types nest deeper than {MAX_DEPTH}")));
        }
    }
    Ok(())
}

/// The parser's error with its place, or the checker's with the place of the name it speaks of.
pub(super) fn locate(source: &str, problem: &candid_parser::Error) -> Error {
    let report = problem.report();
    let Some(label) = report.labels.first() else {
        let text = problem.to_string();
        return match find_name(source, &text) {
            Some(start) => at(source, start, &text),
            None => Error::Candid(text),
        };
    };
    let notes = report.notes.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let text = if notes.is_empty() { label.message.clone() } else { format!("{}; {notes}", label.message) };
    at(source, label.range.start, &text)
}

/// Where the name stands that a sentence of the type checker is about; of a name bound twice the second place.
fn find_name(source: &str, problem: &str) -> Option<usize> {
    let bound_twice = problem.strip_prefix("duplicate binding for ");
    let name = bound_twice
        .or_else(|| problem.strip_prefix("Unbound type identifier "))
        .or_else(|| problem.strip_suffix(" has cyclic type definition"))
        .or_else(|| problem.strip_prefix("method ")?.strip_suffix(" is a non-function type"))?;
    let mut after_type = false;
    let mut places = Tokenizer::new(source).map_while(|token| token.ok()).filter_map(|(start, token, _)| {
        let binds = std::mem::replace(&mut after_type, token == Token::Type);
        let is_name = matches!(&token, Token::Id(text) | Token::Text(text) if text == name);
        (is_name && (binds || bound_twice.is_none())).then_some(start)
    });
    places.nth(usize::from(bound_twice.is_some()))
}

/// An error with line and column, both counted from 1, the column in characters.
fn at(source: &str, position: usize, problem: &str) -> Error {
    let end = (0..=position.min(source.len())).rev().find(|end| source.is_char_boundary(*end)).unwrap_or(0);
    let before = &source[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Error::Candid(format!("line {line}, column {column}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(source: &str) -> String {
        match Interface::parse(source) {
            Err(Error::Candid(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn interfaces_have_methods_types_and_init() {
        let source = r#"
            // a list and a tree that know each other
            type List = opt record { head: Tree; tail: List };
            type Tree = variant { leaf; node: List; alias: Alias };
            type Alias = List; /* a comment */
            type table0 = record { List };
            service : (nat, opt text) -> {
                get : (List) -> (Alias) query;
                look : (table0) -> (Tree) composite_query;
                "put it" : (x : nat) -> ();
                tell : (text) -> () oneway;
            }"#;
        let interface = Interface::parse(source).unwrap();
        let methods: Vec<_> = interface.methods.iter().map(|m| (m.name.as_str(), m.is_query)).collect();
        assert_eq!(methods, [("get", true), ("look", true), ("put it", false), ("tell", false)]);
        assert_eq!(interface.init.shapes().len(), 2);
        let list = interface.named("Alias").unwrap();
        assert!(matches!(list.schema().shape(list.shapes()[0]), Shape::Opt(_)));
        assert_eq!(interface.methods[0].arguments.shapes(), list.shapes());
        let empty = list.encode(vec![candid_parser::IDLValue::None]).unwrap();
        assert_eq!(interface.methods[0].results.decode(&empty).unwrap(), vec![candid_parser::IDLValue::None]);
        assert!(interface.named("Nothing").is_err());
    }

    #[test]
    fn a_text_without_service_has_types_only() {
        let interface = Interface::parse("type A = nat").unwrap();
        assert!(interface.methods.is_empty() && interface.named("A").is_ok());
    }

    #[test]
    fn errors_name_the_place() {
        assert!(problem("type A = record {\n  a: nat,\n}").starts_with("line 2, column 9: Unexpected token; Expects"));
        assert!(problem("type A = nat;\ntype B = opt C").starts_with("line 2, column 14: Unbound type identifier C"));
        assert!(problem("type A = nat;\ntype B = A;\ntype A = B").starts_with("line 3, column 6: duplicate binding"));
        assert!(problem("type A = B;\ntype B = A").contains("cyclic"));
        assert!(problem("type A = nat;\nservice : {\n  f : A }").starts_with("line 3, column 3: method f is a non-fu"));
        assert!(problem("type A = record { x: nat; x: int }").starts_with("line 1, column 1"));
        assert!(problem("import \"other.did\"").contains("other.did"));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth: usize| format!("({}nat)", "opt ".repeat(depth));
        assert!(parse_types(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(parse_types(&nested(MAX_DEPTH)).is_err());
        let records = |depth: usize| format!("({}nat{})", "record {".repeat(depth), "}".repeat(depth));
        assert!(parse_types(&records(MAX_DEPTH - 1)).is_ok());
        assert!(parse_types(&records(100_000)).is_err());
        assert!(parse_types(&"opt nat, ".repeat(50)).is_err());
        assert!(parse_types(&format!("({})", vec!["opt opt nat"; 1000].join(", "))).is_ok());
        assert!(matches!(parse_types(&" ".repeat(MAX_TEXT + 1)), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_long_chain_of_names_does_not_overflow() {
        let mut source = String::from("type T0 = nat;\n");
        for n in 0..20_000 {
            source += &format!("type T{} = opt T{n};\n", n + 1);
        }
        let interface = Interface::parse(&source).unwrap();
        let encode = |name| interface.named(name)?.encode(vec![candid_parser::IDLValue::None]);
        assert!(encode("T200").is_ok());
        let _ = encode("T20000"); // the encoder may refuse it
    }
}
