//! Feeds the target `first_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::first_message(input));
