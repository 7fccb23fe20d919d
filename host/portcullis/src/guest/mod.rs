//! A rule's component as the engine sees it: its interface, the data of its store, and its faults.

mod fault;
mod limiter;

use std::time::Duration;

pub use fault::Fault;
pub(crate) use limiter::Limiter;

/// The bindings that wasmtime generates from `wit/detection.wit`.
#[expect(missing_docs, reason = "the generator documents only items that the WIT documents")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "detection" });
}

/// The data of an instance's store.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    /// CPU time that the current call may use.
    pub(crate) time: Duration,
    /// CPU time of the thread when this call first reached the deadline.
    pub(crate) expired_at: Option<Duration>,
}
