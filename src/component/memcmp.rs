//! A `memcmp` that compares 16 bytes at a time.
//!
//! wasi-libc's goes byte by byte, which was 11 % of the time of point reads:
//! SQLite compares keys with it all the time. The linker takes this definition
//! and leaves the one in `libc.a` alone, because it looks into an archive only
//! for what is still missing. (`memcpy` and `memset` need nothing of the kind:
//! with bulk memory they are single instructions.)
//!
//! What must stay true: nothing here may compile to a call of `memcmp`, so no
//! comparing of slices; the sign is that of the first differing bytes as
//! unsigned numbers; unaligned pointers are fine.

#![allow(unsafe_code)]

/// C's `memcmp`.
///
/// # Safety
/// Both pointers are good for reading `n` bytes.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: what the caller promises.
    unsafe { compare(a, b, n) }
}

/// See [`memcmp`]; under another name, so that tests don't replace the C library's.
///
/// # Safety
/// Both pointers are good for reading `n` bytes.
#[inline(always)]
unsafe fn compare(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: every load below reads at `at..at + width` with `at + width <= n`.
    unsafe {
        let mut at = 0;
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        while n - at >= 16 {
            use core::arch::wasm32::{v128_any_true, v128_load, v128_xor};
            let differs = v128_xor(v128_load(a.add(at).cast()), v128_load(b.add(at).cast()));
            if v128_any_true(differs) {
                // The steps of 8 below find where.
                break;
            }
            at += 16;
        }
        while n - at >= 8 {
            let order = order(load_u64(a.add(at)), load_u64(b.add(at)));
            if order != 0 {
                return order;
            }
            at += 8;
        }
        if n - at >= 4 {
            let order = order(load_u32(a.add(at)), load_u32(b.add(at)));
            if order != 0 {
                return order;
            }
            at += 4;
        }
        while at < n {
            let order = i32::from(*a.add(at)) - i32::from(*b.add(at));
            if order != 0 {
                return order;
            }
            at += 1;
        }
        0
    }
}

/// The order of the first bytes that differ in two little-endian numbers. Wasm
/// has no byte swap, but it counts trailing zeros.
#[inline(always)]
fn order(a: u64, b: u64) -> i32 {
    let differs = a ^ b;
    if differs == 0 {
        return 0;
    }
    let shift = differs.trailing_zeros() & !7;
    let byte = |number: u64| (number >> shift & 0xff) as i32;
    byte(a) - byte(b)
}

/// # Safety
/// `p` is good for reading 8 bytes.
#[inline(always)]
unsafe fn load_u64(p: *const u8) -> u64 {
    // SAFETY: what the caller promises; the load is unaligned.
    u64::from_le(unsafe { p.cast::<u64>().read_unaligned() })
}

/// # Safety
/// `p` is good for reading 4 bytes.
#[inline(always)]
unsafe fn load_u32(p: *const u8) -> u64 {
    // SAFETY: what the caller promises; the load is unaligned.
    u64::from(u32::from_le(unsafe { p.cast::<u32>().read_unaligned() }))
}

#[cfg(test)]
mod tests {
    use super::compare;

    /// Every length, alignment and place of the difference around the steps of
    /// 16, 8, 4 and 1, in both directions, with bytes on both sides of 0x80
    /// (signed comparison would get those wrong) and differences behind the end.
    #[test]
    fn agrees_with_slice_order() {
        let values = [(0x00, 0x01), (0x7f, 0x80), (0x00, 0xff), (0xfe, 0xff)];
        // Miri takes minutes for all of them: each step once, and two of the first.
        let lengths: Vec<usize> = if cfg!(miri) {
            (0..=16).chain([23, 31, 33]).collect()
        } else {
            (0..=67).collect()
        };
        for n in lengths {
            for (shift_a, shift_b) in [(0, 0), (1, 0), (3, 5), (7, 2)] {
                let mut a = vec![0x55_u8; n + 16];
                let mut b = vec![0x55_u8; n + 16];
                // Outside the range: must not matter.
                a[shift_a + n] = 1;
                b[shift_b + n] = 2;
                let check = |a: &[u8], b: &[u8]| {
                    let (a, b) = (&a[shift_a..shift_a + n], &b[shift_b..shift_b + n]);
                    // SAFETY: both slices have `n` bytes.
                    let got = unsafe { compare(a.as_ptr(), b.as_ptr(), n) };
                    assert_eq!(got.signum(), a.cmp(b) as i32, "{a:02x?} {b:02x?}");
                };
                check(&a, &b);
                for at in 0..n {
                    for (low, high) in values {
                        a[shift_a + at] = low;
                        b[shift_b + at] = high;
                        check(&a, &b);
                        check_reversed(&a, &b, shift_a, shift_b, n);
                        // A later difference the other way must not win.
                        if at + 1 < n {
                            a[shift_a + n - 1] = 0xff;
                            b[shift_b + n - 1] = 0x00;
                            check(&a, &b);
                            a[shift_a + n - 1] = 0x55;
                            b[shift_b + n - 1] = 0x55;
                        }
                        a[shift_a + at] = 0x55;
                        b[shift_b + at] = 0x55;
                    }
                }
            }
        }
    }

    fn check_reversed(a: &[u8], b: &[u8], shift_a: usize, shift_b: usize, n: usize) {
        let (a, b) = (&a[shift_a..shift_a + n], &b[shift_b..shift_b + n]);
        // SAFETY: both slices have `n` bytes.
        let got = unsafe { compare(b.as_ptr(), a.as_ptr(), n) };
        assert_eq!(got.signum(), b.cmp(a) as i32, "{b:02x?} {a:02x?}");
    }
}
