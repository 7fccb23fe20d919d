//! What judging needs besides records: tenants with their rules, limits and exclusions; enrichment.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use portcullis::activation::{Control, Listed, Policy, PublishedFolder, VersionState, Watched};
use portcullis::enrich::{AsnDb, CloudRanges, Enrichment, EnrichmentError};
use portcullis::package::Cache;
use portcullis::pipeline::Claim;
use portcullis::rule_set::RuleSetCell;
use portcullis::{Exclusion, Judge, Limits, Package, PackageLimits, TenantLimits, Tenants};

use crate::activation::{Activation, Hears, Rules, Start};
use crate::config::{Config, Tenant, policy_over};
use crate::failure::{Exit, Failure, OrExit, warn};
use crate::progress::Progress;

#[derive(Clone, clap::Args)]
pub(crate) struct SetupArgs {
    /// A package, or a folder of them; may be given several times [default: the embedded rules]. Tenants of the config that
    /// name rules have theirs
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// A config in TOML: enrichment, exclusions, limits, the service, tenants
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep the native code of rules in this folder, which must be yours alone, and start faster the next time
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// A database of networks, MaxMind's GeoLite2-ASN or one of IPinfo's (.mmdb): whose a source address is, where the record
    /// does not say
    #[arg(long, value_name = "FILE")]
    asn_db: Option<PathBuf>,
    /// The address ranges that a cloud publishes (ip-ranges.json of AWS, ServiceTags_Public of Azure, cloud.json or goog.json
    /// of Google); may be given several times
    #[arg(long, value_name = "FILE")]
    cloud_ranges: Vec<PathBuf>,
    /// What a service adds to that.
    #[arg(skip)]
    pub(crate) published: Option<Published>,
}

/// What is published to a service: packages, and which versions are wanted of them.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) folder: PublishedFolder,
    /// Whether tenants that name no rules have those that are published.
    pub(crate) rules: bool,
}

impl Published {
    /// Returns a tenant's policy with what is published for it, if anything is.
    fn policy(published: Option<&Self>, tenant: &str, policy: Policy) -> Result<Policy, String> {
        let Some(file) = published.map(|published| published.folder.activation(tenant)) else { return Ok(policy) };
        match fs::read_to_string(&file) {
            Ok(text) => policy_over(&policy, &text)
                // Only the config says whose packages are trusted.
                .map(|published| Policy { trusted_keys: policy.trusted_keys, ..published })
                .map_err(|error| format!("{}: {error}", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(policy),
            Err(error) => Err(format!("{}: cannot be read: {error}", file.display())),
        }
    }
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
    activation: Activation,
}

struct TenantSetup {
    name: Arc<str>,
    rules: Rules,
    limits: Limits,
    exclusions: Vec<Exclusion>,
    /// None where all records are this tenant's.
    claims: Option<Vec<Claim>>,
    /// The first folder of packages that it follows, where it follows any, and what a package may be.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only a service needs it"))]
    folder: Option<PathBuf>,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only a service needs it"))]
    package: PackageLimits,
}

impl SetupArgs {
    /// Adds what is published to a service.
    #[cfg(feature = "serve")]
    pub(crate) fn with_published(self, published: Published) -> Self {
        Self { published: Some(published), ..self }
    }

    /// Loads everything; what is given here counts, and the config's where it is not.
    pub(crate) fn load(&self, start: &Start<'_>) -> Result<Setup, Failure> {
        let config = self.config.as_deref().map(Config::read).transpose().or_exit(Exit::Setup)?;
        self.load_with(config.as_ref(), start)
    }

    /// The same, with the config that has been read.
    pub(crate) fn load_with(&self, config: Option<&Config>, start: &Start<'_>) -> Result<Setup, Failure> {
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
        let several = tenants.iter().any(|tenant| tenant.claims.is_some());
        let cache = self.cache.as_deref().map(Cache::open).transpose().or_exit(Exit::Setup)?;
        let mut activation = Activation::new(start, several, cache)?;
        let mut setups = Vec::new();
        for tenant in tenants {
            let published = self.published.as_ref().filter(|published| published.rules && self.rules.is_empty());
            let published = published.map(|published| vec![published.folder.packages(&tenant.name)]);
            for folder in published.iter().flatten() {
                let cannot = || format!("{}: cannot be made", folder.display());
                fs::create_dir_all(folder).with_context(cannot).or_exit(Exit::Io)?;
            }
            let paths = tenant.rules.as_ref().or(published.as_ref()).unwrap_or(&self.rules);
            let policy = Published::policy(self.published.as_ref(), &tenant.name, tenant.policy);
            let policy = policy.map_err(|error| Failure::new(Exit::Setup, anyhow!("{error}")))?;
            if let (true, true, Some(config)) = (paths.is_empty(), policy.trusted_keys.is_some(), config) {
                return Err(Failure::new(Exit::Setup, config.keys_without_rules(&tenant.name)));
            }
            let name: Arc<str> = tenant.name.as_str().into();
            let rules = activation.rules(&name, paths, &tenant.limits, policy);
            setups.push(TenantSetup {
                rules: rules
                    .map_err(|failure| if several { failure.context(format!("tenant {name}")) } else { failure })?,
                name,
                limits: tenant.limits.limits,
                exclusions: Vec::new(),
                claims: tenant.claims,
                folder: paths.iter().find(|path| path.is_dir()).cloned(),
                package: tenant.limits.package,
            });
        }
        activation.follow()?;
        let mut setup = Setup { tenants: setups, enrichment, files, activation };
        setup.exclude(config, start)?;
        Ok(setup)
    }

    fn enrichment(&self, config: Option<&Config>) -> Result<Enrichment, Failure> {
        let failure = |key, given_here: bool, error: EnrichmentError| match config {
            Some(config) if !given_here => Failure::new(Exit::Setup, config.wrong_file(key, &error)),
            _ => Failure::new(Exit::Setup, error),
        };
        let asn_db = self.asn_db(config).map(|file| AsnDb::open(&file)).transpose();
        let asn_db = asn_db.map_err(|error| failure("asn-db", self.asn_db.is_some(), error))?;
        let ranges = self.cloud_ranges(config);
        let ranges = (!ranges.is_empty()).then(|| CloudRanges::read(ranges.iter().map(PathBuf::as_path))).transpose();
        let ranges = ranges.map_err(|error| failure("cloud-ranges", !self.cloud_ranges.is_empty(), error))?;
        Ok(Enrichment::new(ranges, asn_db))
    }

    fn asn_db(&self, config: Option<&Config>) -> Option<PathBuf> {
        self.asn_db.clone().or_else(|| config?.asn_db())
    }

    fn cloud_ranges(&self, config: Option<&Config>) -> Vec<PathBuf> {
        match config {
            Some(config) if self.cloud_ranges.is_empty() => config.cloud_ranges(),
            _ => self.cloud_ranges.clone(),
        }
    }

    fn files(&self, config: Option<&Config>, tenants: &[Tenant]) -> Vec<PathBuf> {
        let rules = tenants.iter().flat_map(|tenant| tenant.rules.as_ref().unwrap_or(&self.rules));
        let rules = rules.flat_map(|path| match fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => vec![path.clone()],
        });
        let others = self.config.iter().cloned().chain(self.asn_db(config)).chain(self.cloud_ranges(config));
        rules.chain(others).collect()
    }
}

impl Setup {
    /// Gives tenants their exclusions, which must be of rules that they have.
    fn exclude(&mut self, config: Option<&Config>, start: &Start<'_>) -> Result<(), Failure> {
        if matches!(start, Start::Look { .. }) {
            return Ok(());
        }
        for tenant in &mut self.tenants {
            let rules = tenant.rules.now(&self.activation);
            if rules.packages().is_empty() {
                let of = tenant.claims.as_ref().map(|_| format!("tenant {}: ", tenant.name)).unwrap_or_default();
                warn(format_args!("{of}no rule is active: no record can alert"));
            }
            if let Some(config) = config {
                // Rules come and go where they are followed.
                let known = (!start.is_lenient()).then_some(&*rules);
                tenant.exclusions = config.exclusions(&tenant.name, known).or_exit(Exit::Setup)?;
                for Exclusion { rule_id, reason, .. } in &tenant.exclusions {
                    if !rules.packages().iter().any(|package| package.rule_id() == rule_id) {
                        warn(format_args!("warning: the exclusion of {rule_id} ({reason}) is of no active rule"));
                    }
                }
            }
        }
        self.tell_of_expired();
        Ok(())
    }

    /// By tenant, where its rules are published.
    pub(crate) fn cells(&self) -> Vec<Arc<RuleSetCell>> {
        let cell = |tenant: &TenantSetup| match &tenant.rules {
            Rules::Embedded(rules) => Arc::new(RuleSetCell::new(Arc::clone(rules))),
            Rules::Followed(number) => self.activation.cell(*number),
        };
        self.tenants.iter().map(cell).collect()
    }

    /// A judge for each tenant, with its empty account and the rules that it has now.
    pub(crate) fn tenants(&self) -> Tenants {
        let judge = |tenant: &TenantSetup| {
            Judge::builder(tenant.limits)
                .rules(tenant.rules.now(&self.activation))
                .tenant(Arc::clone(&tenant.name))
                .enrichment(Arc::clone(&self.enrichment))
                .exclusions(&tenant.exclusions)
                .build()
        };
        match &*self.tenants {
            [tenant @ TenantSetup { claims: None, .. }] => Tenants::one(judge(tenant)),
            tenants => Tenants::new(
                tenants.iter().map(|tenant| (judge(tenant), tenant.claims.clone().unwrap_or_default())).collect(),
            ),
        }
    }

    /// Whether there are several tenants, or one that has only the records that it claims.
    pub(crate) fn has_several(&self) -> bool {
        self.tenants.iter().any(|tenant| tenant.claims.is_some())
    }

    /// For each tenant the packages that there are, and how they stand.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&str, Vec<Listed>)> {
        self.tenants.iter().map(|tenant| {
            let listed = match &tenant.rules {
                Rules::Embedded(rules) => rules.packages().iter().map(embedded_listed).collect(),
                Rules::Followed(number) => self.activation.list(*number),
            };
            (&*tenant.name, listed)
        })
    }

    /// Of each tenant the first folder of packages that it follows, if it follows one, and what a package may be.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only a service needs it"))]
    pub(crate) fn folders(&self) -> Vec<(Option<PathBuf>, PackageLimits)> {
        self.tenants.iter().map(|tenant| (tenant.folder.clone(), tenant.package)).collect()
    }

    /// Has somebody hear what becomes of versions of rules, from now on.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only a service needs it"))]
    pub(crate) fn heard_by(&self, hears: Hears) {
        self.activation.heard_by(hears);
    }

    /// The number that the activator gives a tenant, by the tenant's number.
    pub(crate) fn followed(&self) -> Vec<Option<usize>> {
        let number = |tenant: &TenantSetup| match tenant.rules {
            Rules::Embedded(_) => None,
            Rules::Followed(number) => Some(number),
        };
        self.tenants.iter().map(number).collect()
    }

    /// Follows the rules' files and the config from now on, if there are any: by itself, or when it is told to.
    pub(crate) fn follow(
        self,
        args: &SetupArgs,
        watch: bool,
        progress: &Arc<Progress>,
    ) -> Result<Option<Control>, Failure> {
        let names: Vec<(Arc<str>, Option<usize>)> =
            self.tenants.iter().map(|tenant| Arc::clone(&tenant.name)).zip(self.followed()).collect();
        if names.iter().all(|(_, followed)| followed.is_none()) {
            return Ok(None);
        }
        let (config, published) = (args.config.clone(), args.published.clone());
        let activations =
            published.iter().flat_map(|published| names.iter().map(|(name, _)| published.folder.activation(name)));
        let watched = Watched { stores: watch, configs: config.iter().cloned().chain(activations).collect() };
        let reload = move || match &config {
            None => Ok(Vec::new()),
            Some(file) => policies(file, published.as_ref(), &names),
        };
        self.activation.run(watched, Box::new(reload), progress).map(Some)
    }

    fn tell_of_expired(&self) {
        let now = Timestamp::now();
        for Exclusion { rule_id, reason, expires, .. } in self.tenants.iter().flat_map(|tenant| &tenant.exclusions) {
            if let Some(expires) = expires.filter(|expires| *expires <= now) {
                warn(format_args!(
                    "warning: the exclusion of {rule_id} ({reason}) expired at {expires}: remove it, or renew it"
                ));
            }
        }
    }
}

/// What a config says now of tenants that are there: how they want their rules, if these are out of files. All else in it is
/// for the next start.
fn policies(
    file: &Path,
    published: Option<&Published>,
    names: &[(Arc<str>, Option<usize>)],
) -> Result<Vec<(usize, Policy)>, String> {
    let config = Config::read(file).map_err(|error| error.to_string())?;
    let tenants = config.tenants().map_err(|error| error.to_string())?;
    let mut policies = Vec::new();
    for (name, followed) in names {
        let tenant = tenants.iter().find(|tenant| tenant.name == **name);
        let gone = || format!("{}: tenant {name} is gone; tenants come and go with a restart", file.display());
        let policy = &tenant.ok_or_else(gone)?.policy;
        match followed {
            Some(number) => policies.push((*number, Published::policy(published, name, policy.clone())?)),
            None if policy.trusted_keys.is_some() => return Err(config.keys_without_rules(name).to_string()),
            None => {}
        }
    }
    Ok(policies)
}

fn embedded_listed(package: &Package) -> Listed {
    Listed {
        rule_id: Some(package.rule_id().to_owned()),
        version: Some(package.version().clone()),
        state: VersionState::Active,
        since: None,
        reason: Some("it comes with the program".to_owned()),
        file: None,
        sha256: Some(package.sha256().to_owned()),
        signer: None,
    }
}
