//! A plain canister: nothing puts its interface into the metadata of the module.

use ic_cdk::{query, update};

#[query]
fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

#[update]
fn add(first: u64, second: u64) -> u64 {
    first + second
}

ic_cdk::export_candid!();
