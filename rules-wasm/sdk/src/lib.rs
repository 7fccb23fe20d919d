//! What a rule author writes against.
//!
//! A rule is a struct with one function from an event to perhaps an alert, and one macro that makes a component of it:
//!
//! ```
//! use portcullis_rule::{Alert, Event, Rule};
//!
//! /// Somebody opened a shell in a pod.
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
//! Everything else about the rule (its id, severity, texts and test vectors) stands in its `rule.yml`.

mod alert;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
#[doc(hidden)]
pub mod component;

pub use alert::{Alert, ContextValue, Severity};
pub use portcullis_event::{Asn, Event, LogType, ResponseStatus, SourceScope, Text, address, json};

/// A detection.
pub trait Rule {
    /// The verdict on one event: an alert, or none for no match. It depends on nothing but the event.
    fn evaluate(event: &Event) -> Option<Alert>;
}

/// What [`export_rule!`] says of a rule.
pub trait Exported: Rule {
    /// The version of its crate.
    const VERSION: &'static str;
    /// Its prefilter: fields, and the values that they may have.
    const PREFILTER: &'static [(&'static str, &'static [&'static str])];
}

/// Makes a component of a [`Rule`], with the version of its crate and its prefilter.
///
/// The prefilter says which events can match at all: for each field the values that it may have, exactly or, with
/// `*` at the end, as a prefix. All fields must hold; an absent field has no value. The host asks the rule only
/// about events that pass, so it must let through every event that [`Rule::evaluate`] would match. Fields: `logType`,
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

/// The component of a rule with this manifest.
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
            static MANIFEST: [u8; TEXT.len()] = *TEXT.first_chunk().expect("its own length");
        };
    };
}

/// Natively, and as a part of something else, a rule is a library.
#[cfg(not(all(target_arch = "wasm32", feature = "component")))]
#[doc(hidden)]
#[macro_export]
macro_rules! export_component_of {
    ($rule:ty, $manifest:expr) => {};
}
