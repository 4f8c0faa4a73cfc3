#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (beaver_fuzz::component_files::TARGET.run)(data));
