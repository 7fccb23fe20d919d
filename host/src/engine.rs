//! One engine for all rules of a process, and the clock that stops those that run too long.

use std::time::Duration;

use thiserror::Error;
use wasmtime::Config;

/// How often the clock ticks: the grain of [`Limits::time`](crate::Limits::time).
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The deepest stack of a rule, in bytes. A thread that calls rules needs four times as much: on one with less, deep
/// recursion in a rule would reach the end of the host's stack first, and end the process.
const MAX_WASM_STACK: usize = 512 << 10;

/// What compiles and runs rules. Clones are the same engine; a process needs one.
#[derive(Clone)]
pub struct Engine(wasmtime::Engine);

/// The engine cannot start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The machine lacks something that the engine needs.
    #[error("the WebAssembly engine cannot start: {0}")]
    Config(String),
    /// The thread of the clock cannot be started.
    #[error("the clock that stops rules which run too long cannot start: {0}")]
    Clock(std::io::Error),
}

impl Engine {
    /// Starts the engine and its clock, a thread that ends with the last clone of the engine.
    ///
    /// # Errors
    /// The engine does not support this machine, or no thread can be started.
    pub fn new() -> Result<Self, EngineError> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(MAX_WASM_STACK)
            // What no rule needs is closed: every feature is code that a stranger's bytes could reach.
            .wasm_gc(false)
            .wasm_function_references(false)
            .wasm_exceptions(false)
            .wasm_threads(false)
            .wasm_tail_call(false)
            .wasm_relaxed_simd(false)
            .wasm_multi_memory(false)
            .wasm_memory64(false)
            .gc_support(false)
            .concurrency_support(false);
        let engine = wasmtime::Engine::new(&config).map_err(|error| EngineError::Config(format!("{error:#}")))?;

        let weak = engine.weak();
        std::thread::Builder::new()
            .name("portcullis-clock".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .map_err(EngineError::Clock)?;
        Ok(Self(engine))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0
    }
}
