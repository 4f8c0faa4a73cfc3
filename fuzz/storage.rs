//! Any arguments at `beaver:host/storage`: malicious guests on one folder, beside one that does nothing.
//!
//! What must stay true, whatever they pass: the host answers with a typed error, or traps the guest and
//! serves the next one; nothing outside the granted folder is changed, or read; files stay within their
//! limits, each and all together; no memory but the caller's changes; and when all are gone, so are their
//! locks, descriptors and mappings.

mod folder;
mod functions;
mod guest;

use crate::Target;
use arbitrary::{Arbitrary, Result, Unstructured};
use beaver_host::Grant;
use folder::{Folder, MARK};
use functions::{CLOSE, FUNCTIONS, Function, OPEN_FILE};
use guest::{Guest, MEMORY_BYTES, OPEN_FILES_MAX};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use wasmtime::component::Val;

/// See the module.
pub const TARGET: Target = Target {
    name: "storage",
    run,
    tries: 40,
    bytes_max: 1024,
};

const STEPS_MAX: usize = 96;
const NAME_AT: u32 = 0x1000;
/// Where lists go that the host gives.
const LISTS_AT: u32 = 0x20000;
const REGION: u32 = 32 << 10;
/// Of the one that does nothing.
const PATTERN: u8 = 0xa5;

/// Those who share the folder; the last was granted one file of it.
const SEATS: usize = 3;

fn run(bytes: &[u8]) {
    let folder = Folder::new();
    let mut input = Unstructured::new(bytes);
    let witness = finished(async {
        let mut witness = Guest::new(folder.grant(false, 0)).await;
        assert!(witness.fill(0, PATTERN, MEMORY_BYTES).await);
        witness
    });
    // It ends where the bytes do.
    let _ = play(&folder, &mut input);
    finished(async {
        let mut witness = witness;
        let pattern = u64::from_le_bytes([PATTERN; 8]);
        let whole = u64::from(MEMORY_BYTES / 8);
        assert_eq!(
            witness.count(8, pattern).await,
            whole,
            "somebody else's memory"
        );
    });
    folder.check();
}

/// What a guest that may be waiting is doing.
type Call = Pin<Box<dyn Future<Output = std::result::Result<Guest, String>>>>;

enum Doing {
    Nothing(Guest),
    Waits(Call),
}

struct Seat {
    /// Always something, but within a step.
    doing: Option<Doing>,
    /// What all were granted together, if they were.
    limited: Option<Grant>,
    is_of_one_file: bool,
    how: u8,
    /// The handles that it was given.
    files: Vec<u32>,
    answer_at: u32,
}

fn play(folder: &Folder, input: &mut Unstructured<'_>) -> Result<()> {
    let mut seats = Vec::new();
    // One run in eight has a limit for all; then nobody has a grant of their own beside it.
    let is_limited = matches!(input.peek_bytes(1), Some([224..=255]));
    let limited = is_limited.then(|| folder.limited());
    for number in 0..SEATS {
        let is_of_one_file = number == SEATS - 1 && !is_limited;
        // One in four is restricted in some way.
        let how: u8 = input.arbitrary()?;
        let how = if how < 64 { how % 8 } else { 0 };
        seats.push(Seat::new(folder, limited.clone(), is_of_one_file, how));
    }
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let seat = input.int_in_range(0..=SEATS - 1)?;
        seats[seat].step(folder, input)?;
        if is_limited {
            folder.check_total();
        }
    }
    for seat in &mut seats {
        if let Some(Doing::Nothing(mut guest)) = seat.doing.take() {
            let found = finished(guest.count(1, MARK));
            assert_eq!(found, 0, "a guest read what it wasn't granted");
        }
    }
    Ok(())
}

impl Seat {
    fn new(folder: &Folder, limited: Option<Grant>, is_of_one_file: bool, how: u8) -> Self {
        let grant = match &limited {
            Some(limited) => Folder::restricted(limited.clone(), how),
            None => folder.grant(is_of_one_file, how),
        };
        let guest = finished(async {
            let mut guest = Guest::new(grant).await;
            let zeros = guest.count(8, 0).await;
            assert_eq!(zeros, u64::from(MEMORY_BYTES / 8), "new memory isn't empty");
            guest
        });
        Self {
            doing: Some(Doing::Nothing(guest)),
            limited,
            is_of_one_file,
            how,
            files: Vec::new(),
            answer_at: guest::ANSWER_AT,
        }
    }

    /// The guest, if it isn't waiting.
    fn guest(&mut self) -> Option<&mut Guest> {
        match &mut self.doing {
            Some(Doing::Nothing(guest)) => Some(guest),
            _ => None,
        }
    }

    fn replace(&mut self, folder: &Folder) {
        // The old one goes first, with all that it holds.
        self.doing = None;
        *self = Self::new(folder, self.limited.take(), self.is_of_one_file, self.how);
    }

    fn step(&mut self, folder: &Folder, input: &mut Unstructured<'_>) -> Result<()> {
        match self.doing.take() {
            Some(Doing::Waits(_)) if input.ratio(1, 4)? => self.replace(folder),
            Some(Doing::Waits(call)) => self.go_on(folder, call, None),
            doing => {
                self.doing = doing;
                match input.int_in_range(0..=15)? {
                    0 => self.replace(folder),
                    1 => self.odd_places(folder, input)?,
                    2 => {
                        let (at, byte, len) = (place(input)?, input.arbitrary()?, length(input)?);
                        let filled = self.guest().map(|it| finished(it.fill(at, byte, len)));
                        if filled == Some(false) {
                            self.replace(folder);
                        }
                    }
                    _ => self.call(folder, input)?,
                }
            }
        }
        Ok(())
    }

    /// Answers and lists go to any place from now on, or to the usual ones.
    fn odd_places(&mut self, folder: &Folder, input: &mut Unstructured<'_>) -> Result<()> {
        let (answer, lists) = match input.arbitrary()? {
            true => (place(input)?, place(input)?),
            false => (guest::ANSWER_AT, LISTS_AT),
        };
        self.answer_at = answer;
        let placed = self.guest().map(|it| finished(it.place(answer, lists)));
        if placed == Some(false) {
            self.replace(folder);
        }
        Ok(())
    }

    fn call(&mut self, folder: &Folder, input: &mut Unstructured<'_>) -> Result<()> {
        // Without files nothing else can be called.
        let function = match input.int_in_range(0..=3)? {
            0 if self.files.len() < 2 => OPEN_FILE,
            1 | 2 if self.files.is_empty() => OPEN_FILE,
            _ => input.int_in_range(0..=CLOSE)?,
        };
        let takes = FUNCTIONS.get(function).map_or("h", |it| it.takes);
        let mut arguments = Vec::new();
        let mut name = None;
        let mut is_short = true;
        for what in takes.chars() {
            match what {
                'h' => arguments.push(Val::U32(self.handle(input)?)),
                'n' => arguments.push(Val::U32(input.int_in_range(0..=4)?)),
                'i' => arguments.push(Val::U32(small(input)?)),
                'o' => arguments.push(Val::U64(offset(input)?)),
                'l' => arguments.push(Val::U32(length(input)?)),
                'w' => arguments.push(Val::U64(word(input)?)),
                't' => {
                    let time = input.choose(&[0, 1, 1000, 1 << 50, 1 << 63, u64::MAX])?;
                    is_short = *time <= 1000;
                    arguments.push(Val::U64(*time));
                }
                's' => {
                    let text = folder::name(input)?;
                    let len = u32::try_from(text.len()).unwrap();
                    arguments.extend([Val::U32(NAME_AT), Val::U32(len)]);
                    name = Some(text);
                }
                _ => {
                    let len = if function_is_map(function) && input.ratio(3, 4)? {
                        REGION
                    } else {
                        length(input)?
                    };
                    arguments.extend([Val::U32(place(input)?), Val::U32(len)]);
                }
            }
        }
        debug_assert_eq!(arguments.len(), Function::core(takes).len());
        let Some(Doing::Nothing(mut guest)) = self.doing.take() else {
            return Ok(());
        };
        if let Some(name) = &name
            && !finished(guest.write(NAME_AT, name))
        {
            self.replace(folder);
            return Ok(());
        }
        if let (true, Some(Val::U32(file))) = (function == CLOSE, arguments.first()) {
            self.files.retain(|known| known != file);
        }
        let call: Call = Box::pin(guest.call(function, arguments));
        if is_short {
            let called = finished(call);
            self.called(folder, called, Some((function, name)));
        } else {
            self.go_on(folder, call, Some((function, name)));
        }
        Ok(())
    }

    fn go_on(&mut self, folder: &Folder, mut call: Call, what: Option<(usize, Option<Vec<u8>>)>) {
        let mut context = Context::from_waker(Waker::noop());
        match call.as_mut().poll(&mut context) {
            Poll::Ready(called) => self.called(folder, called, what),
            Poll::Pending => self.doing = Some(Doing::Waits(call)),
        }
    }

    fn called(
        &mut self,
        folder: &Folder,
        called: std::result::Result<Guest, String>,
        what: Option<(usize, Option<Vec<u8>>)>,
    ) {
        match called {
            Ok(mut guest) => {
                if let Some((OPEN_FILE, name)) = what {
                    let answer = finished(async {
                        let tag = guest.peek(self.answer_at).await?;
                        let handle = guest.peek(self.answer_at.checked_add(4)?).await?;
                        Some((tag as u8, handle as u32))
                    });
                    if let Some((0, handle)) = answer {
                        folder.may_be_open(&name.unwrap_or_default(), self.is_of_one_file);
                        self.files.push(handle);
                        assert!(
                            self.files.len() <= OPEN_FILES_MAX,
                            "too many files are open"
                        );
                    }
                }
                self.doing = Some(Doing::Nothing(guest));
            }
            Err(trap) => {
                // What `Ctx` says if it has lost a file.
                assert!(!trap.contains("without a file"), "{trap}");
                self.replace(folder);
            }
        }
    }

    fn handle(&self, input: &mut Unstructured<'_>) -> Result<u32> {
        if self.files.is_empty() || input.ratio(1, 16)? {
            return small(input);
        }
        input.choose(&self.files).copied()
    }
}

fn function_is_map(function: usize) -> bool {
    FUNCTIONS
        .get(function)
        .is_some_and(|it| it.name.ends_with("shm-map"))
}

fn small(input: &mut Unstructured<'_>) -> Result<u32> {
    match input.int_in_range(0..=15)? {
        0 => input.arbitrary(),
        1 => Ok(u32::MAX),
        2..=4 => input.int_in_range(0..=9),
        // What is a case of most enumerations: another one is a trap.
        _ => input.int_in_range(0..=2),
    }
}

fn offset(input: &mut Unstructured<'_>) -> Result<u64> {
    let base = *input.choose(&[
        0,
        100,
        4096,
        guest::FILE_BYTES_MAX,
        1 << 31,
        1 << 32,
        // Where SQLite locks.
        0x4000_0000,
        1 << 62,
        1 << 63,
        0,
    ])?;
    match input.int_in_range(0..=7)? {
        0 => input.arbitrary(),
        1 => Ok(u64::wrapping_sub(base, input.int_in_range(0..=9)?)),
        _ => Ok(base + input.int_in_range(0..=9)?),
    }
}

fn word(input: &mut Unstructured<'_>) -> Result<u64> {
    match input.int_in_range(0..=7)? {
        0 => input.arbitrary(),
        1 => Ok((1 << 61) - input.int_in_range(0..=1)?),
        _ => input.int_in_range(0..=4),
    }
}

fn length(input: &mut Unstructured<'_>) -> Result<u32> {
    let all = [
        0,
        1,
        8,
        100,
        4096,
        REGION - 1,
        REGION,
        REGION + 1,
        1 << 20,
        (1 << 20) + 1,
        u32::MAX,
    ];
    match input.int_in_range(0..=7)? {
        0 => u32::arbitrary(input),
        _ => input.choose(&all).copied(),
    }
}

/// A place in a guest's memory, or beyond.
fn place(input: &mut Unstructured<'_>) -> Result<u32> {
    match input.int_in_range(0..=15)? {
        0 => input.arbitrary(),
        1 => Ok(MEMORY_BYTES.wrapping_sub(input.int_in_range(0..=REGION + 1)?)),
        2 => input.int_in_range(0..=MEMORY_BYTES),
        3 => Ok(input.int_in_range(0..=MEMORY_BYTES / 4096)? * 4096),
        _ => Ok(LISTS_AT + input.int_in_range(0..=27)? * REGION),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What comes of something that never waits for long.
fn finished<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
