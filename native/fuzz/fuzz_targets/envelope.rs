//! Feeds the target `envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::envelope(input));
