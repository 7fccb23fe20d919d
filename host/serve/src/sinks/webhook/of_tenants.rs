//! The spools of a webhook: one for each tenant. So no tenant's alerts wait behind those of another, or fill its room.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use super::{Endpoint, Spooling, WebhookSink};
use crate::jetstream::token;
use crate::machine::Machine;
use crate::sink_alert::SinkAlert;
use crate::sinks::{Health, Sink};
use crate::storage::{AppendLog, NotWritten, spool};

/// The beginning of the folder of a tenant's spool.
const OF_TENANT: &str = "tenant-";

/// The smallest room of a tenant, in bytes.
const SMALLEST: u64 = 64 << 10;

/// A webhook with a spool for each tenant; with one tenant, it has one.
pub(crate) struct Webhooks {
    tenants: Arc<[Arc<str>]>,
    of_tenants: Vec<WebhookSink>,
    /// Spools of a former config, which take no alerts any more.
    former: Vec<WebhookSink>,
}

impl Webhooks {
    /// Opens the spools and starts to post. `endpoint` opens the endpoint for each of them.
    pub(crate) fn start(
        machine: &Arc<dyn Machine>,
        name: &str,
        ocsf: bool,
        spooling: &Spooling,
        tenants: &Arc<[Arc<str>]>,
        endpoint: &dyn Fn() -> anyhow::Result<Box<dyn Endpoint>>,
        dead_letters: &AppendLog,
    ) -> anyhow::Result<Self> {
        let root = &spooling.folder;
        let folders: Vec<_> = match &**tenants {
            [] | [_] => vec![(root.clone(), None)],
            several => {
                several.iter().map(|name| (root.join(OF_TENANT.to_owned() + &token(name)), Some(name))).collect()
            }
        };
        let most = (spooling.most / folders.len() as u64).max(SMALLEST.min(spooling.most));
        let start = |folder: &Path, tenant: Option<&Arc<str>>| {
            let spooling = Spooling { folder: folder.to_owned(), most, ..*spooling };
            WebhookSink::start(machine, name, tenant, ocsf, &spooling, endpoint()?, dead_letters.clone())
        };
        let mut former = Vec::new();
        for name in machine.disk().list(root).unwrap_or_default() {
            let folder = root.join(&name);
            if name.starts_with(OF_TENANT) && folders.iter().all(|(other, _)| *other != folder) {
                former.push(start(&folder, None)?);
            }
        }
        if folders.len() > 1 && spool::is_there(machine.disk(), root) {
            former.push(start(root, None)?);
        }
        let of_tenants = folders.iter().map(|(folder, tenant)| start(folder, *tenant));
        Ok(Self { tenants: Arc::clone(tenants), of_tenants: of_tenants.collect::<anyhow::Result<_>>()?, former })
    }

    fn number(&self, tenant: usize) -> usize {
        tenant.min(self.of_tenants.len() - 1)
    }
}

impl Sink for Webhooks {
    fn put<'a>(&'a self, alerts: &'a [SinkAlert]) -> BoxFuture<'a, Result<(), NotWritten>> {
        let mut puts = Vec::new();
        for (number, webhook) in self.of_tenants.iter().enumerate() {
            let mut own = alerts.iter().filter(|alert| self.number(alert.tenant) == number).peekable();
            if own.peek().is_some() {
                puts.push(webhook.put(own));
            }
        }
        join_all(puts).map(|puts| puts.into_iter().collect()).boxed()
    }

    fn health(&self) -> Health {
        let mut health = Health::default();
        let mut refusing = 0;
        for (number, webhook) in self.of_tenants.iter().chain(&self.former).enumerate() {
            let Health { refuses, stuck, waiting } = webhook.health();
            let of = |reason: String| match self.tenants.get(number) {
                Some(name) if self.of_tenants.len() > 1 => format!("tenant {name}: {reason}"),
                _ => reason,
            };
            health.waiting += waiting;
            refusing += usize::from(refuses.is_some() && number < self.of_tenants.len());
            health.stuck = health.stuck.take().or(refuses.or(stuck).map(of));
        }
        // It takes alerts as long as it takes those of some tenant.
        if refusing == self.of_tenants.len() {
            health.refuses = health.stuck.take();
        }
        health
    }

    fn refuses(&self, tenant: usize) -> Option<String> {
        match &*self.of_tenants {
            [_] => None,
            several => several[self.number(tenant)].health().refuses,
        }
    }

    fn room(&self, tenant: usize) -> u64 {
        match &*self.of_tenants {
            [_] => u64::MAX,
            several => several[self.number(tenant)].room(),
        }
    }

    /// Stops the posting. Alerts that wait are posted after the next start.
    fn close(&self) {
        self.of_tenants.iter().chain(&self.former).for_each(WebhookSink::close);
    }
}
