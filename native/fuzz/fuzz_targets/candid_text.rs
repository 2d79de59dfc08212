//! Feeds the target `candid_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::candid_text(input));
