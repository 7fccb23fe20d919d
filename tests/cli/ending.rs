//! How a run ends that follows its rules: what it waits for, and what it says of what is missing.

use std::sync::Arc;
use std::sync::mpsc::channel;

use portcullis::activation::{Activator, FollowedFiles, History, RequiredChecks};

use crate::support::{SECOND, VERSIONED, live, record, slow_to_check, wait_for_check};

/// Nobody waits minutes for a check, and who ends without it is told.
#[test]
fn who_ends_while_a_check_is_running_is_told_what_is_missing() {
    let history = Arc::new(History::default());
    let activator = Activator::new(history, RequiredChecks::TestCases, jiff::Timestamp::now, |_| {});
    let ((entered, entering), (left, leaving)) = (channel(), channel::<()>());
    let reload = Box::new(move || {
        entered.send(()).expect("the test waits");
        leaving.recv().expect("the test goes on");
        Ok(Vec::new())
    });
    let control = activator.run(FollowedFiles::default(), reload).expect("a thread");
    control.reload();
    entering.recv().expect("it is read again");
    let unfinished = control.finish().expect_err("it is busy");
    assert_eq!(
        unfinished.to_string(),
        "the history may lack what happened last, such as the end of a shadow: after 10 s, the thread that checks \
         packages was still busy"
    );
    left.send(()).expect("it waits");
    control.finish().expect("it is done");
}

/// Two signals end a run, whatever its last entries wait for.
#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_a_run_that_is_checking_a_package() {
    let mut live = live("", &["--watch"]);
    live.send(&[&record(false)]);
    live.put(SECOND, &slow_to_check(VERSIONED, "2.0.0"));
    wait_for_check(live.process());
    let ended = live.end_at_once();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.ends_with(
            "warning: a second signal ended the run at once; the summary is missing, and the ledger and the history may \
             be incomplete\n"
        ),
        "{}",
        ended.stderr
    );
}
