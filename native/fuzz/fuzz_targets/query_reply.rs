//! Feeds the target `query_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::query_reply(input));
