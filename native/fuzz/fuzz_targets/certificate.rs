//! Feeds the target `certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::certificate(input));
