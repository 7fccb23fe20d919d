//! Stops the reading of inputs before their end.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

/// A stop that also reaches a reader which waits for input.
pub(crate) struct Stop {
    is_set: AtomicBool,
    /// The writing end of a pipe, closed by the stop. `poll` can wait for it and for an input at once.
    open: Mutex<Option<PipeWriter>>,
    closed: PipeReader,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        let (closed, open) = pipe()?;
        Ok(Self { is_set: AtomicBool::new(false), open: Mutex::new(Some(open)), closed })
    }

    /// Stops the reading.
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// Waits for input or for the stop. Returns whether reading goes on.
    fn wait(&self, input: impl AsFd) -> io::Result<bool> {
        let mut either = [PollFd::new(&input, PollFlags::IN), PollFd::new(&self.closed, PollFlags::IN)];
        retry_on_intr(|| poll(&mut either, None))?;
        Ok(either[1].revents().is_empty())
    }
}

/// An input that ends on the stop. It takes no more from a pipe than it returns, so that another reader gets the rest.
pub(crate) struct Stoppable {
    pub(crate) input: File,
    pub(crate) stop: Arc<Stop>,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.stop.wait(&self.input)? {
            match self.input.read(buffer) {
                // Another reader of the same pipe was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        Ok(0)
    }
}
