//! Kubernetes audit records, as EKS, AKS and GKE write them, become one [`Event`]: the only thing that a rule sees.
//!
//! [`normalize`] decides which of three outcomes a record has and does no I/O, so that it runs the same natively and
//! inside a component. Rules use the [`Event`] type, [`address`] and [`json`] from here, through the SDK.
//!
//! ```
//! use portcullis_event::{Buffers, Outcome, normalize};
//!
//! let record = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get","sourceIPs":["1.2.3.4"],"userAgent":5}"#;
//! let mut buffers = Buffers::default();
//! let Outcome::Evaluated(event) = normalize(record, &mut buffers) else { panic!("not evaluated") };
//! assert_eq!(event.verb.as_deref(), Some("get"));
//! assert_eq!(event.source_ips, ["1.2.3.4"]);
//! assert_eq!(event.malformed, ["userAgent"]);
//! ```

pub mod address;
pub mod envelope;
mod event;
pub mod json;
mod record;
mod scan;

pub use address::SourceScope;
pub use event::{Asn, Event, LogType, ResponseStatus, Text};
pub use record::{Buffers, Ignored, LISTS, Outcome, Rejected, normalize, normalize_as};

/// The text that the bytes are, with what the processor has for looking at many of them at once.
fn utf8(bytes: &[u8]) -> Option<&str> {
    #[cfg(not(target_arch = "wasm32"))]
    return simdutf8::basic::from_utf8(bytes).ok();
    #[cfg(target_arch = "wasm32")]
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod schema {
    /// The checked-in schema is the type's. After a change of the type, write it anew with
    /// `UPDATE_SCHEMA=1 cargo test -p portcullis-event`.
    #[test]
    fn is_the_types() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/event.schema.json");
        let schema = serde_json::Value::from(schemars::schema_for!(crate::Event<'static>));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
            std::fs::write(file, text).expect("the schema can be written");
        }
        let checked_in = std::fs::read_to_string(file).expect("the schema is there");
        let checked_in: serde_json::Value = serde_json::from_str(&checked_in).expect("the schema is JSON");
        assert!(
            schema == checked_in,
            "event.schema.json differs from Event: UPDATE_SCHEMA=1 cargo test -p portcullis-event"
        );
    }
}
