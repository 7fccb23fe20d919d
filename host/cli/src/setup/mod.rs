//! The setup of a command: tenants with their rules, limits and exclusions; enrichment.

mod args;
mod published;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use portcullis::activation::{Control, FollowedFiles, ListedPackage, VersionState};
use portcullis::enrich::Enrichment;
use portcullis::package::Cache;
use portcullis::pipeline::Claim;
use portcullis::rule_set::RuleSetCell;
use portcullis::{Exclusion, Judge, Limits, Package, PackageLimits, Tenants};

use crate::activation::{Activation, ExpectedRule, NO_RULE, NoticeListener, Rules, Start};
use crate::config::{Config, Tenant};
use crate::failure::{Exit, Failure, OrExit, warn};
use crate::progress::Progress;
pub(crate) use args::{GateArgs, RuleArgs, SetupArgs, number_of_threads};
pub(crate) use published::Published;
use published::policies;

/// Everything that records are judged with.
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
    /// `None` if all records are this tenant's.
    claims: Option<Vec<Claim>>,
    /// The first folder of packages that the tenant follows.
    folder: Option<PathBuf>,
    package: PackageLimits,
}

impl Setup {
    /// Loads everything. Options take precedence over the config.
    pub(crate) fn load(args: &SetupArgs, start: &Start<'_>) -> Result<Self, Failure> {
        let config = args.config().map(|file| Config::read(file)).transpose().or_exit(Exit::Setup)?;
        Self::load_with(args, config.as_ref(), start)
    }

    /// Loads everything, with a config that was read already.
    pub(crate) fn load_with(args: &SetupArgs, config: Option<&Config>, start: &Start<'_>) -> Result<Self, Failure> {
        let enrichment = Arc::new(args.enrichment(config)?);
        let tenants = match config {
            Some(config) => config.tenants().or_exit(Exit::Setup)?,
            None => vec![Tenant::default()],
        };
        if !args.rules.paths.is_empty() && tenants.iter().all(|tenant| tenant.rules.is_some()) {
            let error = anyhow!("--rules: has no effect, because every tenant in the config has rules of its own");
            return Err(Failure::new(Exit::Usage, error));
        }
        let files = args.files(config, &tenants);
        let several = tenants.iter().any(|tenant| tenant.claims.is_some());
        let cache = match &args.rules.cache {
            Some(folder) => Some(Cache::open(folder).or_exit(Exit::Setup)?),
            None => start.cache(),
        };
        let mut activation = Activation::new(start, several, cache)?;
        let mut setups = Vec::new();
        for tenant in tenants {
            let published = args.published.as_ref().filter(|published| published.rules && args.rules.paths.is_empty());
            let published = published.map(|published| vec![published.folder.packages(&tenant.name)]);
            for folder in published.iter().flatten() {
                let cannot = || format!("{}: cannot be created", folder.display());
                fs::create_dir_all(folder).with_context(cannot).or_exit(Exit::Io)?;
            }
            let paths = tenant.rules.as_ref().or(published.as_ref()).unwrap_or(&args.rules.paths);
            let policy = Published::policy(args.published.as_ref(), &tenant.name, tenant.policy);
            let policy = policy.map_err(|error| Failure::new(Exit::Setup, anyhow!("{error}")))?;
            if let (true, Some(config)) = (paths.is_empty(), config) {
                config.check_embedded(&tenant.name, &policy).or_exit(Exit::Setup)?;
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
        let mut setup = Self { tenants: setups, enrichment, files, activation };
        setup.exclude(config, start)?;
        Ok(setup)
    }

    /// Gives tenants their exclusions, which must name rules that they have.
    fn exclude(&mut self, config: Option<&Config>, start: &Start<'_>) -> Result<(), Failure> {
        if matches!(start, Start::List { .. }) {
            return Ok(());
        }
        let mut expected = Vec::new();
        for tenant in &mut self.tenants {
            let rules = tenant.rules.now(&self.activation);
            // Otherwise the activator says so, if it can read the files.
            if rules.packages().is_empty() && (!start.is_lenient() || self.activation.has_unreadable()) {
                let of = tenant.claims.as_ref().map(|_| format!("tenant {}: ", tenant.name)).unwrap_or_default();
                warn(format_args!("{of}{NO_RULE}"));
            }
            if let Some(config) = config {
                // Where rules are followed, a rule may appear later.
                let known = (!start.is_lenient()).then_some(&*rules);
                tenant.exclusions = config.exclusions(&tenant.name, known).or_exit(Exit::Setup)?;
                for Exclusion { rule_id, reason, .. } in &tenant.exclusions {
                    let warning =
                        format!("warning: the exclusion of {rule_id} ({reason}) has no effect: the rule is not active");
                    if rules.awaited_since().is_some() {
                        let (tenant, rule_id) = (Arc::clone(&tenant.name), rule_id.clone());
                        expected.push(ExpectedRule { tenant, rule_id, warning });
                    } else if !rules.packages().iter().any(|package| package.rule_id() == rule_id) {
                        warn(warning);
                    }
                }
            }
        }
        self.activation.expect(expected);
        self.warn_of_expired();
        Ok(())
    }

    fn warn_of_expired(&self) {
        let now = Timestamp::now();
        for Exclusion { rule_id, reason, expires, .. } in self.tenants.iter().flat_map(|tenant| &tenant.exclusions) {
            if let Some(expires) = expires.filter(|expires| *expires <= now) {
                warn(format_args!(
                    "warning: the exclusion of {rule_id} ({reason}) expired at {expires}; remove or renew it"
                ));
            }
        }
    }

    /// Returns the cell of each tenant's rule set.
    pub(crate) fn cells(&self) -> Vec<Arc<RuleSetCell>> {
        let cell = |tenant: &TenantSetup| match &tenant.rules {
            Rules::Embedded(rules) => Arc::new(RuleSetCell::new(Arc::clone(rules))),
            Rules::Followed(number) => self.activation.cell(*number),
        };
        self.tenants.iter().map(cell).collect()
    }

    /// Returns a judge for each tenant, with an empty account and the rules that are active now.
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

    /// Returns whether the config has tenants, also if it has only one.
    pub(crate) fn has_several(&self) -> bool {
        self.tenants.iter().any(|tenant| tenant.claims.is_some())
    }

    /// Returns each tenant with its packages and their states.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&str, Vec<ListedPackage>)> {
        self.tenants.iter().map(|tenant| {
            let listed = match &tenant.rules {
                Rules::Embedded(rules) => rules.packages().iter().map(embedded_listed).collect(),
                Rules::Followed(number) => self.activation.list(*number),
            };
            (&*tenant.name, listed)
        })
    }

    /// Returns for each tenant the first folder of packages that it follows, and the limits of a package.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only a service needs it"))]
    pub(crate) fn folders(&self) -> Vec<(Option<PathBuf>, PackageLimits)> {
        self.tenants.iter().map(|tenant| (tenant.folder.clone(), tenant.package)).collect()
    }

    /// Sets a listener that gets all further notices of rules.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "only a service needs it"))]
    pub(crate) fn set_listener(&self, listener: NoticeListener) {
        self.activation.set_listener(listener);
    }

    /// Returns each tenant's number at the activator, if its rules come from files.
    pub(crate) fn followed(&self) -> Vec<Option<usize>> {
        let number = |tenant: &TenantSetup| match tenant.rules {
            Rules::Embedded(_) => None,
            Rules::Followed(number) => Some(number),
        };
        self.tenants.iter().map(number).collect()
    }

    /// Follows the rules' files and the config: with `watch` whenever they change, else only on a reload. Returns
    /// `None` if no rules come from files.
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
        let (config, published) = (args.config().cloned(), args.published.clone());
        let activations =
            published.iter().flat_map(|published| names.iter().map(|(name, _)| published.folder.activation(name)));
        let watched = FollowedFiles {
            stores: watch,
            // The published packages are copied first.
            held: published.as_ref().is_some_and(|published| published.rules),
            configs: config.iter().cloned().chain(activations).collect(),
        };
        let reload = move || match &config {
            None => Ok(Vec::new()),
            Some(file) => policies(file, published.as_ref(), &names),
        };
        self.activation.run(watched, Box::new(reload), progress).map(Some)
    }
}

fn embedded_listed(package: &Package) -> ListedPackage {
    ListedPackage {
        rule_id: Some(package.rule_id().to_owned()),
        version: Some(package.version().clone()),
        state: VersionState::Active,
        since: None,
        reason: Some("embedded in the program".to_owned()),
        file: None,
        sha256: Some(package.sha256().to_owned()),
        signer: None,
    }
}
