//! The SDK for rules.
//!
//! A rule is a struct with one function, which takes an event and may return an alert. A macro exports it as a
//! component:
//!
//! ```
//! use portcullis_rule::{Alert, Event, Rule};
//!
//! /// Detects shells that are opened in pods.
//! pub struct PodExec;
//!
//! impl Rule for PodExec {
//!     fn evaluate(event: &Event) -> Option<Alert> {
//!         let exec = event.resource.as_deref() == Some("pods") && event.subresource.as_deref() == Some("exec");
//!         let pod = event.name.as_deref().unwrap_or("?");
//!         exec.then(|| Alert::new(event, format!("Shell opened in pod {pod}"), pod))
//!     }
//! }
//!
//! portcullis_rule::export_rule! {
//!     rule: PodExec,
//!     prefilter: { resource: ["pods"], subresource: ["exec"] },
//! }
//! ```
//!
//! Everything else about the rule (its id, severity, texts and test cases) is in its `rule.yml`.

mod alert;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
#[doc(hidden)]
pub mod component;
mod context;
pub mod request;

pub use alert::{Alert, Severity};
pub use context::ContextValue;
pub use portcullis_event::{Asn, Event, LogType, ResponseStatus, SourceScope, Text, address, json};

/// A detection.
pub trait Rule {
    /// Evaluates one event: returns an alert, or `None` for no match. The result may depend on the event only.
    fn evaluate(event: &Event) -> Option<Alert>;
}

/// The properties of a rule that [`export_rule!`] declares.
pub trait Exported: Rule {
    /// The rule's version: that of its crate.
    const VERSION: &'static str;
    /// The rule's prefilter: fields, and the values that they may have.
    const PREFILTER: &'static [(&'static str, &'static [&'static str])];
}

/// Exports a [`Rule`] as a component, with the version of its crate and its prefilter.
///
/// The prefilter declares which events can match: for each field the values that it may have, exact values or prefixes
/// with `*` at the end. All fields must match, and an absent field never does. The host calls the rule only for events
/// that pass, so the prefilter must let through every event that [`Rule::evaluate`] would match. Fields: `logType`,
/// `stage`, `verb`, `username`, `userArn`, `sourceScope`, `userAgent`, `resource`, `subresource`, `apiGroup`,
/// `namespace`, `name`, `requestURI`, `serviceType`, `cluster`.
#[macro_export]
macro_rules! export_rule {
    (
        rule: $rule:ty,
        prefilter: {
            $($field:ident: [$value:literal $(, $values:literal)* $(,)?]
            $(, $fields:ident: [$first:literal $(, $others:literal)* $(,)?])* $(,)?)?
        } $(,)?
    ) => {
        impl $crate::Exported for $rule {
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const PREFILTER: &'static [(&'static str, &'static [&'static str])] = &[
                $((stringify!($field), &[$value, $($values),*]), $((stringify!($fields), &[$first, $($others),*])),*)?
            ];
        }

        $crate::export_component_of! {
            $rule,
            concat!(
                "{\"version\":\"", env!("CARGO_PKG_VERSION"), "\",\"prefilter\":{",
                $("\"", stringify!($field), "\":[", stringify!($value), $(",", stringify!($values),)* "]",
                $(",\"", stringify!($fields), "\":[", stringify!($first), $(",", stringify!($others),)* "]",)*)?
                "}}"
            )
        }
    };
}

/// Exports a rule as a component with this manifest.
#[cfg(all(target_arch = "wasm32", feature = "component"))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_component_of {
    ($rule:ty, $manifest:expr) => {
        const _: () = {
            struct Component;

            impl $crate::component::Guest for Component {
                fn evaluate(event_json: String) -> Option<$crate::component::Alert> {
                    $crate::component::evaluate::<$rule>(&event_json)
                }
            }

    $crate::component::export_component!(Component with_types_in $crate::component::bindings);

            const TEXT: &[u8] = $manifest.as_bytes();

            #[unsafe(link_section = "portcullis:manifest")]
            #[used]
            static MANIFEST: [u8; TEXT.len()] = *TEXT.first_chunk().expect("the text has this length");
        };
    };
}

/// Exports nothing: in native builds, and in programs that contain several rules, a rule is a library.
#[cfg(not(all(target_arch = "wasm32", feature = "component")))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_component_of {
    ($rule:ty, $manifest:expr) => {};
}
