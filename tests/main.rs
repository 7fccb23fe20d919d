//! End-to-end tests: the built command on real files, and the library where the command cannot show it.

mod limits;
mod support;
