//! Detections for Kubernetes audit logs as sandboxed WebAssembly components.

pub mod embedded;
