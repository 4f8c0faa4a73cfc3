//! Bytes written as hexadecimal digits.

/// The bytes that `hex` says; what is no pair of digits is left out.
pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.as_bytes().chunks(2).filter_map(pair).collect()
}

/// Puts them in the place of those from `offset` on; none is added.
pub(crate) fn overwrite(bytes: &mut [u8], offset: usize, hex: &str) {
    for (old, new) in bytes.iter_mut().skip(offset).zip(bytes_of(hex)) {
        *old = new;
    }
}
