//! See `beaver_core::Dump` and `beaver_core::Loader`.

use crate::Result;
use crate::component::Remote;
use beaver_core as native;
use beaver_host::client;

/// A dump in the making, of either system.
#[derive(Debug)]
pub enum Dump {
    /// The core in this process.
    Native(native::Dump),
    /// The component.
    Component(Remote<client::DumpCursor>),
}

/// A dump that is being loaded, by either system.
#[derive(Debug)]
pub enum Loader {
    /// The core in this process.
    Native(Box<native::Loader>),
    /// The component.
    Component(Remote<client::Loader>),
}

impl Dump {
    /// As the core's `next_chunk`.
    ///
    /// # Errors
    /// As the core's.
    pub fn next_chunk(&mut self, max: u32) -> Result<String> {
        match self {
            Self::Native(dump) => dump.next_chunk(max),
            Self::Component(dump) => dump.run(async |dump, i| dump.next(i, max).await),
        }
    }

    /// The rest of the text, read in pieces of at most `max` bytes.
    ///
    /// # Errors
    /// As the core's `next_chunk`.
    pub fn text(&mut self, max: u32) -> Result<String> {
        let mut text = String::new();
        loop {
            let chunk = self.next_chunk(max)?;
            if chunk.is_empty() {
                return Ok(text);
            }
            text.push_str(&chunk);
        }
    }
}

impl Loader {
    /// As the core's `write`.
    ///
    /// # Errors
    /// As the core's.
    pub fn write(&mut self, chunk: &str) -> Result<()> {
        match self {
            Self::Native(loader) => loader.write(chunk),
            Self::Component(loader) => loader.run(async |loader, i| loader.write(i, chunk).await),
        }
    }

    /// As the core's `finish`.
    ///
    /// # Errors
    /// As the core's.
    pub fn finish(&mut self) -> Result<u64> {
        match self {
            Self::Native(loader) => loader.finish(),
            Self::Component(loader) => loader.run(async |loader, i| loader.finish(i).await),
        }
    }

    /// Loads the whole `text` in pieces of at least `piece` bytes.
    ///
    /// # Errors
    /// As the core's `write` and `finish`.
    pub fn load(&mut self, text: &str, piece: usize) -> Result<u64> {
        let mut rest = text;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.ceil_char_boundary(piece.min(rest.len())));
            self.write(chunk)?;
            rest = after;
        }
        self.finish()
    }
}
