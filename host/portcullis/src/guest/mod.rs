//! A rule's component as the engine sees it: its interface, what its store keeps, and its faults.

mod fault;
mod limiter;

use std::time::Duration;

pub use fault::Fault;
pub(crate) use limiter::Limiter;

/// The bindings that wasmtime makes of `wit/detection.wit`.
#[expect(missing_docs, reason = "the generator documents only what the WIT does")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "detection" });
}

/// The data of an instance's store.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    /// CPU time that the current call may take.
    pub(crate) time: Duration,
    /// The thread's CPU time when the deadline was first reached in this call.
    pub(crate) expired_at: Option<Duration>,
}
