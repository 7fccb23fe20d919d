//! A stream whose peer must read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream that fails if its peer takes no byte of an answer for some time.
pub(super) struct WriteDeadline<S> {
    stream: S,
    time: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether a write waits for the peer, and the timer runs.
    waits: bool,
}

impl<S> WriteDeadline<S> {
    pub(super) fn new(stream: S, time: Duration) -> Self {
        Self { stream, time, timer: Box::pin(sleep(time)), waits: false }
    }
}

impl<S: Unpin> WriteDeadline<S> {
    /// Returns the result of a write, or an error if it waits for too long.
    fn bound<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), context);
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        if !self.waits {
            self.waits = true;
            self.timer.as_mut().reset(Instant::now() + self.time);
        }
        self.timer.as_mut().poll(context).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.bound(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bound(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bound(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bound(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_stream() {
        let (stream, mut peer) = duplex(1 << 10);
        let mut stream = WriteDeadline::new(stream, Duration::from_secs(30));
        let (began, answer) = (Instant::now(), vec![0; 64 << 10]);
        let reading = async {
            // As long as the peer reads now and then, the answer goes on.
            for _ in 0..10 {
                sleep(Duration::from_secs(20)).await;
                peer.read_exact(&mut [0; 1 << 10]).await.expect("the stream is open");
            }
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            written = stream.write_all(&answer) => written.expect_err("the peer has stopped"),
            () = reading => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_secs(230));
    }
}
