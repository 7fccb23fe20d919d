//! Rules from files: activates them at the start and follows them, and notifies of changes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, anyhow};
use portcullis::activation::{
    Action, ActivationNotice, Activator, Control, FollowedFiles, History, ListedPackage, Policy, Reload, RequiredChecks,
};
use portcullis::package::{Cache, CacheError, PublicKey};
use portcullis::report::Notification;
use portcullis::rule_set::RuleSetCell;
use portcullis::{Compiler, Engine, PackageLimits, RuleSet, TenantLimits, embedded};

use crate::failure::{Exit, Failure, OrExit, notify, warn};
use crate::packages::compiler;
use crate::progress::Progress;

/// The source of a tenant's rules.
pub(crate) enum Rules {
    /// The rules that are embedded in the program.
    Embedded(Arc<RuleSet>),
    /// Rules from files, with the tenant's number at the activator.
    Followed(usize),
}

/// How rules from files are activated.
pub(crate) enum Start<'a> {
    /// For a run: versions must pass their test cases, and the history is written.
    Run {
        /// Whether the others stay active if a version is refused. Without it, a refused version is an error.
        watch: bool,
        history: Option<&'a Path>,
    },
    /// For a service, which begins to follow its rules when it listens.
    Serve { history: &'a Path, data: &'a Path },
    /// For `explain`: also versions whose test cases fail.
    Explain,
    /// For `rules`: to list their states.
    List { history: Option<&'a Path> },
}

/// The folder of compiled rules in a service's data folder.
const COMPILED: &str = "compiled";

impl Start<'_> {
    fn history(&self) -> Result<Arc<History>, Failure> {
        let (path, history) = match self {
            Self::Run { history: Some(path), .. } | Self::Serve { history: path, .. } => (*path, History::open(path)),
            Self::List { history: Some(path) } => (*path, History::read(path)),
            _ => return Ok(Arc::default()),
        };
        let history = history.with_context(|| format!("{}: cannot be opened", path.display())).or_exit(Exit::Io)?;
        for line in &history.unreadable {
            warn(format_args!("warning: {}:{line}: not an entry of a history, and ignored", path.display()));
        }
        Ok(Arc::new(history))
    }

    /// Returns whether a refused version is not an error.
    pub(crate) fn is_lenient(&self) -> bool {
        matches!(self, Self::Run { watch: true, .. } | Self::Serve { .. } | Self::List { .. })
    }

    /// Returns the cache of a service that is given none.
    pub(crate) fn cache(&self) -> Option<Cache> {
        let Self::Serve { data, .. } = self else { return None };
        let unusable = |error: &CacheError| {
            warn(format_args!("warning: {error}. Until then, each start compiles and checks all rules again"));
        };
        Cache::open(&data.join(COMPILED)).inspect_err(unusable).ok()
    }

    fn first_rules(&self) -> FirstRules {
        match self {
            Self::Serve { .. } => FirstRules::Later,
            _ if self.is_lenient() => FirstRules::Lenient,
            _ => FirstRules::Strict,
        }
    }
}

/// How the first rules are activated.
#[derive(PartialEq, Eq)]
enum FirstRules {
    /// A refused version is an error.
    Strict,
    /// The others are activated if a version is refused.
    Lenient,
    /// They are activated in turns, when a thread follows the stores.
    Later,
}

/// The key of a store. Tenants with equal keys share the store and its compiled code.
type StoreKey = (Vec<PathBuf>, usize, PackageLimits, Option<Vec<PublicKey>>);

/// The activator of a command, with the engines and the cache of its stores.
pub(crate) struct Activation {
    activator: Activator,
    first_rules: FirstRules,
    /// Whether notices are written to the terminal or the log.
    notifies: bool,
    several: bool,
    /// The names of the tenants, by their numbers at the activator.
    names: Vec<Arc<str>>,
    engines: BTreeMap<usize, Engine>,
    stores: HashMap<StoreKey, usize>,
    embedded: HashMap<usize, Arc<RuleSet>>,
    cache: Option<Cache>,
    /// The progress bar, which notifications must not overwrite.
    progress: Arc<OnceLock<Arc<Progress>>>,
    /// A further listener.
    listener: Arc<OnceLock<NoticeListener>>,
    /// The rules that the config expects to be active after the start.
    expected: Arc<OnceLock<Vec<ExpectedRule>>>,
}

/// A rule that a tenant's config expects.
pub(crate) struct ExpectedRule {
    pub(crate) tenant: Arc<str>,
    pub(crate) rule_id: String,
    /// What is said if it is not active after the start.
    pub(crate) warning: String,
}

/// Receives activation notices.
pub(crate) type NoticeListener = Box<dyn Fn(&ActivationNotice) + Send + Sync>;

impl Activation {
    pub(crate) fn new(start: &Start<'_>, several: bool, cache: Option<Cache>) -> Result<Self, Failure> {
        let checks =
            if matches!(start, Start::Explain) { RequiredChecks::WithoutTestCases } else { RequiredChecks::TestCases };
        let notifies = !matches!(start, Start::List { .. });
        let progress: Arc<OnceLock<Arc<Progress>>> = Arc::default();
        let listener: Arc<OnceLock<NoticeListener>> = Arc::default();
        let expected: Arc<OnceLock<Vec<ExpectedRule>>> = Arc::default();
        let (bar, further, wanted) = (Arc::clone(&progress), Arc::clone(&listener), Arc::clone(&expected));
        let on_notice = move |notice: ActivationNotice| {
            if let Some(listener) = further.get() {
                listener(&notice);
            }
            let expected = wanted.get().map(Vec::as_slice).unwrap_or_default();
            for notification in notifications(&notice, several, expected) {
                match bar.get() {
                    _ if !notifies => {}
                    Some(progress) => progress.aside(|| notify(&notification)),
                    None => notify(&notification),
                }
            }
        };
        Ok(Self {
            activator: Activator::new(start.history()?, checks, jiff::Timestamp::now, on_notice),
            first_rules: start.first_rules(),
            notifies,
            several,
            names: Vec::new(),
            engines: BTreeMap::new(),
            stores: HashMap::new(),
            embedded: HashMap::new(),
            cache,
            progress,
            listener,
            expected,
        })
    }

    /// Returns the rules of a tenant: from these files and folders, or without any the embedded ones.
    pub(crate) fn rules(
        &mut self,
        name: &Arc<str>,
        paths: &[PathBuf],
        limits: &TenantLimits,
        policy: Policy,
    ) -> Result<Rules, Failure> {
        let engine = match self.engines.get(&limits.stack) {
            Some(engine) => engine.clone(),
            None => Engine::with_stack(limits.stack).or_exit(Exit::Setup)?,
        };
        self.engines.insert(limits.stack, engine.clone());
        if paths.is_empty() {
            if let Some(rules) = self.embedded.get(&limits.stack) {
                return Ok(Rules::Embedded(Arc::clone(rules)));
            }
            let compiler = Compiler::new(engine).with_cache(self.cache.clone());
            let rules = RuleSet::new(embedded::compiled(&compiler).or_exit(Exit::Setup)?).or_exit(Exit::Setup)?;
            let rules = Arc::new(rules);
            self.embedded.insert(limits.stack, Arc::clone(&rules));
            return Ok(Rules::Embedded(rules));
        }
        let keys = policy.trusted_keys.clone();
        let key = (paths.to_vec(), limits.stack, limits.package, keys);
        let (activator, cache) = (&mut self.activator, &self.cache);
        let store = self.stores.entry(key).or_insert_with_key(|(paths, _, limits, keys)| {
            let compiler = compiler(&engine, *limits).with_trusted_keys(keys.as_deref()).with_cache(cache.clone());
            activator.add_store(paths.clone(), compiler)
        });
        self.names.push(Arc::clone(name));
        Ok(Rules::Followed(activator.add_tenant(Arc::clone(name), *store, policy, limits.limits)))
    }

    /// Activates the rules from files. For a list, an unreadable store is an error.
    pub(crate) fn follow(&mut self) -> Result<(), Failure> {
        match self.first_rules {
            FirstRules::Later => {}
            FirstRules::Lenient => self.activator.follow(),
            FirstRules::Strict => {
                if let Err((tenant, error)) = self.activator.start_strictly() {
                    let failure = Failure::new(Exit::Setup, error);
                    let of = || format!("tenant {}", self.names[tenant]);
                    return Err(if self.several { failure.context(of()) } else { failure });
                }
            }
        }
        match self.activator.unreadable().next() {
            Some(wrong) if !self.notifies => Err(Failure::new(Exit::Setup, anyhow!("{wrong}"))),
            _ => Ok(()),
        }
    }

    /// Returns whether a store could not be read.
    pub(crate) fn has_unreadable(&self) -> bool {
        self.activator.unreadable().next().is_some()
    }

    pub(crate) fn cell(&self, tenant: usize) -> Arc<RuleSetCell> {
        self.activator.cell(tenant)
    }

    pub(crate) fn list(&self, tenant: usize) -> Vec<ListedPackage> {
        self.activator.list(tenant)
    }

    /// Sets a listener that gets all further notices.
    pub(crate) fn set_listener(&self, listener: NoticeListener) {
        let _ = self.listener.set(listener);
    }

    /// Sets the rules that the config expects to be active after a later start.
    pub(crate) fn expect(&self, rules: Vec<ExpectedRule>) {
        let _ = self.expected.set(rules);
    }

    /// Starts to follow the stores.
    pub(crate) fn run(
        self,
        watched: FollowedFiles,
        reload: Reload,
        progress: &Arc<Progress>,
    ) -> Result<Control, Failure> {
        let _ = self.progress.set(Arc::clone(progress));
        self.activator.run(watched, reload).or_exit(Exit::Setup)
    }
}

impl Rules {
    /// Returns the rules that are active now.
    pub(crate) fn now(&self, activation: &Activation) -> Arc<RuleSet> {
        match self {
            Self::Embedded(rules) => Arc::clone(rules),
            Self::Followed(number) => activation.cell(*number).newer(&mut 0).expect("there are first rules"),
        }
    }
}

/// The warning that nothing can match.
pub(crate) const NO_RULE: &str = "warning: no rule is active, so no record can raise an alert";

/// Returns a notice as notifications, which name the tenant if there are several.
fn notifications(notice: &ActivationNotice, several: bool, expected: &[ExpectedRule]) -> Vec<Notification> {
    let of = |tenant: &str| if several { format!("tenant {tenant}: ") } else { String::new() };
    let notification = match notice {
        ActivationNotice::Entry(entry) => {
            let file = entry.file.as_ref().filter(|_| entry.action == Action::Refused && entry.rule_id.is_some());
            let file = file.map(|file| format!("{file}: ")).unwrap_or_default();
            let text = format!("{}{file}{entry}", of(&entry.tenant));
            match entry.action {
                Action::Refused | Action::RolledBack => Notification::warning(text),
                _ => Notification::info(text),
            }
        }
        ActivationNotice::Problem { tenant, text } => {
            Notification::warning(format!("{}{text}", tenant.as_deref().map(of).unwrap_or_default()))
        }
        ActivationNotice::HistoryFails(error) => Notification::warning(format!("warning: {error}")),
        ActivationNotice::Started { tenant, rule_ids } => {
            let none = rule_ids.is_empty().then(|| format!("{}{NO_RULE}", of(tenant)));
            let missing = |rule: &&ExpectedRule| rule.tenant == *tenant && !rule_ids.contains(&rule.rule_id);
            let missing = expected.iter().filter(missing).map(|rule| rule.warning.clone());
            return none.into_iter().chain(missing).map(Notification::warning).collect();
        }
    };
    vec![notification]
}
