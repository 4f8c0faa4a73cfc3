#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (beaver_fuzz::operations::TARGET.run)(data));
