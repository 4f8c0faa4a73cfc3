//! The two host calls that write into the guest's memory, declared by hand.
//!
//! The contract has the guest pass a buffer as `list<u8>`, for which the
//! generated function takes a `&[u8]`: a promise that the bytes stay as they
//! are, which is the opposite of what these calls are for. A pointer makes no
//! such promise. Signatures and layouts are the canonical ABI's
//! (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md>);
//! the linker checks the signatures against the world.

use crate::bindings::beaver::host::storage::{ErrorCode, File};

#[link(wasm_import_module = "beaver:host/storage@0.1.0")]
unsafe extern "C" {
    #[link_name = "[method]file.read-into"]
    fn import_read_into(
        file: u32,
        offset: u64,
        buffer: *mut u8,
        length: usize,
        answer: *mut ReadAnswer,
    );

    #[link_name = "[method]file.shm-map"]
    fn import_shm_map(
        file: u32,
        region: u32,
        extend: u32,
        buffer: *mut u8,
        length: usize,
        answer: *mut MapAnswer,
    );
}

/// `result<u32, error-code>`: the case, then the payload at the alignment of
/// the larger one. An error code is the payload's first byte.
#[repr(C)]
struct ReadAnswer {
    case: u8,
    payload: u32,
}

/// `result<bool, error-code>`.
#[repr(C)]
struct MapAnswer {
    case: u8,
    payload: u8,
}

/// `file.read-into`: reads at `offset` into `buffer`; returns how many bytes.
///
/// # Safety
/// `buffer` is good for writing `length` bytes, and no reference to them exists.
pub(super) unsafe fn read_into(
    file: &File,
    offset: u64,
    buffer: *mut u8,
    length: usize,
) -> Result<usize, ErrorCode> {
    let mut answer = ReadAnswer {
        case: 0,
        payload: 0,
    };
    // SAFETY: the handle lives as long as `file`; the host writes at most
    // `length` bytes and the answer.
    unsafe { import_read_into(file.handle(), offset, buffer, length, &raw mut answer) };
    match answer.case {
        0 => Ok(answer.payload as usize),
        _ => Err(error_code(answer.payload as u8)),
    }
}

/// `file.shm-map`: maps `region` over `buffer`; false when it doesn't exist.
///
/// # Safety
/// `buffer` is good for writing `length` bytes, no reference to them exists,
/// and they stay allocated until the region is given back.
pub(super) unsafe fn shm_map(
    file: &File,
    region: u32,
    extend: bool,
    buffer: *mut u8,
    length: usize,
) -> Result<bool, ErrorCode> {
    let mut answer = MapAnswer {
        case: 0,
        payload: 0,
    };
    // SAFETY: as in `read_into`.
    unsafe {
        import_shm_map(
            file.handle(),
            region,
            u32::from(extend),
            buffer,
            length,
            &raw mut answer,
        );
    };
    match answer.case {
        0 => Ok(answer.payload != 0),
        _ => Err(error_code(answer.payload)),
    }
}

/// The case with this number; the order is the contract's. The host can't send
/// others, the component model checks it.
fn error_code(number: u8) -> ErrorCode {
    const CASES: [ErrorCode; 11] = [
        ErrorCode::Access,
        ErrorCode::NotFound,
        ErrorCode::Exists,
        ErrorCode::ReadOnly,
        ErrorCode::Full,
        ErrorCode::Busy,
        ErrorCode::TimedOut,
        ErrorCode::TooManyFiles,
        ErrorCode::InvalidArgument,
        ErrorCode::Unsupported,
        ErrorCode::Io,
    ];
    CASES
        .get(usize::from(number))
        .copied()
        .unwrap_or(ErrorCode::Io)
}

// The order above is the generated one.
const _: () = assert!(ErrorCode::Access as u8 == 0 && ErrorCode::Io as u8 == 10);
