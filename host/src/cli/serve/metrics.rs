//! The figures as Prometheus reads them. How many series there are is bounded by the config and the rules, whatever records say.

use std::fmt::Write as _;

use portcullis::{RuleAccounting, Times};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Service;
use super::figures::bounded;

/// The kind of text that it is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Counters and gauges with labels.
#[derive(Default)]
struct Metrics(Registry);

impl Metrics {
    fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(format!("portcullis_{name}"), help, family);
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(format!("portcullis_{name}"), help, family);
    }
}

/// What a version of a tenant's rule has said.
struct OfRule<'t> {
    tenant: &'t str,
    version: String,
    rule: RuleAccounting,
}

impl OfRule<'_> {
    /// Its labels, with one more.
    fn labels(&self, name: &'static str, value: &str) -> Labels {
        vec![
            ("tenant", self.tenant.to_owned()),
            ("rule", self.rule.rule_id.clone()),
            ("version", self.version.clone()),
            (name, value.to_owned()),
        ]
    }
}

/// All figures of a service.
pub(super) fn text(service: &Service) -> String {
    let counted = service.figures.lock();
    let names: Vec<&str> = service.figures.names.iter().map(|name| &**name).collect();
    // What is nobody's has a tenant without a name.
    let tenants: Vec<_> = names.iter().copied().chain([""]).zip(&counted.tenants).collect();
    let mut metrics = Metrics::default();
    let outcomes = tenants.iter().flat_map(|(name, of)| {
        let label = |outcome: &str| vec![("tenant", (*name).to_owned()), ("outcome", outcome.to_owned())];
        [("evaluated", of.account.evaluated), ("ignored", of.account.ignored), ("rejected", of.account.rejected)]
            .map(|(outcome, count)| (label(outcome), count))
    });
    metrics.counters("records", "Records that were taken, by what became of them", outcomes);
    let suspect = tenants.iter().map(|(name, of)| (vec![("tenant", (*name).to_owned())], of.account.suspect));
    let help = "Ignored records whose text speaks of Kubernetes audit logs: perhaps events in a form that is not known";
    metrics.counters("suspect_records", help, suspect);
    let malformed = tenants.iter().map(|(name, of)| (vec![("tenant", (*name).to_owned())], of.account.malformed));
    metrics.counters("malformed_records", "Evaluated records that had a field of a wrong type", malformed);
    let rules: Vec<OfRule> = tenants
        .iter()
        .flat_map(|(tenant, of)| {
            bounded(&of.account.rules()).into_iter().map(|(version, rule)| OfRule { tenant, version, rule })
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
        .map(|(verdict, count)| (of.labels("verdict", verdict), count))
    });
    metrics.counters("verdicts", "What each version of each rule said on the events that concern it", verdicts);
    let faults =
        rules.iter().flat_map(|of| of.rule.faults.iter().map(|(kind, count)| (of.labels("kind", kind), *count)));
    metrics.counters("faults", "The faults among the verdicts, by their kind", faults);
    let blind = tenants.iter().flat_map(|(tenant, of)| {
        let labels = |rule: &String| vec![("tenant", (*tenant).to_owned()), ("rule", rule.clone())];
        of.blind.iter().map(move |(rule, count)| (labels(rule), *count))
    });
    let help = "Events that a rule cannot match, because their records do not say what it goes by";
    metrics.counters("blind_events", help, blind);
    let deliveries = counted.deliveries.iter().map(|((client, status), count)| {
        (vec![("client", client.to_string()), ("status", status.to_string())], *count)
    });
    metrics.counters("deliveries", "Deliveries by who brought them and how they were answered", deliveries);
    let ignored = counted.ignored.iter().map(|(client, count)| (vec![("client", client.to_string())], *count));
    let help = "Deliveries of which no record was a Kubernetes audit event, and some were ignored, by who brought them";
    metrics.counters("ignored_deliveries", help, ignored);
    let handled = counted.handled.iter().map(|(word, count)| (vec![("result", (*word).to_owned())], *count));
    metrics.counters("messages", "Deliveries out of the stream, by what became of them", handled);
    metrics.gauges("stream_waiting_messages", "Deliveries that wait in the stream", [(vec![], counted.waiting)]);
    let swaps = counted.swaps.iter().map(|((tenant, rule, action), count)| {
        let action = serde_json::to_value(action).ok().and_then(|word| word.as_str().map(str::to_owned));
        (vec![("tenant", tenant.clone()), ("rule", rule.clone()), ("action", action.unwrap_or_default())], *count)
    });
    metrics.counters("swaps", "What became of versions of rules", swaps);
    metrics.gauges(
        "in_hand_bytes",
        "Bytes of deliveries that are being read or judged",
        [(vec![], service.room.taken())],
    );
    metrics.gauges("ready", "Whether it takes records", [(vec![], u64::from(service.not_ready().is_empty()))]);
    let sinks = service.sinks.states();
    let of_sink = |name: &str| vec![("sink", name.to_owned())];
    let waiting = sinks.iter().map(|sink| (of_sink(&sink.name), sink.waiting));
    metrics.gauges("sink_waiting_bytes", "Bytes of alerts that wait on the disk for a sink", waiting);
    let ok = sinks.iter().map(|sink| (of_sink(&sink.name), u64::from(sink.ok)));
    metrics.gauges("sink_ok", "Whether a sink has taken what it was given last", ok);

    let mut text = String::new();
    encode(&mut text, &metrics.0).expect("a text takes all of it");
    // The library's histograms observe one by one; these have been counted.
    let mut histograms = head("judging_seconds", "How long a delivery was judged");
    histogram(&mut histograms, "judging_seconds", "", &counted.judging);
    histograms += &head("evaluation_seconds", "How long a rule took for an event that it was asked about");
    for OfRule { tenant, version, rule } in &rules {
        let labels = format!("tenant=\"{tenant}\",rule=\"{}\",version=\"{version}\",", escaped(&rule.rule_id));
        histogram(&mut histograms, "evaluation_seconds", &labels, &rule.times);
    }
    let end = text.rfind("# EOF").unwrap_or(text.len());
    text.insert_str(end, &histograms);
    text
}

fn head(name: &str, help: &str) -> String {
    format!("# HELP portcullis_{name} {help}.\n# TYPE portcullis_{name} histogram\n")
}

/// A histogram, as Prometheus reads it. Labels end with a comma.
fn histogram(text: &mut String, name: &str, labels: &str, times: &Times) {
    let ends = Times::CLASSES.iter().map(|end| end.as_secs_f64().to_string()).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    for (count, end) in times.counts.iter().zip(ends) {
        sum += count;
        let _ = writeln!(text, "portcullis_{name}_bucket{{{labels}le=\"{end}\"}} {sum}");
    }
    let labels = labels.trim_end_matches(',');
    let seconds = times.sum.as_secs_f64();
    let _ = writeln!(text, "portcullis_{name}_sum{{{labels}}} {seconds}\nportcullis_{name}_count{{{labels}}} {sum}");
}

/// A label's value: a rule's id may have any characters.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
