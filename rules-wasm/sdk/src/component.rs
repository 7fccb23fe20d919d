//! The side of the sandbox that faces the host; used by [`export_rule!`](crate::export_rule).

use crate::{Event, Rule, Severity};

/// What wit-bindgen makes of `wit/detection.wit`.
#[expect(missing_docs, clippy::same_length_and_capacity, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "detection",
        path: "../../wit",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "portcullis_rule::component::bindings",
    });
}

pub use bindings::export_component;
pub use bindings::exports::portcullis::detection::rule::Alert;
pub use bindings::exports::portcullis::detection::rule::Guest;
use bindings::exports::portcullis::detection::rule::Severity as WitSeverity;

/// One call: JSON in, alert out.
#[must_use]
pub fn evaluate<R: Rule>(event_json: &str) -> Option<Alert> {
    let Some(event) = Event::from_json(event_json) else { input_is_not_a_normalized_event() };
    R::evaluate(&event).map(|alert| Alert {
        title: alert.title().to_owned(),
        dedup: alert.dedup().to_owned(),
        severity: alert.severity_override().map(|severity| match severity {
            Severity::Info => WitSeverity::Info,
            Severity::Low => WitSeverity::Low,
            Severity::Medium => WitSeverity::Medium,
            Severity::High => WitSeverity::High,
            Severity::Critical => WitSeverity::Critical,
        }),
        context: alert.context(),
    })
}

/// A component that imports nothing has one way to give a trap a message: the name of the function that trapped, which
/// every runtime shows in the backtrace.
#[inline(never)]
fn input_is_not_a_normalized_event() -> ! {
    core::arch::wasm32::unreachable()
}
