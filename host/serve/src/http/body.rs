//! Bodies of requests: bounded in size, time and memory.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::reply::Denied;
use crate::ingest::Permit;

/// The bounds of a body.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Maximum number of bytes.
    pub(super) size: u64,
    /// The time in which it must arrive.
    pub(super) time: Duration,
}

/// Reads a body, while its permit can grow.
pub(super) async fn read(body: &mut Body, bounds: Bounds, permit: &mut Permit) -> Result<Bytes, Denied> {
    timeout(bounds.time, read_whole(body, bounds.size, permit)).await.map_err(|_| {
        let text = format!("the body did not arrive within {} s", bounds.time.as_secs());
        Denied::new(StatusCode::REQUEST_TIMEOUT, text)
    })?
}

async fn read_whole(body: &mut Body, most: u64, permit: &mut Permit) -> Result<Bytes, Denied> {
    let too_large = || {
        let text = format!("the body has more than {most} bytes; send less at once");
        Denied::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let announced = http_body::Body::size_hint(body).lower();
    if announced > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Denied::new(StatusCode::BAD_REQUEST, format!("the body was cut off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = (bytes.len() + data.len()) as u64;
        if length > most {
            return Err(too_large());
        }
        permit.grow(length).map_err(|over| Denied::over_budget(StatusCode::TOO_MANY_REQUESTS, over))?;
        if bytes.capacity() == 0 {
            // Reserves what is announced, up to 1 MiB, but nothing before the first byte.
            bytes.reserve_exact(usize::try_from(announced.min(1 << 20)).unwrap_or(0).max(data.len()));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Reads and drops the rest of a refused body in the background. Otherwise a client that is still sending when the
/// connection closes would see a broken connection instead of the answer. A client that was too slow gets no more time.
pub(super) fn discard(mut body: Body, denied: &Denied, bounds: Bounds) {
    if denied.status == StatusCode::REQUEST_TIMEOUT {
        return;
    }
    let mut left = bounds.size;
    tokio::spawn(timeout(bounds.time, async move {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
        }
    }));
}
