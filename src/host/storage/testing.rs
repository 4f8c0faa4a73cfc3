//! What the tests of this module share: guest memory, polling by hand, and
//! native SQLite in another process.
//!
//! What must stay true: nothing here sleeps to make two things happen in order.
#![allow(unsafe_code)]

use super::mapping::REGION_BYTES;
use super::{FileKind, Grant, OpenFile, OpenFlags, Storage, StorageLimits};
use rustix::mm::{MapFlags, ProtFlags};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

pub(crate) const CREATE: OpenFlags = OpenFlags {
    create: true,
    exclusive: false,
    read_only: false,
    delete_on_close: false,
};

pub(crate) fn storage(directory: &Path) -> Storage {
    Storage::new(
        Grant::directory(directory).unwrap(),
        StorageLimits::default(),
    )
}

pub(crate) fn open_db(directory: &Path) -> OpenFile {
    storage(directory)
        .open_file("db", FileKind::MainDb, CREATE)
        .unwrap()
}

/// Page-aligned memory, as a guest's.
pub(crate) struct Memory(*mut u8);

// SAFETY: all reads and writes of the memory are atomic.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

const REGIONS: usize = 4;

impl Memory {
    pub(crate) fn new() -> Memory {
        // SAFETY: a fresh mapping, at an address of the kernel's choice.
        let at = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                REGIONS * REGION_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        Memory(at.unwrap().cast())
    }

    pub(crate) fn region(&self, region: usize) -> *mut u8 {
        assert!(region < REGIONS);
        self.0.wrapping_add(region * REGION_BYTES)
    }

    pub(crate) fn get(&self, at: usize) -> u8 {
        assert!(at < REGIONS * REGION_BYTES);
        // SAFETY: within the mapping, which lives until `self` drops.
        unsafe { AtomicU8::from_ptr(self.0.add(at)) }.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, at: usize, byte: u8) {
        assert!(at < REGIONS * REGION_BYTES);
        // SAFETY: within the mapping, which lives until `self` drops.
        unsafe { AtomicU8::from_ptr(self.0.add(at)) }.store(byte, Ordering::SeqCst);
    }

    pub(crate) fn is_zero(&self) -> bool {
        (0..REGIONS * REGION_BYTES).all(|at| self.get(at) == 0)
    }

    /// Maps one region of `file` over one of ours. `self` must outlive `file`.
    pub(crate) fn map(
        &self,
        file: &mut OpenFile,
        region: u32,
        extend: bool,
    ) -> Result<bool, super::ErrorCode> {
        // SAFETY: our own mapping; the tests drop it after the file.
        unsafe { file.shm_map(region, extend, self.region(region as usize), REGION_BYTES) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the whole of our mapping, which nobody uses any more.
        unsafe { rustix::mm::munmap(self.0.cast(), REGIONS * REGION_BYTES) }.unwrap();
    }
}

/// A database handle with region 0 mapped, and the memory that it is mapped to.
pub(crate) struct Attached {
    pub(crate) file: OpenFile,
    // After `file`.
    pub(crate) memory: Memory,
}

pub(crate) fn attached(directory: &Path) -> Attached {
    let (mut file, memory) = (open_db(directory), Memory::new());
    assert!(memory.map(&mut file, 0, true).unwrap());
    Attached { file, memory }
}

/// A future polled by hand.
pub(crate) struct Polled<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn counting_waker() -> (Waker, Arc<Woken>) {
    let woken = Arc::new(Woken::default());
    (Waker::from(Arc::clone(&woken)), woken)
}

impl Woken {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl<F: Future> Polled<F> {
    pub(crate) fn new(future: F) -> Polled<F> {
        Polled {
            future: Box::pin(future),
            woken: Arc::default(),
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.count()
    }

    pub(crate) fn finish(self) -> F::Output {
        block_on(self.future)
    }
}

struct Unpark(Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Native SQLite, in a Python process, on `directory`/db.
pub(crate) struct Native {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

const SCRIPT: &str = "
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
print('ready', flush=True)
for line in sys.stdin:
    if line == 'exit\\n':
        c.close()
        print('closed', flush=True)
        break
    try:
        print(c.execute(line.strip()).fetchall(), flush=True)
    except sqlite3.Error as e:
        print('error:', e, flush=True)
";

impl Native {
    pub(crate) fn open(directory: &Path) -> Native {
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(directory.join("db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3");
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut native = Native {
            child,
            stdin,
            stdout,
        };
        assert_eq!(native.answer(), "ready");
        native
    }

    /// The answer to what was sent.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The rows as Python prints them, or `error: …`.
    pub(crate) fn sql(&mut self, sql: &str) -> String {
        self.send(sql);
        self.answer()
    }

    /// Without waiting for the answer.
    pub(crate) fn send(&mut self, sql: &str) {
        writeln!(self.stdin, "{sql}").unwrap();
    }

    /// Ends as a process should: SQLite closes the database.
    pub(crate) fn close(mut self) {
        self.send("exit");
        assert_eq!(self.answer(), "closed");
        self.child.wait().unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
