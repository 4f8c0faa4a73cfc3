//! Runs the beaver component under [wasmtime], over real files and real locks.
//!
//! A component instance is a SQLite connection with managers on top, in a
//! sandbox of its own. It reaches the files that it was granted and nothing
//! else. Any number of instances, processes, native SQLite and BeaverDB's
//! Python package can use one file at the same time: the locks are SQLite's
//! own, and the WAL index is really shared.
//!
//! ```
//! use beaver_host::client::OpenOptions;
//! use beaver_host::{Error, Grant, Host};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let directory = tempfile::tempdir()?;
//!     let host = Host::builder().max_instances(10).build()?;
//!     let mut instance = host.instantiate(Grant::directory(directory.path())?).await?;
//!
//!     let database = instance.open("app.db", &OpenOptions::default()).await?;
//!     let config = instance.dict(&database, "config").await?;
//!     config.set(&mut instance, "theme", r#""dark""#, None).await?;
//!     let theme = config.get(&mut instance, "theme").await?;
//!     assert_eq!(theme.as_deref(), Some(r#""dark""#));
//!
//!     instance.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! # In a store of one's own
//!
//! [`Host`] is the short way. An embedder with its own engine, linker and
//! stores takes the parts, named as in wasmtime's own host crates: [`Ctx`] in
//! the store's data, [`View`] to find it, [`add_to_linker`] for the functions,
//! and [`configure`] for the engine.
//!
//! ```
//! use beaver_host::{Ctx, Grant, View};
//! use wasmtime::component::Linker;
//! use wasmtime::{Config, Engine, Store};
//!
//! struct MyState {
//!     beaver: Ctx,
//! }
//!
//! // SAFETY: the engine below is set up with `configure`, and the `Ctx` stays
//! // in the store's data until the store is dropped.
//! unsafe impl View for MyState {
//!     fn ctx(&mut self) -> &mut Ctx {
//!         &mut self.beaver
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut config = Config::new();
//!     beaver_host::configure(&mut config);
//!     let engine = Engine::new(&config)?;
//!
//!     let mut linker = Linker::<MyState>::new(&engine);
//!     beaver_host::add_to_linker(&mut linker)?;
//!     // … and `wasmtime_wasi::p2::add_to_linker_async` for clocks and random …
//!
//!     let directory = tempfile::tempdir()?;
//!     let grant = Grant::directory(directory.path())?;
//!     let store = Store::new(&engine, MyState { beaver: Ctx::builder(grant).build() });
//!     // … instantiate a component in `store` …
//! #   drop(store);
//!     Ok(())
//! }
//! ```
//!
//! # What to expect
//!
//! - *Blocking.* Disk I/O happens on the thread that polls a call, as SQLite
//!   does it; a sync can take as long as the disk likes. Waiting (for locks,
//!   for items, for commits) parks the instance and frees the thread, so
//!   thousands of instances can wait on few threads. A busy guest yields every
//!   10 ms.
//! - *Failures.* [`Error::outcome`] says of each whether the operation
//!   definitely did not happen. After a trap or a limit the instance is gone,
//!   and so is everything it held.
//! - *Trust.* A component can't reach beyond its grant. Within it, it is as
//!   trusted as any process that may write the files: whoever can write a
//!   database or its `-shm` can damage it. A process that *cuts* a `-shm` file
//!   under others kills those that use native SQLite (`SIGBUS`). Here the
//!   instances concerned end with [`Error::WalIndexCut`]; for that, the first
//!   mapping of a wal-index installs a handler of `SIGBUS`, which passes on
//!   what isn't its own. Whoever replaces it later should do the same.
//! - *Not in the same process:* never open a database with stock SQLite in the
//!   process of a [`Host`] that has it open. Its POSIX locks vanish whenever
//!   anybody in the process closes the file.

mod bindings;
mod builder;
mod cache;
pub mod client;
mod ctx;
mod engine;
mod error;
mod instance;
mod instance_builder;
mod interfaces;
mod interrupt;
mod limits;
mod linker;
pub mod machine;
mod memory;
mod meter;
mod state;
pub mod storage;
mod view;
mod wasi;
mod wire;

pub use builder::{Host, HostBuilder, default_component_path};
pub use ctx::{Ctx, CtxBuilder};
pub use engine::configure;
pub use error::Error;
pub use instance::Instance;
pub use instance_builder::InstanceBuilder;
pub use interrupt::Interrupter;
pub use linker::add_to_linker;
pub use storage::Grant;
pub use view::View;
