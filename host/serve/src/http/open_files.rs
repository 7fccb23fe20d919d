//! Open files, of which each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the service opens beside its connections: logs, sinks, connections of its own, and those of compiling
/// packages.
const OTHERS: usize = 48;

/// Lets the process open as many files as it may.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If this fails, the lower limit stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Returns the number of connections that fit beside this number of spools, at most `wanted`.
pub(super) fn connections(wanted: usize, spools: usize) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    // A spool has an open file, one that is read, and a connection to its endpoint.
    let others = OTHERS + 3 * spools;
    let fit = fitting(wanted, others, usize::try_from(files).unwrap_or(usize::MAX));
    if fit < wanted {
        tracing::warn!(files, "only {fit} connections at once: raise the limit of open files (ulimit -n) for {wanted}");
    }
    fit
}

fn fitting(wanted: usize, others: usize, files: usize) -> usize {
    wanted.min(files.saturating_sub(others).max(files / 4)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_the_rest() {
        let fit = |files| fitting(1_024, OTHERS, files);
        assert_eq!([65_536, 1_072, 1_000, 64, 16, 0].map(fit), [1_024, 1_024, 952, 16, 4, 1]);
    }
}
