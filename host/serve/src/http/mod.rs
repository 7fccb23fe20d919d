//! HTTP: connections, TLS, clients, requests and answers.

mod auth;
mod body;
mod deadline;
mod listener;
mod live;
pub(crate) mod open_files;
mod page;
mod peers;
mod records;
mod reply;
mod routes;
mod tls;

pub(crate) use listener::serve;
pub(crate) use routes::router;
pub(crate) use tls::Security;
