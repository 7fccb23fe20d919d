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
pub use envelope::LISTS;
pub use event::{Asn, Event, LogType, ResponseStatus};
pub use json::Text;
pub use record::{Buffers, Ignored, Outcome, Rejected, normalize, normalize_as};
