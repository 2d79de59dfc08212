//! Feeds the target `canister_signature`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::canister_signature(input));
