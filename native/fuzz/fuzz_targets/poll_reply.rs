//! Feeds the target `poll_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icws_fuzz::targets::poll_reply(input));
