//! Values of the config: texts, networks and times.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use portcullis::event::LogType;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::value::Datetime;

/// Returns what is wrong with the values of a field, if something is. `name` is the name of the event's field, or
/// empty.
pub(super) fn wrong_texts(name: &str, texts: &Texts) -> Option<String> {
    if texts.0.is_empty() || texts.0.iter().any(String::is_empty) {
        return Some("expected a string that is not empty, or a list of such strings".to_owned());
    }
    texts.0.iter().find_map(|text| wrong_pattern(name, text))
}

fn wrong_pattern(name: &str, text: &str) -> Option<String> {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    if beginning.is_empty() {
        return Some(format!("{text:?} matches every value; expected a value, or a prefix such as \"system:*\""));
    }
    if beginning.contains('*') {
        return Some(format!("{text:?}: * is a wildcard only at the end"));
    }
    let known = |log_type: &str| if text == beginning { log_type == text } else { log_type.starts_with(beginning) };
    let names = LogType::ALL.map(LogType::as_str);
    (name == "logType" && !names.into_iter().any(known))
        .then(|| format!("unknown log type {text:?}; expected one of {}", names.join(", ")))
}

/// Parses a network or an address. A network of IPv4-mapped IPv6 addresses becomes the IPv4 network, because source
/// addresses are read that way too.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network: Result<IpNet, _> = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| {
        format!("source_ip: invalid network {text:?}; expected one such as 192.0.2.0/24 or 2001:db8::/32")
    })?;
    Ok(match (network, network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpNet::V6(_), IpAddr::V4(address), Some(length)) => Ipv4Net::new_assert(address, length).into(),
        _ => network,
    })
}

/// Returns the instant of a time with its offset, or of a date's midnight in UTC.
pub(super) fn instant(datetime: &Datetime) -> Option<Timestamp> {
    match datetime {
        Datetime { date: Some(_), time: Some(_), offset: Some(_) } => datetime.to_string().parse().ok(),
        Datetime { date: Some(_), time: None, offset: None } => {
            let date: civil::Date = datetime.to_string().parse().ok()?;
            date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        }
        _ => None,
    }
}

/// A string, or a list of strings.
#[derive(Debug)]
pub(super) struct Texts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}
