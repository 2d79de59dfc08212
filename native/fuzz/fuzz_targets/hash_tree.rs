//! Feeds the target `hash_tree`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::hash_tree(input));
