//! From the first connection to the last: listening, reading again what has changed, and ending with nothing in hand.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use portcullis::Config;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::clients::Clients;
use super::listener::{self, Security};
use super::{Service, routes};
use crate::cli::failure::{Exit, Failure, OrExit};

impl Service {
    /// Serves until a termination signal, with this config to read again.
    pub(super) async fn serve(self: Arc<Self>, config: &Path, threads: NonZeroUsize) -> Result<Exit, Failure> {
        let listen = |kind| signal(kind).context("cannot listen for signals").or_exit(Exit::Io);
        let (mut terminate, mut interrupt, mut hangup) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
        let security = Arc::new(Security::load(self.config.tls.as_ref()).or_exit(Exit::Setup)?);
        let socket = TcpListener::bind(self.config.listen).await;
        let socket = socket.with_context(|| format!("listen: {}", self.config.listen)).or_exit(Exit::Io)?;
        let address = socket.local_addr().context("listen").or_exit(Exit::Io)?;
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        let (clients, tenants) = (self.config.clients.len(), self.figures.names.len());
        tracing::info!(address = %address, clients, tenants, "serving on {scheme}://{address}");
        if clients == 0 {
            tracing::warn!("nobody may bring records or look: the config has no [[serve.clients]]");
        }
        for reason in self.not_ready() {
            tracing::warn!("not ready: {reason}");
        }
        let router = routes::router(Arc::clone(&self));
        let (service, taken, ends) = (Arc::clone(&self), Arc::clone(&security), self.ends.subscribe());
        let serving = tokio::spawn(async move { listener::serve(socket, taken, &service.config, router, ends).await });
        let working = self.jetstream.clone().filter(|jetstream| jetstream.settings.work).map(|jetstream| {
            // While one is written down, another is judged.
            tokio::spawn(Arc::clone(&self).work(jetstream, 4 * threads.get()))
        });
        let following = self.jetstream.clone().map(|jetstream| tokio::spawn(Arc::clone(&self).follow_fleet(jetstream)));
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload(config, &security),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        tracing::info!("ending: no more deliveries are taken, and those in hand are finished");
        self.ends.send_replace(true);
        let until = Instant::now() + self.config.drain;
        let tasks = [working, following].into_iter().flatten();
        let is_served = tokio::select! {
            is_served = self.drain(serving, tasks, until) => is_served,
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
        };
        let left = self.in_hand.load(Ordering::SeqCst);
        self.sinks.close();
        if let Some(control) = self.control.clone() {
            let _ = tokio::task::spawn_blocking(move || control.finish()).await;
        }
        self.sum_up();
        if left > 0 {
            tracing::warn!(deliveries = left, "ended in the middle of deliveries, which nobody was told are safe");
        } else if !is_served {
            tracing::info!("ended with connections that were open for something else");
        }
        Ok(Exit::Done)
    }

    /// Waits for what is in hand, until some time; whether all connections have ended.
    async fn drain(
        &self,
        serving: JoinHandle<()>,
        tasks: impl Iterator<Item = JoinHandle<()>>,
        until: Instant,
    ) -> bool {
        let is_served = timeout_at(until, serving).await.is_ok();
        for task in tasks {
            let _ = timeout_at(until, task).await;
        }
        while self.in_hand.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            sleep(Duration::from_millis(10)).await;
        }
        is_served
    }

    /// Reads again what may change while it serves: how versions are activated, tokens, certificates; and opens files anew.
    fn reload(&self, file: &Path, security: &Security) {
        self.sinks.reopen();
        self.dead_letters.reopen();
        self.ledger.iter().for_each(super::journal::Journal::reopen);
        if let Some(control) = &self.control {
            control.reload();
        }
        let reload = || -> anyhow::Result<()> {
            let config =
                Config::read(file)?.serve()?.with_context(|| format!("{}: has no table [serve]", file.display()))?;
            let clients = Clients::load(&config.clients, &self.figures.names)?;
            security.reload(config.tls.as_ref())?;
            *self.clients.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(clients);
            Ok(())
        };
        match reload() {
            Ok(()) => tracing::info!("clients and certificates have been read again, and files opened anew"),
            Err(error) => tracing::error!("{error:#}; clients and certificates stay as they were"),
        }
    }

    /// Writes the account into the log.
    fn sum_up(&self) {
        let counted = self.figures.lock();
        let names = self.figures.names.iter().map(|name| format!("tenant {name}")).chain(["no tenant".to_owned()]);
        for (name, of_tenant) in names.zip(&counted.tenants) {
            if name != "no tenant" || of_tenant.account.read() > 0 {
                of_tenant.account.to_string().lines().for_each(|line| tracing::info!("{name}: {line}"));
            }
        }
    }
}
