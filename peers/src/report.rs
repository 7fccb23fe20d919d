//! Writes the table, as Markdown, and formats the numbers in it and in the chart.

use std::fs;

use crate::engines::Input;
use crate::measure::{Results, Row};

/// Returns the table with its caption.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = "\
| engine | version | input | µs per record | records per second | ratio to Portcullis's time |
|---|---|---|---:|---:|---:|
"
    .to_owned();
    for row in &results.rows {
        let Row { name, version, microseconds, ratio, .. } = row;
        text += &format!(
            "| {name} | {version} | {} | {} | {} | {} |\n",
            input_name(row.input),
            format_number(*microseconds),
            grouped(1e6 / microseconds),
            format_number(*ratio),
        );
    }
    text + "\n" + &caption(results)
}

/// Returns the caption: what was measured, and how.
fn caption(results: &Results) -> String {
    let machine = machine().map(|machine| format!(" of a machine with {machine}")).unwrap_or_default();
    let [nodeport, system_principal] = results.alerts;
    #[expect(clippy::cast_precision_loss, reason = "the number of records is far below 2^52")]
    let records = grouped(results.records as f64);
    format!(
        "The same two rules over the same {records} generated audit records of EKS, AKS and GKE, of 1 to 4 KB, on one \
         core{machine}; the median of five rounds. {nodeport} of the records raise an alert of the NodePort rule, \
         {system_principal} of the system principal rule, and all engines have the same verdicts on each record.\n\n\
         Engines that read raw records know the formats of the three clouds. For the other engines the records are \
         normalized beforehand: their time is parsing the normalized event as JSON and evaluating both rules. \
         Portcullis's time includes normalizing, which alone takes {} µs per record.\n",
        format_number(results.normalizing),
    )
}

/// Returns the name of an engine's input.
pub(crate) fn input_name(input: Input) -> &'static str {
    match input {
        Input::Raw => "raw record",
        Input::Normalized => "normalized event",
    }
}

/// Formats a number with three significant digits, or with all digits before the point if there are more.
pub(crate) fn format_number(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// Formats a number as an integer, with commas between groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns the processor's name, where the system has it.
fn machine() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Some(name?.1.trim().to_owned())
}
