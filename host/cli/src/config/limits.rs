//! `[limits]` and `[tenants.limits]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::quantity::{GIB, Given, KIB, MIB, Unit};
use super::source::{ConfigError, Source};
use portcullis::TenantLimits;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsTable {
    time: Given,
    memory: Given,
    table_elements: Given,
    stack: Given,
    answer: Given,
    alert: Given,
    alerts_per_minute: Given,
    events_per_instance: Given,
    suspend_after: Given,
    package: Given,
    functions: Given,
    function_size: Given,
    locals: Given,
    compile_time: Given,
    compile_memory: Given,
}

impl LimitsTable {
    /// Returns limits, with the values that the table sets.
    pub(super) fn over(&self, base: TenantLimits, source: &Source) -> Result<TenantLimits, ConfigError> {
        let TenantLimits { mut limits, mut stack, mut package } = base;
        let read =
            |key: &str, given: &Given, unit: Unit, range: RangeInclusive<u64>| unit.given(key, given, range, source);
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);

        if let Some(time) = read("time", &self.time, Unit::Milliseconds, 1..=60_000)? {
            limits.time = Duration::from_millis(time);
        }
        if let Some(memory) = read("memory", &self.memory, Unit::Bytes, 64 * KIB..=GIB)? {
            limits.memory = size(memory);
        }
        if let Some(elements) = read("table-elements", &self.table_elements, Unit::None, 0..=10_000_000)? {
            limits.table_elements = size(elements);
        }
        if let Some(bytes) = read("stack", &self.stack, Unit::Bytes, 64 * KIB..=2 * MIB)? {
            stack = size(bytes);
        }
        if let Some(answer) = read("answer", &self.answer, Unit::Bytes, KIB..=16 * MIB)? {
            limits.answer = size(answer);
        }
        if let Some(alert) = read("alert", &self.alert, Unit::Bytes, KIB..=64 * MIB)? {
            limits.alert = size(alert);
        }
        if let Some(alerts) = read("alerts-per-minute", &self.alerts_per_minute, Unit::None, 0..=u32::MAX.into())? {
            limits.alerts_per_minute = count(alerts);
        }
        if let Some(events) = read("events-per-instance", &self.events_per_instance, Unit::None, 1..=1_000_000)? {
            limits.events_per_instance = count(events);
        }
        if let Some(faults) = read("suspend-after", &self.suspend_after, Unit::None, 0..=1_000_000)? {
            limits.suspend_after = count(faults);
        }
        if let Some(bytes) = read("package", &self.package, Unit::Bytes, KIB..=256 * MIB)? {
            package.size = size(bytes);
        }
        if let Some(functions) = read("functions", &self.functions, Unit::None, 1..=1_000_000)? {
            package.functions = count(functions);
        }
        if let Some(bytes) = read("function-size", &self.function_size, Unit::Bytes, KIB..=7 * MIB)? {
            package.function_size = size(bytes);
        }
        if let Some(locals) = read("locals", &self.locals, Unit::None, 1..=50_000)? {
            package.locals = count(locals);
        }
        if let Some(time) = read("compile-time", &self.compile_time, Unit::Milliseconds, 1_000..=3_600_000)? {
            package.compile_seconds = time.div_ceil(1_000);
        }
        if let Some(memory) = read("compile-memory", &self.compile_memory, Unit::Bytes, 64 * MIB..=256 * GIB)? {
            package.compile_memory = memory;
        }
        Ok(TenantLimits { limits, stack, package })
    }
}
