/*
 * SQLite's xShmBarrier as one WebAssembly instruction, `atomic.fence`. build.rs compiles this file
 * alone with -matomics: the rest of the component uses no atomics and shares no memory of wasm's own.
 */
void beaver_memory_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
