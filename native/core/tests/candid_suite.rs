//! The official Candid test suite (`dfinity/candid`, directory `test`), every assertion through our types and budgets.
//!
//! The suite is not in this repository: this runs where `ICWS_CANDID_SUITE` names its folder. It is a program of its own
//! rather than `#[test]` functions, because those would have to count as passed or ignored where there is no suite.

use std::path::Path;

use candid_parser::candid::IDLArgs;
use candid_parser::candid::types::{Type, TypeEnv};
use candid_parser::syntax::IDLProg;
use candid_parser::test::{Assert, Input, Test};
use candid_parser::typing::{ast_to_type, check_prog};
use icws_core::candid::Types;

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
fn run(folder: &Path, name: &str) -> (usize, Vec<String>) {
    let file = folder.join(name);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    let test: Test = text.parse().unwrap();
    let mut env = TypeEnv::new();
    check_prog(&mut env, &IDLProg { decs: test.defs, actor: None }).unwrap();
    let broken = |(at, assert): (usize, &Assert)| {
        holds(assert, &env).err().map(|problem| format!("{name} {at} {}: {problem}", assert.desc()))
    };
    (test.asserts.len(), test.asserts.iter().enumerate().filter_map(broken).collect())
}

const FILES: [(&str, usize); 6] = [
    ("construct.test.did", 164),
    ("overshoot.test.did", 10),
    ("prim.test.did", 168),
    ("reference.test.did", 50),
    ("spacebomb.test.did", 17),
    ("subtypes.test.did", 58),
];

fn main() {
    let Some(folder) = std::env::var_os("ICWS_CANDID_SUITE") else {
        println!("The official Candid suite does not run: ICWS_CANDID_SUITE names no folder.");
        return;
    };
    for (name, expected) in FILES {
        let (count, broken) = run(Path::new(&folder), name);
        assert!(broken.is_empty(), "{broken:#?}");
        assert_eq!(count, expected, "assertions in {name}");
        println!("{name}: {count} assertions hold");
    }
}
