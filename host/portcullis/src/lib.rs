//! Detections for Kubernetes audit logs as sandboxed WebAssembly components.
//!
//! A record comes in as bytes and is normalized once. The rules that can match the event evaluate it, each in its own
//! sandbox. This program judges a record with the two embedded rules:
//!
//! ```
//! use std::sync::Arc;
//!
//! use portcullis::{Engine, Judge, Judgement, Limits, RuleSet, Verdict, embedded};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new()?;
//! let rules = Arc::new(RuleSet::new(embedded::packages(&engine)?)?);
//! let mut judge = Judge::new(rules, Limits::default());
//!
//! let record = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create",
//!     "user":{"username":"ada"},"objectRef":{"resource":"services","namespace":"prod","name":"web"},
//!     "requestObject":{"spec":{"type":"NodePort"}}}"#;
//!
//! let Judgement::Evaluated { verdicts, .. } = judge.record(record) else { panic!("not an audit event") };
//! for (package, verdict) in verdicts.all() {
//!     let rule = package.rule_id();
//!     match verdict {
//!         Verdict::Alert(alert) => println!("{}", serde_json::to_string(alert)?),
//!         Verdict::NoMatch | Verdict::Skipped | Verdict::Excluded { .. } => println!("{rule}: no alert"),
//!         Verdict::Fault(fault) => eprintln!("{rule} failed: it {fault}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The calling thread runs the rules.

pub mod activation;
#[cfg(feature = "embedded")]
pub mod embedded;
mod engine;
pub mod enrich;
mod exclusion;
mod guest;
pub mod incidents;
mod limits;
pub mod ocsf;
pub mod package;
pub mod pipeline;
pub mod read;
pub mod report;
pub mod rule_set;
pub mod sandbox;
pub mod test_cases;

pub use engine::{Engine, EngineError};
pub use exclusion::Exclusion;
pub use limits::{Limits, PackageLimits, TenantLimits};
pub use package::{Compiler, Package, PackageError, run_compile_child};
pub use pipeline::{Accounting, Judge, Judgement, Tenants, Verdict};
pub use portcullis_alert as alert;
pub use portcullis_alert::{About, Alert, Constant};
pub use portcullis_event as event;
pub use rule_set::{RuleSet, RuleSetError};
pub use sandbox::Fault;
