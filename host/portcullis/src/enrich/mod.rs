//! Finds the networks of source addresses, for events whose records do not contain them.

mod asn_db;
mod cloud_ranges;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use portcullis_event::{Asn, Event, Text, address};
use thiserror::Error;

pub use asn_db::AsnDb;
pub use cloud_ranges::CloudRanges;

/// Looks up networks in the ranges that clouds publish, and then in a database.
#[derive(Default)]
pub struct Enrichment {
    cloud_ranges: Option<CloudRanges>,
    asn_db: Option<AsnDb>,
}

/// The network of an address, and the source of this information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its number, such as `AS16509`.
    pub asn: String,
    /// The operator of the network.
    pub name: Option<String>,
    /// The file, and the range in it that contains the address.
    pub source: String,
}

/// A file that cannot be used for enrichment.
#[derive(Debug, Error)]
#[error("{}: {what}", file.display())]
pub struct EnrichmentError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, what was expected, and what to do.
    pub what: String,
}

impl Enrichment {
    /// Returns an enrichment with these sources. Cloud ranges come first, because the cloud itself publishes them.
    #[must_use]
    pub fn new(cloud_ranges: Option<CloudRanges>, asn_db: Option<AsnDb>) -> Self {
        Self { cloud_ranges, asn_db }
    }

    /// Returns whether there are no sources.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cloud_ranges.is_none() && self.asn_db.is_none()
    }

    /// Returns the network of an address.
    #[must_use]
    pub fn network(&self, address: IpAddr) -> Option<Network> {
        let in_ranges = self.cloud_ranges.as_ref().and_then(|ranges| ranges.network(address));
        in_ranges.or_else(|| self.asn_db.as_ref()?.network(address))
    }

    /// Returns whether enrichment has something to add: the record contains no networks, and an address is public.
    #[must_use]
    pub fn is_wanted(event: &Event<'_>) -> bool {
        event.asn.is_empty() && public_addresses(event).next().is_some()
    }

    /// Returns the event with the networks of all public source addresses, unless its record contains networks. An
    /// address in no known network has an entry without a number: an unknown provider.
    #[must_use]
    pub fn enrich<'e, 'a>(&self, event: &'e Event<'a>) -> Cow<'e, Event<'a>> {
        if self.is_empty() || !Self::is_wanted(event) {
            return Cow::Borrowed(event);
        }
        let entry = |address: IpAddr| {
            let network = self.network(address);
            let (asn, name) = network.map_or((None, None), |network| (Some(network.asn), network.name));
            Asn { asn: asn.map(Text::from), name: name.map(Text::from), address: Some(address.to_string().into()) }
        };
        let asn = public_addresses(event).map(entry).collect();
        Cow::Owned(Event { asn, ..event.clone() })
    }
}

/// Writes the names of the files.
impl fmt::Display for Enrichment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.cloud_ranges.iter().flat_map(CloudRanges::files);
        let names: Vec<&str> = ranges.chain(self.asn_db.as_ref().map(AsnDb::file)).collect();
        formatter.write_str(&names.join(", "))
    }
}

fn public_addresses<'e>(event: &'e Event<'_>) -> impl Iterator<Item = IpAddr> + 'e {
    event.source_ips.iter().filter_map(|text| address::parse(text)).filter(|address| address::is_global(*address))
}

/// Returns the name of a file without its folder.
fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).display().to_string()
}
