//! Metrics for Prometheus, encoded from the live stats. Config and rules bound the number of series; records do not
//! affect it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use portcullis::pipeline::{RuleAccounting, Times};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::ingest::Ingest;
use crate::stats::{Counted, Stats, bounded};

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of a service.
pub(crate) struct Metrics(Registry);

impl Metrics {
    pub(crate) fn new(stats: Arc<Stats>, ingest: Arc<Ingest>) -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        registry.register_collector(Box::new(Live { stats, ingest }));
        Self(registry)
    }

    /// Returns all metrics as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a `String` accepts all of it");
        text
    }
}

/// The labels of a series.
type Labels = Vec<(&'static str, String)>;

/// Encodes the stats as they are when they are scraped.
struct Live {
    stats: Arc<Stats>,
    ingest: Arc<Ingest>,
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Live")
    }
}

/// Durations as a histogram.
struct Histogram<'t>(&'t Times);

impl EncodeMetric for Histogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Self(times) = self;
        let ends = Times::CLASSES.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(times.counts).collect();
        let exemplars: Option<&HashMap<usize, Exemplar<Labels, f64>>> = None;
        encoder.encode_histogram(times.sum.as_secs_f64(), times.counts.iter().sum(), &buckets, exemplars)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The account of a version of a tenant's rule.
struct RuleSeries<'t> {
    tenant: &'t str,
    version: String,
    rule: RuleAccounting,
}

impl RuleSeries<'_> {
    fn labels(&self) -> Labels {
        vec![("tenant", self.tenant.to_owned()), ("rule", self.rule.rule_id.clone()), ("version", self.version.clone())]
    }

    /// Returns its labels with one more.
    fn labels_with(&self, name: &'static str, value: &str) -> Labels {
        let mut labels = self.labels();
        labels.push((name, value.to_owned()));
        labels
    }
}

/// Writes metric families.
struct Writer<'e>(DescriptorEncoder<'e>);

impl Writer<'_> {
    fn descriptor<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        of: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // Help texts of the library's own metrics end with a full stop, too.
        self.0.encode_descriptor(name, &format!("{help}."), None, of)
    }

    /// Writes a metric without labels.
    fn single(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.descriptor(name, help, metric.metric_type())?)
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        series: impl IntoIterator<Item = (Labels, M)>,
    ) -> fmt::Result {
        let mut encoder = self.descriptor(name, help, metric_type)?;
        for (labels, metric) in series {
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, u64)>) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, series)
    }

    fn gauges(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, u64)>) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, series.into_iter().map(|(labels, value)| (labels, gauge(value))))
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Collector for Live {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.records(&mut writer)?;
        self.batches(&mut writer)?;
        self.sinks(&mut writer)
    }
}

impl Live {
    /// Writes the metrics of records and rules.
    fn records(&self, writer: &mut Writer<'_>) -> fmt::Result {
        // Batches are counted under this lock, so it is held only to copy the counts.
        let (counts, swaps) = {
            let counted = self.stats.lock();
            let counts = counted.tenants.iter().map(|of| (of.account.clone(), of.blind.clone()));
            (counts.collect::<Vec<_>>(), counted.swaps.clone())
        };
        // Unclaimed records have an empty tenant.
        let names = self.stats.names.iter().map(|name| &**name).chain([""]);
        let tenants: Vec<_> = names.zip(&counts).collect();
        let tenant = |name: &str| ("tenant", name.to_owned());
        let outcomes = tenants.iter().flat_map(|(name, (account, _))| {
            [("evaluated", account.evaluated), ("ignored", account.ignored), ("rejected", account.rejected)]
                .map(|(outcome, count)| (vec![tenant(name), ("outcome", outcome.to_owned())], count))
        });
        writer.counters("records", "Records by tenant and outcome", outcomes)?;
        let suspect = tenants.iter().map(|(name, (account, _))| (vec![tenant(name)], account.suspect));
        let help =
            "Ignored records whose text mentions Kubernetes audit logs and that may be events in an unknown form";
        writer.counters("suspect_records", help, suspect)?;
        let malformed = tenants.iter().map(|(name, (account, _))| (vec![tenant(name)], account.malformed));
        writer.counters("malformed_records", "Evaluated records with a field of a wrong type", malformed)?;
        let rules: Vec<RuleSeries> = tenants
            .iter()
            .flat_map(|(tenant, (account, _))| {
                bounded(&account.rules()).into_iter().map(|(version, rule)| RuleSeries { tenant, version, rule })
            })
            .collect();
        let verdicts = rules.iter().flat_map(|of| {
            let rule = &of.rule;
            [
                ("alert", rule.alert),
                ("excluded", rule.excluded),
                ("no-match", rule.no_match),
                ("skipped", rule.skipped()),
                ("fault", rule.fault),
            ]
            .map(|(verdict, count)| (of.labels_with("verdict", verdict), count))
        });
        writer.counters("verdicts", "Verdicts of each version of each rule", verdicts)?;
        let faults = rules
            .iter()
            .flat_map(|of| of.rule.faults.iter().map(|(kind, count)| (of.labels_with("kind", kind), *count)));
        writer.counters("faults", "Verdicts that are faults, by their kind", faults)?;
        let blind = tenants.iter().flat_map(|(name, (_, blind))| {
            blind.iter().map(move |(rule, count)| (vec![tenant(name), ("rule", rule.clone())], *count))
        });
        let help = "Events that a rule cannot match, because their records lack a field that it needs";
        writer.counters("blind_events", help, blind)?;
        let swaps = swaps.iter().map(|((name, rule, action), count)| {
            let action = serde_json::to_value(action).ok().and_then(|action| action.as_str().map(str::to_owned));
            (vec![tenant(name), ("rule", rule.clone()), ("action", action.unwrap_or_default())], *count)
        });
        writer.counters("swaps", "Changes of rule versions, by action", swaps)?;
        let times = rules.iter().map(|of| (of.labels(), Histogram(&of.rule.times)));
        let help = "Time that a rule took for an event";
        writer.family("evaluation_seconds", help, MetricType::Histogram, times)
    }

    /// Writes the metrics of batches.
    fn batches(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let (batches, ignored, handled, waiting, judging) = {
            let counted = self.stats.lock();
            let Counted { batches, ignored, handled, waiting, judging, .. } = &*counted;
            (batches.clone(), ignored.clone(), handled.clone(), *waiting, judging.clone())
        };
        let client = |client: &str| ("client", client.to_owned());
        let batches =
            batches.iter().map(|((name, status), count)| (vec![client(name), ("status", status.to_string())], *count));
        writer.counters("batches", "Batches by client and HTTP status", batches)?;
        let ignored = ignored.iter().map(|(name, count)| (vec![client(name)], *count));
        let help = "Batches in which no record was evaluated and some were ignored, by client";
        writer.counters("ignored_batches", help, ignored)?;
        let handled = handled.iter().map(|(result, count)| (vec![("result", (*result).to_owned())], *count));
        writer.counters("messages", "Batches from the stream, by result", handled)?;
        writer.single("stream_waiting_messages", "Batches that wait in the stream", &gauge(waiting))?;
        let in_flight = gauge(self.ingest.budget.used());
        writer.single("in_flight_bytes", "Bytes of batches that are being read or judged", &in_flight)?;
        let ready = gauge(u64::from(self.ingest.not_ready().is_empty()));
        writer.single("ready", "Whether the service takes records", &ready)?;
        let names = self.stats.names.iter().enumerate();
        let has_rules = names.map(|(tenant, name)| {
            let has_rules = self.ingest.missing_rules(tenant).is_none();
            (vec![("tenant", name.to_string())], u64::from(has_rules))
        });
        writer.gauges("tenant_ready", "Whether a tenant has active rules, so that its records are taken", has_rules)?;
        writer.single("judging_seconds", "Time that judging a batch took", &Histogram(&judging))
    }

    fn sinks(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let states = self.ingest.sinks.states();
        let sink = |name: &str| vec![("sink", name.to_owned())];
        let waiting = states.iter().map(|state| (sink(&state.name), state.waiting));
        writer.gauges("sink_waiting_bytes", "Bytes of alerts that wait on the disk for a sink", waiting)?;
        let ok = states.iter().map(|state| (sink(&state.name), u64::from(state.ok)));
        writer.gauges("sink_ok", "Whether a sink passed on the last alerts that it took", ok)
    }
}
