//! Feeds the target `public_key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::public_key(input));
