//! The progress bar of a run.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::input::Input;

const TEMPLATE: &str = "{bar:30} {bytes} of {total_bytes}, {records}, {alerts}, {eta} left";

/// A progress bar on standard error. It is hidden if that is not a terminal, or if the input's length is unknown.
pub(crate) struct Progress {
    bar: ProgressBar,
    records: Arc<AtomicU64>,
    alerts: Arc<AtomicU64>,
}

impl Progress {
    pub(crate) fn new(inputs: &[Input], quiet: bool) -> Self {
        let lengths: Option<u64> = inputs.iter().map(Input::length).sum();
        let (records, alerts) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let Some(length) = lengths.filter(|_| !quiet) else {
            return Self { bar: ProgressBar::hidden(), records, alerts };
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let (so_far, found) = (Arc::clone(&records), Arc::clone(&alerts));
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is right");
        let style = style
            .with_key("records", move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
                let rate = so_far.load(Ordering::Relaxed) as f64 / state.elapsed().as_secs_f64().max(1e-3);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
                let _ = write!(text, "{} records/s", HumanCount(rate as u64));
            })
            .with_key("alerts", move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = write!(text, "{} alerts", HumanCount(found.load(Ordering::Relaxed)));
            });
        bar.set_style(style);
        Self { bar, records, alerts }
    }

    /// Wraps a file, so that its bytes count as they are read.
    pub(crate) fn reading(&self, file: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        if self.bar.is_hidden() { Box::new(file) } else { Box::new(self.bar.wrap_read(file)) }
    }

    pub(crate) fn records(&self, count: u64) {
        self.records.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn alert(&self) {
        self.alerts.fetch_add(1, Ordering::Relaxed);
    }

    /// Hides the bar while something writes to the terminal.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
