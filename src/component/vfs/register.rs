//! Makes `beaver` SQLite's VFS: `SQLITE_OS_OTHER=1` builds SQLite without any,
//! and it calls `sqlite3_os_init` when it starts.

use super::{environment, file, names};
use rusqlite::ffi;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ptr;

/// The VFS object. SQLite links registered ones through `pNext`, so it must be
/// writable and live for ever.
struct Vfs(UnsafeCell<ffi::sqlite3_vfs>);

// SAFETY: a component has one thread, and only SQLite writes to the object.
unsafe impl Sync for Vfs {}

static VFS: Vfs = Vfs(UnsafeCell::new(ffi::sqlite3_vfs {
    // 2 adds xCurrentTimeInt64; 3 would add overridable system calls, for tests.
    iVersion: 2,
    szOsFile: size_of::<file::Slot>() as c_int,
    mxPathname: names::MAX_NAME_BYTES,
    pNext: ptr::null_mut(),
    zName: super::control::VFS_NAME.as_ptr(),
    pAppData: ptr::null_mut(),
    xOpen: Some(names::open),
    xDelete: Some(names::delete),
    xAccess: Some(names::access),
    xFullPathname: Some(names::full_path),
    // SQLite is built without loadable extensions.
    xDlOpen: None,
    xDlError: None,
    xDlSym: None,
    xDlClose: None,
    xRandomness: Some(environment::randomness),
    xSleep: Some(environment::sleep),
    xCurrentTime: Some(environment::current_time_days),
    xGetLastError: Some(environment::last_error),
    xCurrentTimeInt64: Some(environment::current_time_ms),
    xSetSystemCall: None,
    xGetSystemCall: None,
    xNextSystemCall: None,
}));

/// https://sqlite.org/c3ref/initialize.html: "The sqlite3_os_init() interface
/// is called automatically by sqlite3_initialize()".
#[unsafe(no_mangle)]
extern "C" fn sqlite3_os_init() -> c_int {
    // SAFETY: the object is complete and lives for ever; SQLite allows
    // registering the same one again, which happens after a shutdown.
    unsafe { ffi::sqlite3_vfs_register(VFS.0.get(), 1) }
}

/// The counterpart, with nothing to undo.
#[unsafe(no_mangle)]
extern "C" fn sqlite3_os_end() -> c_int {
    ffi::SQLITE_OK
}
