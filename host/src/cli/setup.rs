//! What judging needs besides records: tenants with their rules, limits and exclusions; enrichment.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use jiff::Timestamp;
use portcullis::config::{Tenant, TenantLimits};
use portcullis::enrich::{AsnDb, CloudRanges, Enrichment, EnrichmentError};
use portcullis::{Claim, Config, Engine, Exclusion, Judge, Limits, PackageLimits, RuleSet, Tenants};

use super::active_rules;
use super::failure::{Exit, Failure, OrExit, say};

#[derive(clap::Args)]
pub(crate) struct SetupArgs {
    /// A package, or a folder of them; may be given several times [default: the embedded rules]. Tenants of the config that
    /// name rules have theirs
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// A config in TOML: enrichment, exclusions, limits, tenants
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

/// What packages and rules may take where there are no tenants: as without a config, or as its `[limits]` says.
#[derive(clap::Args)]
pub(crate) struct LimitsArgs {
    /// A config in TOML, of which [limits] counts
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LimitsArgs {
    pub(crate) fn load(&self) -> Result<TenantLimits, Failure> {
        let config = self.config.as_deref().map(Config::read).transpose().or_exit(Exit::Setup)?;
        config.map_or_else(|| Ok(TenantLimits::default()), |config| config.limits()).or_exit(Exit::Setup)
    }
}

/// All that records are judged with.
pub(crate) struct Setup {
    tenants: Vec<TenantSetup>,
    pub(crate) enrichment: Arc<Enrichment>,
    /// The files that all of it was read from.
    pub(crate) files: Vec<PathBuf>,
}

struct TenantSetup {
    name: Arc<str>,
    rules: Arc<RuleSet>,
    limits: Limits,
    exclusions: Vec<Exclusion>,
    /// None where all records are this tenant's.
    claims: Option<Vec<Claim>>,
}

impl SetupArgs {
    /// Loads everything; what is given here counts, and the config's where it is not.
    pub(crate) fn load(&self) -> Result<Setup, Failure> {
        let config = self.config.as_deref().map(Config::read).transpose().or_exit(Exit::Setup)?;
        let config = config.as_ref();
        let enrichment = Arc::new(self.enrichment(config)?);
        let tenants = match config {
            Some(config) => config.tenants().or_exit(Exit::Setup)?,
            None => vec![Tenant::default()],
        };
        if !self.rules.is_empty() && tenants.iter().all(|tenant| tenant.rules.is_some()) {
            let error = anyhow!("--rules: is for tenants that name no rules of their own, and the config has none");
            return Err(Failure::new(Exit::Usage, error));
        }
        let files = self.files(config, &tenants);
        let mut loader = Loader::default();
        let load = |tenant: Tenant| {
            let paths = tenant.rules.as_ref().unwrap_or(&self.rules);
            let of = tenant.claims.as_ref().map(|_| format!("tenant {}", tenant.name));
            let rules = loader.rules(paths, &tenant.limits).map_err(|failure| match &of {
                Some(of) => failure.context(of.clone()),
                None => failure,
            })?;
            if rules.packages().is_empty() {
                let of = of.map(|of| of + ": ").unwrap_or_default();
                say(format_args!("{of}no rule is active: no record can alert"));
            }
            let exclusions = config.map(|config| config.exclusions(&tenant.name, &rules)).transpose();
            Ok(TenantSetup {
                name: tenant.name.into(),
                rules,
                limits: tenant.limits.limits,
                exclusions: exclusions.or_exit(Exit::Setup)?.unwrap_or_default(),
                claims: tenant.claims,
            })
        };
        let tenants = tenants.into_iter().map(load).collect::<Result<_, Failure>>()?;
        let setup = Setup { tenants, enrichment, files };
        setup.tell_of_expired();
        Ok(setup)
    }

    fn enrichment(&self, config: Option<&Config>) -> Result<Enrichment, Failure> {
        let failure = |key, given_here: bool, error: EnrichmentError| match config {
            Some(config) if !given_here => Failure::new(Exit::Setup, config.wrong_file(key, &error)),
            _ => Failure::new(Exit::Setup, error),
        };
        let asn_db = self.asn_db(config).map(|file| AsnDb::open(file)).transpose();
        let asn_db = asn_db.map_err(|error| failure("asn-db", self.asn_db.is_some(), error))?;
        let ranges = self.cloud_ranges(config);
        let ranges = (!ranges.is_empty()).then(|| CloudRanges::read(ranges.iter().map(PathBuf::as_path))).transpose();
        let ranges = ranges.map_err(|error| failure("cloud-ranges", !self.cloud_ranges.is_empty(), error))?;
        Ok(Enrichment::new(ranges, asn_db))
    }

    fn asn_db<'a>(&'a self, config: Option<&'a Config>) -> Option<&'a PathBuf> {
        self.asn_db.as_ref().or_else(|| config?.asn_db.as_ref())
    }

    fn cloud_ranges<'a>(&'a self, config: Option<&'a Config>) -> &'a [PathBuf] {
        match &*self.cloud_ranges {
            [] => config.map_or(&[], |config| &config.cloud_ranges),
            given => given,
        }
    }

    fn files(&self, config: Option<&Config>, tenants: &[Tenant]) -> Vec<PathBuf> {
        let rules = tenants.iter().flat_map(|tenant| tenant.rules.as_ref().unwrap_or(&self.rules));
        let rules = rules.flat_map(|path| match fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => vec![path.clone()],
        });
        let others = self.config.iter().chain(self.asn_db(config)).chain(self.cloud_ranges(config));
        rules.chain(others.cloned()).collect()
    }
}

impl Setup {
    /// A judge for each tenant, with its empty account.
    pub(crate) fn tenants(&self) -> Tenants {
        let judge = |tenant: &TenantSetup| {
            Judge::new(Arc::clone(&tenant.rules), tenant.limits)
                .with_tenant(Arc::clone(&tenant.name))
                .with_enrichment(Arc::clone(&self.enrichment))
                .with_exclusions(&tenant.exclusions, Timestamp::now)
        };
        match &*self.tenants {
            [tenant @ TenantSetup { claims: None, .. }] => Tenants::one(judge(tenant)),
            tenants => Tenants::new(
                tenants.iter().map(|tenant| (judge(tenant), tenant.claims.clone().unwrap_or_default())).collect(),
            ),
        }
    }

    fn tell_of_expired(&self) {
        let now = Timestamp::now();
        for Exclusion { rule_id, reason, expires, .. } in self.tenants.iter().flat_map(|tenant| &tenant.exclusions) {
            if let Some(expires) = expires.filter(|expires| *expires <= now) {
                say(format_args!(
                    "warning: the exclusion of {rule_id} ({reason}) expired at {expires}: remove it, or renew it"
                ));
            }
        }
    }
}

/// Loads rules for several tenants. Those with the same packages and limits share the compiled code, and nothing else.
#[derive(Default)]
struct Loader {
    engines: BTreeMap<usize, Engine>,
    loaded: HashMap<(Vec<PathBuf>, usize, PackageLimits), Arc<RuleSet>>,
}

impl Loader {
    fn rules(&mut self, paths: &[PathBuf], limits: &TenantLimits) -> Result<Arc<RuleSet>, Failure> {
        let key = (paths.to_vec(), limits.stack, limits.package);
        if let Some(rules) = self.loaded.get(&key) {
            return Ok(Arc::clone(rules));
        }
        let engine = match self.engines.get(&limits.stack) {
            Some(engine) => engine.clone(),
            None => Engine::with_stack(limits.stack).or_exit(Exit::Setup)?,
        };
        self.engines.insert(limits.stack, engine.clone());
        let rules = active_rules(&engine, paths, limits.package)?;
        self.loaded.insert(key, Arc::clone(&rules));
        Ok(rules)
    }
}
