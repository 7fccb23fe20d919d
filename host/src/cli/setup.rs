//! What judging needs besides records: rules, enrichment, exclusions.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis::enrich::{AsnDb, CloudRanges, Enrichment, EnrichmentError};
use portcullis::{Config, Engine, Exclusion, Judge, Limits, RuleSet};

use super::active_rules;
use super::failure::{Exit, Failure, OrExit, say};

#[derive(clap::Args)]
pub(crate) struct SetupArgs {
    /// A package, or a folder of them; may be given several times [default: the embedded rules]
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// A config in TOML: exclusions and enrichment
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A database of networks, MaxMind's GeoLite2-ASN or one of IPinfo's (.mmdb): whose a source address is, where the record
    /// does not say
    #[arg(long, value_name = "FILE")]
    asn_db: Option<PathBuf>,
    /// The address ranges that a cloud publishes (ip-ranges.json of AWS, ServiceTags_Public of Azure, cloud.json or goog.json
    /// of Google); may be given several times
    #[arg(long, value_name = "FILE")]
    cloud_ranges: Vec<PathBuf>,
}

/// Rules, enrichment and exclusions that belong together.
pub(crate) struct Setup {
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) enrichment: Arc<Enrichment>,
    exclusions: Vec<Exclusion>,
    /// The files that all of it was read from.
    pub(crate) files: Vec<PathBuf>,
}

impl SetupArgs {
    /// Loads everything; what is given here counts, and the config's where it is not.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Setup, Failure> {
        let rules = active_rules(engine, &self.rules)?;
        let config = self.config.as_deref().map(Config::read).transpose().or_exit(Exit::Setup)?;
        let exclusions = config.as_ref().map(|config| config.exclusions(&rules)).transpose().or_exit(Exit::Setup)?;
        let from_config = config.as_ref();
        let asn_db = self.asn_db.as_ref().or_else(|| from_config?.asn_db.as_ref());
        let cloud_ranges = match &*self.cloud_ranges {
            [] => from_config.map_or(&[][..], |config| &config.cloud_ranges),
            given => given,
        };
        let files = self.rules.iter().chain(&self.config).chain(asn_db).chain(cloud_ranges).cloned().collect();
        let failure = |key, given_here: bool, error: EnrichmentError| match &config {
            Some(config) if !given_here => Failure::new(Exit::Setup, config.wrong_file(key, &error)),
            _ => Failure::new(Exit::Setup, error),
        };
        let asn_db = asn_db.map(|file| AsnDb::open(file)).transpose();
        let asn_db = asn_db.map_err(|error| failure("asn-db", self.asn_db.is_some(), error))?;
        let ranges = (!cloud_ranges.is_empty()).then(|| CloudRanges::read(cloud_ranges.iter().map(PathBuf::as_path)));
        let cloud_ranges = ranges.transpose();
        let cloud_ranges = cloud_ranges.map_err(|e| failure("cloud-ranges", !self.cloud_ranges.is_empty(), e))?;
        let setup = Setup {
            rules,
            enrichment: Arc::new(Enrichment::new(cloud_ranges, asn_db)),
            exclusions: exclusions.unwrap_or_default(),
            files,
        };
        setup.tell_of_expired();
        Ok(setup)
    }
}

impl Setup {
    pub(crate) fn judge(&self) -> Judge {
        Judge::new(Arc::clone(&self.rules), Limits::default())
            .with_enrichment(Arc::clone(&self.enrichment))
            .with_exclusions(&self.exclusions, Timestamp::now)
    }

    fn tell_of_expired(&self) {
        let now = Timestamp::now();
        for Exclusion { rule_id, reason, expires, .. } in &self.exclusions {
            if let Some(expires) = expires.filter(|expires| *expires <= now) {
                say(format_args!(
                    "warning: the exclusion of {rule_id} ({reason}) expired at {expires}: remove it, or renew it"
                ));
            }
        }
    }
}
