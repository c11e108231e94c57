//! `ask::sealed`, with whatever libFuzzer thinks of.
#![no_main]

#[allow(dead_code)]
#[path = "../../../agent/tests/it/hostile/ask.rs"]
mod ask;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ask::sealed(bytes));
