//! End-to-end tests: the built command on real files, and the library where the command cannot show it.

mod accounting;
mod activation;
mod authoring;
mod enrichment;
mod exchange_model;
mod exclusions;
mod explain;
mod fuzzing;
mod gate;
mod hostile;
mod incidents;
mod limits;
mod mmdb;
mod ocsf;
mod packages;
mod parity;
mod reproducible;
mod run;
mod signatures;
mod support;
mod swap;
mod tenants;
mod terminal;
mod vectors;
mod watch;
mod wrappings;
