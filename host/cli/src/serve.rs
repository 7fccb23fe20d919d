//! `portcullis serve`: records in over HTTP, alerts out to sinks, until it is stopped.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use portcullis::activation::{News, PublishedFolder};
use portcullis::pipeline::threads;
use portcullis_serve::{DataFolder, Parts, ServeError, Settings, Stats};

use crate::activation::Start;
use crate::config::{Config, policy_over};
use crate::failure::{Exit, Failure, OrExit, say_to_the_log};
use crate::logs;
use crate::progress::Progress;
use crate::setup::{Published, SetupArgs};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: SetupArgs,
    /// How many threads judge records [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// How the log on standard error is written [default: text on a terminal, else json]. PORTCULLIS_LOG says how much of it:
    /// warn, info (the default), debug
    #[arg(long, value_enum)]
    log: Option<logs::Format>,
}

/// The file of the history, in the folder of the service's data.
const HISTORY: &str = "history.ndjson";

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let file = args.setup.config.as_deref().ok_or_else(|| {
        let error = anyhow!("serve needs --config FILE, with a table [serve] in it; deploy/ has examples");
        Failure::new(Exit::Usage, error)
    })?;
    let config = Config::read(file).or_exit(Exit::Setup)?;
    let settings = settings(&config, file).or_exit(Exit::Setup)?;
    let _locked = DataFolder::open(&settings.data).map_err(failure)?;
    logs::begin(args.log);
    say_to_the_log();
    let history = settings.data.join(HISTORY);
    let published = Published {
        folder: PublishedFolder(settings.data.clone()),
        rules: settings.jetstream.as_ref().is_some_and(|jetstream| jetstream.rules),
    };
    let folder = published.folder.clone();
    let setup_args = args.setup.clone().with_published(published);
    let setup = setup_args.load_with(Some(&config), &Start::Run { watch: true, history: Some(&history) })?;
    let tenants = setup.tenants();
    let names: Vec<Arc<str>> = tenants.all().iter().map(|(judge, _)| judge.tenant().into()).collect();
    let stats = Arc::new(Stats::new(names.into()));
    let counted = Arc::clone(&stats);
    setup.heard_by(Box::new(move |news| {
        if let News::Entry(entry) = news {
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

/// Returns the settings in a config, which must have them.
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
