//! Faults, in an order that follows from the seed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::World;
use super::process::TENANTS;

/// Injects faults until it is aborted.
pub(super) async fn inject(world: Arc<World>) {
    let mut version = 1;
    let is_harsh = world.dice.once_in(2);
    loop {
        let pause = Duration::from_secs(if is_harsh { 2 } else { 10 });
        sleep(world.dice.up_to(pause)).await;
        // A process that died in an operation of its disk is started again.
        for node in &world.nodes {
            if node.process().is_some_and(|process| process.is_dead()) {
                node.kill();
            }
        }
        world.faults.fetch_add(1, Ordering::Relaxed);
        let node = Arc::clone(&world.nodes[world.dice.index(world.nodes.len())]);
        let dice = world.dice.clone();
        match dice.below(16) {
            0 => node.kill(),
            1 | 2 => node.platter.die_in(dice.below(12)),
            3 => node.terminate().await,
            4 => {
                node.platter.set_full(true);
                later(&dice, Duration::from_mins(1), move || node.platter.set_full(false));
            }
            5 => {
                node.platter.set_failing(true);
                later(&dice, Duration::from_secs(10), move || node.platter.set_failing(false));
            }
            6 => {
                node.endpoint.set_up(false);
                let most = if dice.once_in(20) { Duration::from_hours(1) } else { Duration::from_mins(3) };
                later(&dice, most, move || node.endpoint.set_up(true));
            }
            7 => {
                node.endpoint.set_lossy(true);
                later(&dice, Duration::from_mins(1), move || node.endpoint.set_lossy(false));
            }
            8 | 9 => {
                version += 1;
                let rule = if dice.once_in(2) { "first" } else { "second" };
                world.publish(dice.index(TENANTS.len()), rule, version, !dice.once_in(3));
            }
            other => fail_server(&world, other),
        }
        for node in &world.nodes {
            if node.process().is_none() && !dice.once_in(3) {
                node.start().await;
            }
        }
    }
}

/// Fills all disks for an hour and stops all endpoints for another one.
pub(super) async fn outage(world: Arc<World>) {
    const HOUR: Duration = Duration::from_hours(1);
    sleep(world.dice.up_to(Duration::from_secs(10))).await;
    world.nodes.iter().for_each(|node| node.platter.set_full(true));
    sleep(HOUR).await;
    world.nodes.iter().for_each(|node| node.platter.set_full(false));
    world.nodes.iter().for_each(|node| node.endpoint.set_up(false));
    sleep(HOUR).await;
    world.nodes.iter().for_each(|node| node.endpoint.set_up(true));
}

/// Lets the server fail, if there is one.
fn fail_server(world: &Arc<World>, fault: u64) {
    let Some(server) = world.shared.server.clone() else { return };
    let dice = &world.dice;
    match fault {
        10 | 11 => {
            server.set_up(false);
            later(dice, Duration::from_mins(1), move || server.set_up(true));
        }
        12 | 13 => {
            server.set_lossy(true);
            later(dice, Duration::from_mins(1), move || server.set_lossy(false));
        }
        14 => server.restart(),
        _ if dice.once_in(10) => {
            let packages = world.nodes.iter().map(|node| node.packages()).collect();
            *world.before_wipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = packages;
            server.wipe();
        }
        _ => {}
    }
}

/// Does something after a time up to this one.
fn later(dice: &super::Dice, most: Duration, act: impl FnOnce() + Send + 'static) {
    let time = dice.up_to(most);
    tokio::spawn(async move {
        sleep(time).await;
        act();
    });
}

impl World {
    /// Ends all faults.
    pub(super) fn end_faults(&self) {
        for node in &self.nodes {
            node.platter.set_full(false);
            node.platter.set_failing(false);
            node.platter.never_die();
            node.endpoint.set_up(true);
            node.endpoint.set_lossy(false);
        }
        if let Some(server) = &self.shared.server {
            server.set_up(true);
            server.set_lossy(false);
            // What a server has lost, the machines keep. An operator publishes it again.
            let before = self.before_wipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (node, packages) in self.nodes.iter().zip(before.iter()) {
                let now = node.packages();
                let lost: Vec<_> = packages.iter().filter(|package| !now.contains(package)).collect();
                assert!(lost.is_empty(), "seed {}: {} has removed {lost:?}", self.seed, node.name);
            }
            if server.is_wiped() {
                let good = self.good.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                for (tenant, rule, version) in good.into_keys() {
                    self.publish(tenant, &rule, version, true);
                }
            }
        }
    }

    /// Returns the number of faults that have happened.
    pub(super) fn all_faults(&self) -> u64 {
        let of_nodes: u64 = self.nodes.iter().map(|node| node.platter.faults() + node.endpoint.faults()).sum();
        let of_server = self.shared.server.as_ref().map_or(0, super::Server::faults);
        self.faults.load(Ordering::Relaxed) + of_nodes + of_server
    }
}
