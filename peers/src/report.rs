//! The table, as Markdown, and how figures are written in it and in the chart.

use std::fs;

use crate::engines::Given;
use crate::measure::{Results, Row};

/// The table with its caption.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = "\
| engine | version | what it is given | µs a record | records a second | times Portcullis's time |
|---|---|---|---:|---:|---:|
"
    .to_owned();
    for row in &results.rows {
        let Row { name, version, microseconds, times, .. } = row;
        text += &format!(
            "| {name} | {version} | {} | {} | {} | {} |\n",
            given(row.given),
            figure(*microseconds),
            grouped(1e6 / microseconds),
            figure(*times),
        );
    }
    text + "\n" + &caption(results)
}

/// What the figures are of.
fn caption(results: &Results) -> String {
    let machine = machine().map(|machine| format!(" of a machine with {machine}")).unwrap_or_default();
    let [nodeport, system_principal] = results.alerts;
    #[expect(clippy::cast_precision_loss, reason = "nobody judges 2^52 records")]
    let records = grouped(results.records as f64);
    format!(
        "The same two rules over the same {records} made-up audit records of EKS, AKS and GKE, of 1 to 4 KB, on one \
         core{machine}; the middle of five rounds. {nodeport} of the records make the NodePort rule alert, {system_principal} \
         the system principal rule, and every engine says the same of each record.\n\n\
         Who gets raw records knows the three clouds. The others do not: normalizing is done for them beforehand, and their \
         time is parsing the normalized event, written as JSON, and evaluating both rules. Normalizing is part of \
         Portcullis's time, and takes {} µs a record by itself.\n",
        figure(results.normalizing),
    )
}

/// What an engine gets, in words.
pub(crate) fn given(given: Given) -> &'static str {
    match given {
        Given::Raw => "raw record",
        Given::Normalized => "normalized event",
    }
}

/// Three digits, or more before the point.
pub(crate) fn figure(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// Rounded, with a comma before each three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The processor's name, where the system says it.
fn machine() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Some(name?.1.trim().to_owned())
}
