//! Address ranges that clouds publish.

use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;
use serde::Deserialize;

use super::{EnrichmentError, Network, file_name};

/// AS number and name of each provider's network, as rules know them.
const AWS: (&str, &str) = ("AS16509", "Amazon Web Services");
const AZURE: (&str, &str) = ("AS8075", "Microsoft Azure");
const GOOGLE: (&str, &str) = ("AS15169", "Google");
const GOOGLE_CLOUD: (&str, &str) = ("AS396982", "Google Cloud");

const EXPECTED: &str =
    "expected ip-ranges.json of AWS, ServiceTags_Public of Azure, or cloud.json or goog.json of Google";

/// Ranges from files that AWS, Azure and Google publish. For an address in several ranges, the smallest one counts.
#[derive(Default)]
pub struct CloudRanges {
    files: Vec<String>,
    ranges: JointPrefixMap<IpNet, Range>,
}

struct Range {
    provider: (&'static str, &'static str),
    /// The range's service and region.
    usage: Box<str>,
    /// Index in the list of files.
    file: usize,
}

/// A file of any cloud: AWS and Google have `prefixes`, Azure has `values`.
#[derive(Deserialize)]
struct Published {
    prefixes: Option<Vec<Prefix>>,
    ipv6_prefixes: Option<Vec<Prefix>>,
    values: Option<Vec<ServiceTag>>,
}

/// An entry of a file of AWS (<https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html>) or Google
/// (<https://support.google.com/a/answer/10026322>). Only Google Cloud's entries have a service and a scope.
#[derive(Deserialize)]
struct Prefix {
    #[serde(rename = "ip_prefix")]
    aws_ipv4: Option<String>,
    #[serde(rename = "ipv6_prefix")]
    aws_ipv6: Option<String>,
    #[serde(rename = "ipv4Prefix")]
    google_ipv4: Option<String>,
    #[serde(rename = "ipv6Prefix")]
    google_ipv6: Option<String>,
    region: Option<String>,
    service: Option<String>,
    scope: Option<String>,
}

/// An entry of Azure's file (<https://learn.microsoft.com/azure/virtual-network/service-tags-overview>).
#[derive(Deserialize)]
struct ServiceTag {
    name: String,
    properties: ServiceTagProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceTagProperties {
    address_prefixes: Vec<String>,
}

impl CloudRanges {
    /// Reads files, and detects each one's cloud.
    ///
    /// # Errors
    /// The first file that cannot be read, or is not one that a cloud publishes.
    pub fn read<'f>(files: impl IntoIterator<Item = &'f Path>) -> Result<Self, EnrichmentError> {
        let mut ranges = Self::default();
        for file in files {
            ranges.add(file).map_err(|what| EnrichmentError { file: file.to_owned(), what })?;
        }
        Ok(ranges)
    }

    fn add(&mut self, path: &Path) -> Result<(), String> {
        let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
        let published: Published =
            serde_json::from_reader(BufReader::new(file)).map_err(|error| format!("{error}; {EXPECTED}"))?;
        self.files.push(file_name(path));
        let mut count = 0;
        let lists = [("prefixes", published.prefixes), ("ipv6_prefixes", published.ipv6_prefixes)];
        for (list, prefixes) in lists {
            for (n, prefix) in prefixes.into_iter().flatten().enumerate() {
                count += 1;
                let place = || format!("{list}[{n}]");
                let where_used = prefix.region.as_deref().or(prefix.scope.as_deref());
                let usage = [prefix.service.as_deref(), where_used].into_iter().flatten().collect::<Vec<_>>().join(" ");
                let google = if prefix.scope.is_some() { GOOGLE_CLOUD } else { GOOGLE };
                if let Some(network) = prefix.aws_ipv4.as_ref().or(prefix.aws_ipv6.as_ref()) {
                    self.insert(network, AWS, &usage, &place)?;
                } else if let Some(network) = prefix.google_ipv4.as_ref().or(prefix.google_ipv6.as_ref()) {
                    self.insert(network, google, &usage, &place)?;
                } else {
                    return Err(format!("{}: has no prefix; {EXPECTED}", place()));
                }
            }
        }
        for (n, tag) in published.values.into_iter().flatten().enumerate() {
            for (m, network) in tag.properties.address_prefixes.iter().enumerate() {
                count += 1;
                let place = || format!("values[{n}].properties.addressPrefixes[{m}]");
                self.insert(network, AZURE, &tag.name, &place)?;
            }
        }
        if count == 0 {
            return Err(format!("contains no ranges; {EXPECTED}"));
        }
        Ok(())
    }

    fn insert(
        &mut self,
        network: &str,
        provider: (&'static str, &'static str),
        usage: &str,
        place: &dyn Fn() -> String,
    ) -> Result<(), String> {
        let network: IpNet = network
            .parse()
            .map_err(|_| format!("{}: {network:?} is not a network such as 192.0.2.0/24; {EXPECTED}", place()))?;
        let file = self.files.len() - 1;
        // AWS's file contains every range once more for the service AMAZON, and Azure's for larger tags.
        let known = self.ranges.get(&network).is_some_and(|known| !known.usage.starts_with("AMAZON "));
        if !known {
            self.ranges.insert(network, Range { provider, usage: usage.into(), file });
        }
        Ok(())
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    pub(super) fn network(&self, address: IpAddr) -> Option<Network> {
        let (network, range) = self.ranges.get_lpm(&IpNet::from(address))?;
        let (asn, name) = range.provider;
        let file = &self.files[range.file];
        let usage = if range.usage.is_empty() { String::new() } else { format!(" ({})", range.usage) };
        Some(Network { asn: asn.to_owned(), name: Some(name.to_owned()), source: format!("{file} {network}{usage}") })
    }
}
