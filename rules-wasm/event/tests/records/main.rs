//! Raw records of the three clouds, and what they become.

mod cut_off;
mod fields;
mod outcomes;
mod support;
mod tables;
