//! The component's interface to the host, which [`export_rule!`](crate::export_rule) uses.

use crate::{Event, Rule, Severity};

/// Bindings that wit-bindgen generates from `wit/detection.wit`.
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

/// Evaluates a normalized event in JSON. Traps if [`Event::from_json`] does not read it.
#[must_use]
pub fn evaluate<R: Rule>(event_json: &str) -> Option<Alert> {
    let Some(event) = Event::from_json(event_json) else { input_is_not_a_normalized_event() };
    let (title, dedup, severity, context) = R::evaluate(&event)?.into_parts();
    let severity = severity.map(|severity| match severity {
        Severity::Info => WitSeverity::Info,
        Severity::Low => WitSeverity::Low,
        Severity::Medium => WitSeverity::Medium,
        Severity::High => WitSeverity::High,
        Severity::Critical => WitSeverity::Critical,
    });
    Some(Alert { title, dedup, severity, context })
}

/// Traps. The function's name is the message: a component without imports cannot print one, but every runtime shows the
/// names of functions in a trap's backtrace.
#[inline(never)]
fn input_is_not_a_normalized_event() -> ! {
    core::arch::wasm32::unreachable()
}
