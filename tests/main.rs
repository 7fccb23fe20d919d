//! End-to-end tests: the built command on real files, and the library where the command cannot show it.

mod accounting;
mod enrichment;
mod exclusions;
mod explain;
mod limits;
mod mmdb;
mod packages;
mod parity;
mod reproducible;
mod run;
mod support;
mod vectors;
mod wrappings;
