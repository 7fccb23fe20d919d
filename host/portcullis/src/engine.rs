//! The engine that runs all rules of a process, and the clock that stops rules that run too long.

use std::num::NonZeroUsize;
use std::time::Duration;

use thiserror::Error;
use wasmparser::WasmFeatures;
use wasmtime::Config;

/// Interval of the clock's ticks, and so the resolution of [`Limits::time`](crate::limits::Limits::time).
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// WebAssembly features that a rule may use: those that compilers emit for `wasm32-unknown-unknown`, and components.
/// All others are off, because untrusted code could reach the implementation of every feature that is on.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM1
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Compiles and runs rules. Clones share one engine. A process needs one engine for each maximum stack depth.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    stack: usize,
}

/// The engine cannot start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine does not support this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Config(String),
    /// The thread of the clock cannot be started.
    #[error("the clock that stops rules which run too long cannot start: {0}")]
    Clock(std::io::Error),
}

impl Engine {
    /// Default limit for a rule's stack, in bytes.
    pub const STACK: usize = 512 << 10;

    /// Starts the engine and its clock, a thread that ends with the last clone of the engine.
    ///
    /// # Errors
    /// The engine does not support this machine, or no thread can be started.
    pub fn new() -> Result<Self, EngineError> {
        Self::with_stack(Self::STACK)
    }

    /// Starts an engine for rules whose stack is limited to `stack` bytes.
    ///
    /// # Errors
    /// See [`Engine::new`]; a limit above 2 MiB is an error.
    pub fn with_stack(stack: usize) -> Result<Self, EngineError> {
        let engine =
            wasmtime::Engine::new(&Self::config(stack)).map_err(|error| EngineError::Config(format!("{error:#}")))?;

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
        Ok(Self { engine, stack })
    }

    /// Returns the settings for compiling rules, here and in a child process, and for running them.
    pub(crate) fn config(stack: usize) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(stack)
            .wasm_backtrace_max_frames(NonZeroUsize::new(16))
            // Otherwise two bytes of data that are far apart would become an image of everything between them.
            .memory_guaranteed_dense_image_size(0)
            .wasm_features(WasmFeatures::all(), false)
            .wasm_features(FEATURES, true)
            .gc_support(false)
            .concurrency_support(false);
        config
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Returns the limit for a rule's stack, in bytes.
    pub(crate) fn stack(&self) -> usize {
        self.stack
    }
}
