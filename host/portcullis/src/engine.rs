//! One engine for the rules of a process, and the clock that stops those that run too long.

use std::num::NonZeroUsize;
use std::time::Duration;

use thiserror::Error;
use wasmparser::WasmFeatures;
use wasmtime::Config;

/// How often the clock ticks: the grain of [`Limits::time`](crate::limits::Limits::time).
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// What a rule may be made of: what compilers emit for `wasm32-unknown-unknown`, and components. Everything else is
/// closed, because every feature is code that a stranger's bytes could reach.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM1
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What compiles and runs rules. Clones are the same engine; a process needs one for each depth of stack.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    stack: usize,
}

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
    /// The deepest stack of a rule in bytes, where nothing else is said.
    pub const STACK: usize = 512 << 10;

    /// Starts the engine and its clock, a thread that ends with the last clone of the engine.
    ///
    /// # Errors
    /// The engine does not support this machine, or no thread can be started.
    pub fn new() -> Result<Self, EngineError> {
        Self::with_stack(Self::STACK)
    }

    /// The same, for rules whose stack may be this deep, in bytes.
    ///
    /// # Errors
    /// As for [`Engine::new`]; more than 2 MiB are refused.
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

    /// What code is compiled with, here and in a child process, and what runs it.
    pub(crate) fn config(stack: usize) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(stack)
            .wasm_backtrace_max_frames(NonZeroUsize::new(16))
            // Two bytes of data far apart would otherwise become an image of all that lies between.
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

    /// How deep a rule's stack may be, in bytes.
    pub(crate) fn stack(&self) -> usize {
        self.stack
    }
}
