//! Compiles components to native code.

use std::io;

use thiserror::Error;

use super::gate;
use crate::engine::Engine;

/// A component is not valid, or does not compile.
#[derive(Debug, Error)]
pub enum CompileError {
    /// It does not implement our world, or is not valid.
    #[error("not a rule's component: {0}")]
    Gate(String),
    /// The compiler refuses it.
    #[error("its component does not compile: {0}")]
    Refused(String),
    /// It took more CPU time than the limit.
    #[error(
        "its component does not compile: it takes more than {0} s of CPU time (compile-time in the config's limits)"
    )]
    Time(u64),
    /// It took more memory than the limit.
    #[error(
        "its component does not compile: it takes more than {0} bytes of memory (compile-memory in the config's limits)"
    )]
    Memory(u64),
    /// The compiling process ended without a result.
    #[error("its component does not compile: the compiling process ended with {0}")]
    Died(String),
    /// The compiling process was killed from outside, as the system does when memory is short.
    #[error("its component cannot be compiled: the compiling process was killed")]
    Killed,
    /// The compiling process was not done in ten times the CPU time that it may take, because the machine is busy.
    #[error("its component cannot be compiled now: the compiling process did not get enough CPU time within {0} s")]
    Starved(u64),
    /// This program's `main` does not support the child process.
    #[error("its component cannot be compiled: the program's main does not call portcullis::run_compile_child()")]
    NoChild,
    /// The compiling process cannot be started, or communication with it failed.
    #[error("its component cannot be compiled: the compiling process failed: {0}")]
    Process(io::Error),
}

/// Returns the native code of a component, for a [`Compiler`](super::Compiler) of the same version on this machine. The
/// child process calls it. It compiles on one thread.
///
/// # Errors
/// The component is not valid, or does not compile.
pub(super) fn precompile(wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let config = Engine::config(Engine::STACK).parallel_compilation(false).clone();
    let engine = wasmtime::Engine::new(&config).map_err(|error| CompileError::Refused(format!("{error:#}")))?;
    precompile_with(&engine, wasm)
}

/// Returns the native code of a component for this engine.
pub(super) fn precompile_with(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    gate::validate(wasm).map_err(|error| CompileError::Gate(error.to_string()))?;
    engine.precompile_component(wasm).map_err(|error| CompileError::Refused(format!("{error:#}")))
}
