#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| palladion_cql_fuzz::types::check(bytes));
