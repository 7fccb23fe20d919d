//! Databases of networks in MaxMind's format.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;

use super::{EnrichmentError, Network, file_name};

/// Entries of which one must have a number; otherwise the file is not a database of networks. In both layouts nearly
/// all entries have one.
const LOOKED_AT: usize = 10_000;

/// A database of networks: MaxMind's `GeoLite2-ASN`, others with the same fields such as GeoIP2 ISP, or one of
/// IPinfo's.
pub struct AsnDb {
    file: String,
    reader: Reader<Vec<u8>>,
}

/// An entry of either layout. MaxMind: `autonomous_system_number`, `autonomous_system_organization`
/// (<https://dev.maxmind.com/geoip/docs/databases/asn>). IPinfo: `asn` as `AS15169`, and `as_name` in the free
/// databases, `name` in the others (<https://ipinfo.io/developers/database-types>).
#[derive(Deserialize)]
struct Entry<'d> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'d str>,
    asn: Option<&'d str>,
    as_name: Option<&'d str>,
    name: Option<&'d str>,
}

impl Entry<'_> {
    fn asn(&self) -> Option<String> {
        match (self.autonomous_system_number, self.asn) {
            (Some(number), _) => Some(format!("AS{number}")),
            (None, Some(asn)) if asn.starts_with("AS") => Some(asn.to_owned()),
            _ => None,
        }
    }

    fn name(&self) -> Option<&str> {
        self.autonomous_system_organization.or(self.as_name).or(self.name).filter(|name| !name.is_empty())
    }
}

impl AsnDb {
    /// Reads a database into memory.
    ///
    /// # Errors
    /// The file cannot be read, is not a database, or contains no AS numbers.
    pub fn open(file: &Path) -> Result<Self, EnrichmentError> {
        const EXPECTED: &str = "expected a .mmdb file with AS numbers: MaxMind's GeoLite2-ASN or one of IPinfo's";
        let error = |what: String| EnrichmentError { file: file.to_owned(), what };
        let bytes = std::fs::read(file).map_err(|io| error(format!("cannot be read: {io}")))?;
        let reader = Reader::from_source(bytes).map_err(|wrong| error(format!("{wrong}; {EXPECTED}")))?;
        let networks =
            reader.networks(WithinOptions::default()).map_err(|wrong| error(format!("{wrong}; {EXPECTED}")))?;
        let has_number = networks
            .take(LOOKED_AT)
            .filter_map(|found| found.ok()?.decode::<Entry<'_>>().ok()?)
            .any(|entry| entry.asn().is_some());
        if !has_number {
            let kind = &reader.metadata().database_type;
            return Err(error(format!("is a database of type {kind:?}, which has no AS numbers; {EXPECTED}")));
        }
        Ok(Self { file: file_name(file), reader })
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Returns the network of an address; unknown if the database is broken there.
    pub(super) fn network(&self, address: IpAddr) -> Option<Network> {
        let found = self.reader.lookup(address).ok()?;
        let entry = found.decode::<Entry<'_>>().ok()??;
        let range = found.network().ok()?;
        Some(Network {
            asn: entry.asn()?,
            name: entry.name().map(str::to_owned),
            source: format!("{} {range}", self.file),
        })
    }
}
