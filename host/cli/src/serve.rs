//! `portcullis serve`: runs the service.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use portcullis::activation::{ActivationNotice, PublishedFolder};
use portcullis::pipeline::threads;
use portcullis_serve::{DataFolder, Parts, ServeError, Settings, Stats};

use crate::activation::Start;
use crate::config::{Config, policy_over};
use crate::failure::{Exit, Failure, OrExit, use_log};
use crate::input::{Identity, used_twice};
use crate::logs;
use crate::progress::Progress;
use crate::setup::{Published, Setup, SetupArgs, number_of_threads};

const EXAMPLES: &str = "\
Examples:
  # Serve with the clients, sinks and tenants of a config; deploy/ has examples of configs
  portcullis serve --config portcullis.toml

  # Use rules from a folder, and write the log as JSON
  portcullis serve --config portcullis.toml --rules rules/ --log json

  # Send records to it
  curl --data-binary @audit.log -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8443/v1/records";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: SetupArgs,
    /// Number of threads that judge records [default: one for each core]
    #[arg(long, value_name = "N", value_parser = number_of_threads)]
    threads: Option<NonZeroUsize>,
    /// Format of the log on standard error. The environment variable PORTCULLIS_LOG sets its level: error, warn, info (the
    /// default) or debug [default: text on a terminal, else json]
    #[arg(long, value_enum)]
    log: Option<logs::Format>,
}

impl Args {
    /// Returns options with this config, and a log as text.
    pub(crate) fn of_config(config: PathBuf) -> Self {
        Self { setup: SetupArgs::of_config(config), threads: None, log: Some(logs::Format::Text) }
    }
}

/// Checks that no output is another one, or a file that is read or written otherwise.
fn check_outputs(settings: &Settings, setup: &Setup, others: [&Path; 2]) -> Result<(), Failure> {
    let others = others.into_iter().map(Path::to_owned).chain(settings.own_files());
    let taken = others.chain(setup.files.iter().cloned()).filter_map(|file| Identity::of(&file)).collect();
    let Some(output) = used_twice(taken, settings.outputs()) else { return Ok(()) };
    let error = anyhow!("{}: is used twice; give the ledger and each sink a file of its own", output.display());
    Err(Failure::new(Exit::Setup, error))
}

/// The file of the history in the data folder.
const HISTORY: &str = "history.ndjson";

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let file = args.setup.config().ok_or_else(|| {
        let error = anyhow!("serve needs --config FILE with a table [serve]; deploy/ has examples");
        Failure::new(Exit::Usage, error)
    })?;
    let config = Config::read(file).or_exit(Exit::Setup)?;
    let settings = settings(&config, file).or_exit(Exit::Setup)?;
    let _locked = DataFolder::open(&settings.data).map_err(failure)?;
    logs::begin(args.log);
    use_log();
    let history = settings.data.join(HISTORY);
    let published = Published {
        folder: PublishedFolder(settings.data.clone()),
        rules: settings.jetstream.as_ref().is_some_and(|jetstream| jetstream.rules),
    };
    let folder = published.folder.clone();
    let setup_args = args.setup.clone().with_published(published);
    let start = Start::Serve { history: &history, data: &settings.data };
    let setup = Setup::load_with(&setup_args, Some(&config), &start)?;
    check_outputs(&settings, &setup, [file, &history])?;
    let tenants = setup.tenants();
    let names: Vec<Arc<str>> = tenants.all().iter().map(|(judge, _)| judge.tenant().into()).collect();
    let stats = Arc::new(Stats::new(names.into()));
    let counted = Arc::clone(&stats);
    setup.set_listener(Box::new(move |notice| {
        if let ActivationNotice::Entry(entry) = notice {
            counted.count_entry(entry);
        }
    }));
    let (cells, followed, folders) = (setup.cells(), setup.followed(), setup.folders());
    let listed = setup.listed().map(|(_, listed)| listed).collect();
    let control = setup.follow(&setup_args, true, &Arc::new(Progress::new(&[], true)))?;
    let reread = file.to_owned();
    let parts = Parts {
        tenants,
        cells,
        followed,
        listed,
        folders,
        published: folder,
        control,
        stats,
        threads: threads(args.threads),
        read_policy: policy_over,
        read_settings: Box::new(move || settings_of(&reread)),
    };
    portcullis_serve::run(settings, parts).map_err(failure)?;
    Ok(Exit::Done)
}

/// Returns the settings of the service, which the config must have.
fn settings(config: &Config, file: &Path) -> anyhow::Result<Settings> {
    let minimal = || format!("{}: has no table [serve]; minimal config: [serve], data = \"FOLDER\"", file.display());
    config.serve()?.with_context(minimal)
}

fn settings_of(file: &Path) -> anyhow::Result<Settings> {
    settings(&Config::read(file)?, file)
}

fn failure(error: ServeError) -> Failure {
    match error {
        ServeError::Setup(error) => Failure::new(Exit::Setup, error),
        ServeError::Io(error) => Failure::new(Exit::Io, error),
    }
}
