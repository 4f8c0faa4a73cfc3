//! A host: one compiled component, and what each of its instances may use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::Error;
use crate::cache::Cache;
use crate::engine::{Interruption, Ticker, pooled_engine};
use crate::interfaces::Indices;
use crate::state::State;

/// Where [`Host::builder`] looks for the component unless told otherwise: the
/// environment variable `BEAVER_COMPONENT`, else `target/component/beaver.wasm`
/// of this workspace, where `cargo xtask` puts it.
pub fn default_component_path() -> PathBuf {
    match std::env::var_os("BEAVER_COMPONENT") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/component/beaver.wasm"),
    }
}

/// A compiled component, ready to be instantiated any number of times.
///
/// Cheap to clone; shared by threads. Dropping the last clone stops its ticker
/// thread once the last instance is gone too.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

/// What a host and its instances share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<State>,
    pub(crate) indices: Indices,
    pub(crate) instances_max: u32,
    pub(crate) memory_bytes_max: u64,
    pub(crate) files_max: usize,
    pub(crate) file_bytes_max: u64,
    pub(crate) cpu_limit: Option<Duration>,
    pub(crate) call_timeout: Option<Duration>,
    /// Ticks as long as an instance may run, where time counts.
    _ticker: Option<Ticker>,
}

impl Host {
    /// A builder with the defaults that its methods name.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("max_instances", &self.shared.instances_max)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Host`].
#[derive(Debug, Clone)]
pub struct HostBuilder {
    component: Source,
    cache: CacheChoice,
    instances_max: u32,
    memory_bytes_max: u64,
    files_max: usize,
    file_bytes_max: u64,
    cpu_limit: Option<Duration>,
    call_timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
enum Source {
    Default,
    File(PathBuf),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone)]
enum CacheChoice {
    /// The default directory if it can be used, else none.
    Default,
    Directory(PathBuf),
    None,
}

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            component: Source::Default,
            cache: CacheChoice::Default,
            instances_max: 1000,
            memory_bytes_max: 256 << 20,
            files_max: 64,
            file_bytes_max: i64::MAX as u64,
            cpu_limit: None,
            call_timeout: None,
        }
    }
}

impl HostBuilder {
    /// The component's file. Default: [`default_component_path`].
    pub fn component_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.component = Source::File(path.into());
        self
    }

    /// The component itself, instead of a file.
    pub fn component_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.component = Source::Bytes(bytes.into());
        self
    }

    /// How many instances may be alive at a time. Each costs 4 GiB of address
    /// space at once and memory only as it is used. Default: 1000.
    pub fn max_instances(mut self, count: u32) -> Self {
        self.instances_max = count;
        self
    }

    /// How far an instance's memory may grow. Beyond, the component answers
    /// `out-of-memory`. At most 4 GiB. Default: 256 MiB.
    pub fn memory_limit_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes_max = bytes;
        self
    }

    /// How many files an instance may have open at a time. Default: 64.
    pub fn max_open_files(mut self, count: usize) -> Self {
        self.files_max = count;
        self
    }

    /// How large each file of an instance may become; beyond, operations answer
    /// `full`. Default: no limit but the disk's. See
    /// [`Grant::max_total_bytes`](crate::Grant::max_total_bytes) for all of them together.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes_max = bytes;
        self
    }

    /// How long one call may compute, the system's work for it included; waiting (for a lock, for the
    /// disk, for the processor) doesn't count. It is looked at every 10 ms and at each wait, but not in
    /// the middle of a system call.
    /// Beyond, it fails with [`Error::CpuLimit`] and the instance is stopped.
    /// Default: no limit, because a backup of a large database rightly computes for minutes.
    /// Set one where callers aren't trusted: whoever computes in a transaction keeps others
    /// from writing meanwhile.
    pub fn cpu_limit(mut self, limit: Duration) -> Self {
        self.cpu_limit = Some(limit);
        self
    }

    /// How long one call may take in all, waiting included. Beyond, it fails
    /// with [`Error::CallTimeout`] and the instance is stopped. Needs a Tokio
    /// runtime with timers. Can't cut short a system call that is under way.
    /// Default: no limit, because a consumer rightly waits for ever for an item, holding
    /// nothing. Between calls no time is counted: an instance that is left alone with an open
    /// transaction keeps others from writing (they get `busy` after their `busy_timeout`)
    /// until it is dropped.
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = Some(limit);
        self
    }

    /// Where to keep the compiled component between processes. The directory is
    /// made if need be; it must belong to this user and be writable by nobody
    /// else, because what lies there is run as machine code. Default:
    /// `$XDG_CACHE_HOME/beaver-wasm`, else `~/.cache/beaver-wasm`, and if that
    /// can't be used, nowhere.
    pub fn cache_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache = CacheChoice::Directory(path.into());
        self
    }

    /// Compiles the component each time (seconds), keeping nothing.
    pub fn without_cache(mut self) -> Self {
        self.cache = CacheChoice::None;
        self
    }

    /// Loads the component, compiling it unless the cache has it. Blocks
    /// meanwhile: call it before serving, not in the middle.
    pub fn build(self) -> Result<Host, Error> {
        Ok(Host {
            shared: Arc::new(self.build_shared(false)?),
        })
    }

    /// `for_machines`: everything that instances import is asked of their machines.
    pub(crate) fn build_shared(self, for_machines: bool) -> Result<Shared, Error> {
        let bytes = match &self.component {
            Source::Bytes(bytes) => bytes.clone(),
            Source::File(path) => read_component(path)?,
            Source::Default => read_component(&default_component_path())?,
        };
        // Each instance holds about three descriptors.
        crate::storage::raise_fd_limit();
        let interruption = if for_machines {
            Interruption::Fuel
        } else {
            Interruption::Epochs
        };
        let engine = pooled_engine(self.instances_max, self.memory_bytes_max, interruption)?;
        let component = match self.open_cache()? {
            Some(cache) => cache.load_or_compile(&engine, &bytes)?,
            None => Component::new(&engine, &bytes).map_err(Error::component)?,
        };

        let mut linker = Linker::<State>::new(&engine);
        crate::wasi::add_to_linker(&mut linker)
            .and_then(|()| {
                if for_machines {
                    crate::machine::add_to_linker(&mut linker)
                } else {
                    crate::add_to_linker(&mut linker)
                }
            })
            .map_err(Error::component)?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(Error::component)?;
        let indices = Indices::new(&pre).map_err(Error::component)?;

        let ticker = if for_machines {
            None
        } else {
            Some(Ticker::start(&engine)?)
        };
        Ok(Shared {
            _ticker: ticker,
            engine,
            pre,
            indices,
            instances_max: self.instances_max,
            memory_bytes_max: self.memory_bytes_max,
            files_max: self.files_max,
            file_bytes_max: self.file_bytes_max,
            cpu_limit: self.cpu_limit,
            call_timeout: self.call_timeout.filter(|_| !for_machines),
        })
    }

    fn open_cache(&self) -> Result<Option<Cache>, Error> {
        match &self.cache {
            CacheChoice::None => Ok(None),
            CacheChoice::Default => {
                Ok(Cache::default_directory().and_then(|directory| Cache::open(&directory).ok()))
            }
            CacheChoice::Directory(directory) => {
                Cache::open(directory).map(Some).map_err(|error| {
                    Error::io(
                        format!("the cache directory {}", directory.display()),
                        error,
                    )
                })
            }
        }
    }
}

fn read_component(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        Error::io(
            format!(
                "reading the component {} (`cargo xtask` builds it)",
                path.display()
            ),
            error,
        )
    })
}
