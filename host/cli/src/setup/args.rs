//! The options that select rules, config and enrichment.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use portcullis::enrich::{AsnDb, CloudRanges, Enrichment, EnrichmentError};
use portcullis::package::Cache;
use portcullis::{Compiler, Engine, PackageLimits, TenantLimits};

use super::published::Published;
use crate::config::{Config, Tenant};
use crate::failure::{Exit, Failure, OrExit};
use crate::packages::compiler;

#[derive(Clone, clap::Args)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    pub(super) rules: RuleArgs,
    #[command(flatten)]
    enrichment: EnrichmentArgs,
    /// What is published to this service, if it is one.
    #[arg(skip)]
    pub(super) published: Option<Published>,
}

#[derive(Clone, clap::Args)]
pub(crate) struct RuleArgs {
    /// Package, or folder of packages, to take rules from; can be repeated. Tenants that have rules in the config use
    /// those instead [default: the embedded rules]
    #[arg(long = "rules", value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Config file in TOML: tenants, limits, exclusions, enrichment, versions of rules, the service
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Keep compiled rules in this folder, so that the next start is faster. The folder must belong to you alone
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
}

#[derive(Clone, Default, clap::Args)]
struct EnrichmentArgs {
    /// Database (.mmdb) of networks, for source addresses whose network the record does not name: MaxMind's
    /// GeoLite2-ASN or one of IPinfo's
    #[arg(long, value_name = "FILE")]
    asn_db: Option<PathBuf>,
    /// Address ranges that a cloud publishes: ip-ranges.json of AWS, ServiceTags_Public of Azure, cloud.json or
    /// goog.json of Google; can be repeated
    #[arg(long, value_name = "FILE")]
    cloud_ranges: Vec<PathBuf>,
}

/// The options of commands that check packages and judge nothing.
#[derive(clap::Args)]
pub(crate) struct GateArgs {
    /// Config file in TOML, of which only [limits] is used
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep compiled rules in this folder, so that the next command is faster. The folder must belong to you alone
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl From<RuleArgs> for SetupArgs {
    /// Returns options without enrichment.
    fn from(rules: RuleArgs) -> Self {
        Self { rules, enrichment: EnrichmentArgs::default(), published: None }
    }
}

impl SetupArgs {
    /// Returns options with this config and nothing else.
    #[cfg(feature = "serve")]
    pub(crate) fn of_config(config: PathBuf) -> Self {
        RuleArgs { paths: Vec::new(), config: Some(config), cache: None }.into()
    }

    /// Returns these options with what is published to a service.
    #[cfg(feature = "serve")]
    pub(crate) fn with_published(self, published: Published) -> Self {
        Self { published: Some(published), ..self }
    }

    /// Returns the config file.
    pub(crate) fn config(&self) -> Option<&PathBuf> {
        self.rules.config.as_ref()
    }

    /// Loads the enrichment. An option takes precedence over the config.
    pub(super) fn enrichment(&self, config: Option<&Config>) -> Result<Enrichment, Failure> {
        let given = &self.enrichment;
        let failure = |key, is_option: bool, error: EnrichmentError| match config {
            Some(config) if !is_option => Failure::new(Exit::Setup, config.wrong_file(key, &error)),
            _ => Failure::new(Exit::Setup, error),
        };
        let asn_db = self.asn_db(config).map(|file| AsnDb::open(&file)).transpose();
        let asn_db = asn_db.map_err(|error| failure("asn-db", given.asn_db.is_some(), error))?;
        let ranges = self.cloud_ranges(config);
        let ranges = (!ranges.is_empty()).then(|| CloudRanges::read(ranges.iter().map(PathBuf::as_path))).transpose();
        let ranges = ranges.map_err(|error| failure("cloud-ranges", !given.cloud_ranges.is_empty(), error))?;
        Ok(Enrichment::new(ranges, asn_db))
    }

    fn asn_db(&self, config: Option<&Config>) -> Option<PathBuf> {
        self.enrichment.asn_db.clone().or_else(|| config?.asn_db())
    }

    fn cloud_ranges(&self, config: Option<&Config>) -> Vec<PathBuf> {
        match config {
            Some(config) if self.enrichment.cloud_ranges.is_empty() => config.cloud_ranges(),
            _ => self.enrichment.cloud_ranges.clone(),
        }
    }

    /// Returns all files that are read, with the packages in folders.
    pub(super) fn files(&self, config: Option<&Config>, tenants: &[Tenant]) -> Vec<PathBuf> {
        let rules = tenants.iter().flat_map(|tenant| tenant.rules.as_ref().unwrap_or(&self.rules.paths));
        let rules = rules.flat_map(|path| match fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => vec![path.clone()],
        });
        let others = self.config().cloned().into_iter().chain(self.asn_db(config)).chain(self.cloud_ranges(config));
        rules.chain(others).collect()
    }
}

impl GateArgs {
    /// Returns the limits of the config, or the defaults.
    pub(crate) fn limits(&self) -> Result<TenantLimits, Failure> {
        let config = self.config.as_deref().map(Config::read).transpose().or_exit(Exit::Setup)?;
        config.map_or_else(|| Ok(TenantLimits::default()), |config| config.limits()).or_exit(Exit::Setup)
    }

    /// Returns a compiler with these limits and the cache, if there is one.
    pub(crate) fn compiler(&self, engine: &Engine, limits: PackageLimits) -> Result<Compiler, Failure> {
        let cache = self.cache.as_deref().map(Cache::open).transpose().or_exit(Exit::Setup)?;
        Ok(compiler(engine, limits).with_cache(cache))
    }
}

/// Maximum number of threads that judge. Each has an instance of each rule, so more of them cost only memory.
const MAX_THREADS: usize = 1024;

/// Parses the argument of `--threads`.
pub(crate) fn number_of_threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MAX_THREADS);
    number.ok_or_else(|| format!("expected a number from 1 to {MAX_THREADS}"))
}
