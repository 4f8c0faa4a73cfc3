//! What happened, host call by host call: as one number, and written out if wanted.
//!
//! What must stay true: whatever an instance can see goes into the number. So two runs with the same
//! number went the same way.

use super::places::Places;
use beaver_host::machine::{HostCall, Reply};
use std::fmt::Write as _;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    written: Option<Written>,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    places: Places,
}

impl Trace {
    /// `is_written`: also in words.
    pub(crate) fn new(is_written: bool) -> Self {
        Self {
            hash: 0,
            written: is_written.then(Written::default),
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// What is written: line by line, and where things fall.
    pub(crate) fn into_words(self) -> (Vec<String>, Places) {
        let written = self.written.unwrap_or_default();
        (written.lines, written.places)
    }

    /// The actor stops, and the scheduler is about to choose.
    pub(crate) fn stops(&mut self, actor: u32) {
        if let Some(written) = &mut self.written {
            written.places.stops(actor);
        }
    }

    /// Not for adversaries: a multiplication and a rotation a word.
    pub(crate) fn number(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let last = rest
            .iter()
            .fold(0, |last, byte| last << 8 | u64::from(*byte));
        self.number(last);
    }

    pub(crate) fn line(&mut self, line: impl FnOnce() -> String) {
        if let Some(written) = &mut self.written {
            written.lines.push(line());
        }
    }

    /// What a worker's instance asks, as its call of this number.
    pub(crate) fn call(&mut self, now_ns: u64, worker: u32, number: u64, call: &HostCall<'_>) {
        self.number(now_ns);
        self.number(u64::from(worker) << 48 ^ number);
        match call {
            HostCall::WriteAt { offset, data, .. } => {
                self.number(*offset);
                self.bytes(data);
            }
            other => self.number(kind(other)),
        }
        if let Some(written) = &mut self.written {
            written.places.asks(worker, number, call);
        }
        self.line(|| {
            let mut line = format!("{:>12.6} ms  {worker}:{number}  ", now_ns as f64 / 1e6);
            match call {
                HostCall::ReadInto {
                    file,
                    offset,
                    buffer,
                } => {
                    let _ = write!(line, "ReadInto {file} at {offset} {} bytes", buffer.len());
                }
                HostCall::WriteAt { file, offset, data } => {
                    let _ = write!(line, "WriteAt {file} at {offset} {} bytes", data.len());
                }
                other => {
                    let _ = write!(line, "{other:?}");
                }
            }
            line
        });
    }

    /// What it is answered.
    pub(crate) fn reply(&mut self, worker: u32, call: &HostCall<'_>, reply: &Reply) {
        match (reply, call) {
            (Reply::Number(read), HostCall::ReadInto { buffer, .. }) => {
                let read = usize::try_from(*read).unwrap_or(0).min(buffer.len());
                self.bytes(&buffer[..read]);
            }
            (Reply::Number(number), _) => self.number(*number),
            (Reply::Bytes(bytes), _) => self.bytes(bytes),
            (Reply::Bool(truth), _) => self.number(u64::from(*truth)),
            (Reply::Failed(error), _) => self.number(0x100 + *error as u64),
            (Reply::Done | Reply::Region(_) | Reply::Capabilities(_), _) => self.number(1),
        }
        if let Some(written) = &mut self.written {
            written.places.answered(worker, call, reply);
        }
        self.line(|| match reply {
            Reply::Bytes(bytes) => format!("{:>18} {worker}  = {} bytes", "", bytes.len()),
            Reply::Region(region) => format!("{:>18} {worker}  = {}", "", region.is_some()),
            other => format!("{:>18} {worker}  = {other:?}", ""),
        });
    }
}

/// A number that says what is asked, and with what.
fn kind(call: &HostCall<'_>) -> u64 {
    let pack = |kind: u64, a: u64, b: u64| {
        (kind << 56) ^ a.rotate_left(7) ^ b.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    let file_of = |file: u32| u64::from(file);
    match call {
        HostCall::GetCapabilities => pack(1, 0, 0),
        HostCall::OpenFile { name, kind, how } => {
            let how = u64::from(how.create) | u64::from(how.exclusive) << 1;
            pack(2, *kind as u64 ^ how << 8, name.len() as u64)
        }
        HostCall::CloseFile { file } => pack(3, file_of(*file), 0),
        HostCall::DeleteFile {
            name,
            sync_directory,
        } => pack(4, name.len() as u64, u64::from(*sync_directory)),
        HostCall::FileExists { name } => pack(5, name.len() as u64, 0),
        HostCall::IsReadOnly { file } => pack(6, file_of(*file), 0),
        HostCall::ReadAt { file, offset, len } => {
            pack(7, file_of(*file) << 32 | u64::from(*len), *offset)
        }
        HostCall::ReadInto { file, offset, .. } => pack(8, file_of(*file), *offset),
        HostCall::WriteAt { file, offset, .. } => pack(9, file_of(*file), *offset),
        HostCall::Size { file } => pack(10, file_of(*file), 0),
        HostCall::Truncate { file, size } => pack(11, file_of(*file), *size),
        HostCall::Sync { file, kind } => pack(12, file_of(*file), *kind as u64),
        HostCall::Lock { file, level } => pack(13, file_of(*file), *level as u64),
        HostCall::Unlock { file, level } => pack(14, file_of(*file), *level as u64),
        HostCall::CheckReserved { file } => pack(15, file_of(*file), 0),
        HostCall::ShmMap {
            file,
            region,
            extend,
        } => pack(
            16,
            file_of(*file),
            u64::from(*region) << 1 | u64::from(*extend),
        ),
        HostCall::ShmLock {
            file,
            first,
            count,
            kind,
        } => pack(17, file_of(*file), slots(*first, *count, *kind as u64)),
        HostCall::ShmLockWait {
            file,
            first,
            count,
            kind,
            timeout,
        } => pack(
            18,
            file_of(*file) ^ timeout.as_nanos() as u64,
            slots(*first, *count, *kind as u64),
        ),
        HostCall::ShmUnlock {
            file,
            first,
            count,
            kind,
        } => pack(19, file_of(*file), slots(*first, *count, *kind as u64)),
        HostCall::ShmUnmap { file, delete } => pack(20, file_of(*file), u64::from(*delete)),
        HostCall::Claim { file, first, count } => {
            pack(21, file_of(*file), *first ^ count.rotate_left(32))
        }
        HostCall::IsClaimed { file, token } => pack(22, file_of(*file), *token),
        HostCall::ChangeToken { file } => pack(23, file_of(*file), 0),
        HostCall::Watch { file, interest } => {
            let (topic, turn) = interest.map_or((0, 0), |interest| {
                (interest.topic, interest.turn.unwrap_or(1))
            });
            pack(24, file_of(*file) ^ topic, turn)
        }
        HostCall::Announce { file, topics } => {
            let all = topics
                .iter()
                .fold(0, |all, topic| all ^ topic.rotate_left(1));
            pack(25, file_of(*file), all)
        }
        HostCall::WaitChange {
            file,
            seen,
            timeout,
        } => pack(26, file_of(*file) ^ timeout.as_nanos() as u64, *seen),
        HostCall::Sleep { duration } => pack(27, duration.as_nanos() as u64, 0),
        HostCall::EndClaim { file, token } => pack(28, file_of(*file), *token),
    }
}

fn slots(first: u32, count: u32, kind: u64) -> u64 {
    u64::from(first) << 16 | u64::from(count) << 8 | kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_different_byte_or_order_is_another_number() {
        let hash = |data: &[&[u8]]| {
            let mut trace = Trace::new(false);
            for data in data {
                let call = HostCall::WriteAt {
                    file: 1,
                    offset: 0,
                    data,
                };
                trace.call(0, 0, 0, &call);
            }
            trace.hash()
        };
        assert_eq!(hash(&[b"abcdefgh1"]), hash(&[b"abcdefgh1"]));
        assert_ne!(hash(&[b"abcdefgh1"]), hash(&[b"abcdefgh2"]));
        assert_ne!(hash(&[b"a", b"b"]), hash(&[b"b", b"a"]));
    }
}
