//! Kubernetes audit records of EKS, AKS and GKE as one normalized [`Event`], the only thing that a rule sees.
//!
//! [`normalize`] decides which of three outcomes a record has. It does no I/O, so it runs natively and inside
//! components. Rules use [`Event`], [`address`] and [`json`] through the SDK.
//!
//! Each room uses only rooms below it, and its files do not import each other in circles:
//!
//! - [`envelope`]: the search for records in the envelopes of clouds and log shippers
//! - `record`: from a record to its outcome: recognizing its kind, and reading its fields or saying why it is ignored
//! - `event`: the normalized event, its identity, and reading it from its JSON
//! - [`json`]: reading values as the types that they should have, and closing texts whose ends are missing
//! - `scan`: one pass over a JSON text that validates it and finds its tokens
//! - [`address`]: source addresses, and which of them are public
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
pub use envelope::LISTS;
pub use event::{Asn, Event, LogType, ResponseStatus};
pub use json::Text;
pub use record::{Buffers, Envelope, Ignored, Outcome, Rejected, normalize, normalize_as, normalize_or_read};
pub use scan::places_of;
