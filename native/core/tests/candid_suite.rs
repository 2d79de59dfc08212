//! The official Candid test suite (`dfinity/candid`, directory `test`), every assertion through our types and budgets.

use std::path::PathBuf;

use candid_parser::candid::IDLArgs;
use candid_parser::candid::types::{Type, TypeEnv};
use candid_parser::syntax::IDLProg;
use candid_parser::test::{Assert, Input, Test};
use candid_parser::typing::{ast_to_type, check_prog};
use icws_core::candid::Types;

fn suite() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/candid"));
    if !path.is_dir() {
        println!("skipped: the Candid test suite lies beside the repository, in ../shared/vectors/candid");
        return None;
    }
    Some(path)
}

fn read(input: &Input, env: &TypeEnv, types: &[Type]) -> Result<IDLArgs, String> {
    match input {
        Input::Blob(data) => {
            let ours = Types::from_candid(env, types).map_err(|problem| problem.to_string())?;
            ours.decode(data).map(|args| IDLArgs { args }).map_err(|problem| problem.to_string())
        }
        Input::Text(text) => candid_parser::parse_idl_args(text)
            .and_then(|args| Ok(args.annotate_types(true, env, types)?))
            .map_err(|problem| problem.to_string()),
    }
}

fn holds(assert: &Assert, env: &TypeEnv) -> Result<(), String> {
    let types: Vec<_> = assert.typ.iter().map(|ty| ast_to_type(env, &ty.typ).unwrap()).collect();
    let left = read(&assert.left, env, &types);
    match &assert.right {
        None if left.is_ok() == assert.pass => Ok(()),
        None => Err(format!("{:?}", left.map(|args| args.to_string()))),
        Some(right) => {
            let (left, right) = (left?, read(right, env, &types)?);
            if (left == right) == assert.pass { Ok(()) } else { Err(format!("{left} and {right}")) }
        }
    }
}

/// How many assertions the file makes, and those that do not hold.
fn run(name: &str) -> (usize, Vec<String>) {
    let Some(path) = suite() else { return (0, Vec::new()) };
    let test: Test = std::fs::read_to_string(path.join(name)).unwrap().parse().unwrap();
    let mut env = TypeEnv::new();
    check_prog(&mut env, &IDLProg { decs: test.defs, actor: None }).unwrap();
    let broken = |(at, assert): (usize, &Assert)| {
        holds(assert, &env).err().map(|problem| format!("{name} {at} {}: {problem}", assert.desc()))
    };
    (test.asserts.len(), test.asserts.iter().enumerate().filter_map(broken).collect())
}

macro_rules! suites {
    ($($name:ident: $count:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            let (count, broken) = run(concat!(stringify!($name), ".test.did"));
            assert!(broken.is_empty(), "{broken:#?}");
            assert!(suite().is_none() || count == $count, "{count} assertions");
        })*
    };
}

suites! {
    construct: 164,
    overshoot: 10,
    prim: 168,
    reference: 50,
    spacebomb: 17,
    subtypes: 58,
}
