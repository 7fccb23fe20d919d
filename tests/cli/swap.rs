//! A rule set in the place of another while events flow, in the library: under full load, and what becomes of a new version
//! that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portcullis::pipeline::{Notice, RuleVerdict};
use portcullis::rule_set::{RuleSetCell, Shadow};
use portcullis::{Accounting, Engine, Judge, Judgement, Limits, Package, RuleSet, Verdict};

use crate::support::{Does, package, record, version, versioned_spec};

fn load(engine: &Engine, number: &str, does: Does) -> Package {
    Package::load(engine, &version(number, does), number).expect("a package")
}

fn rules(packages: &[&Package]) -> Arc<RuleSet> {
    Arc::new(RuleSet::new(packages.iter().map(|package| (*package).clone()).collect()).expect("one of each rule"))
}

/// The only verdict on a record.
fn verdict(judge: &mut Judge, long: bool) -> RuleVerdict {
    let Judgement::Evaluated { verdicts, .. } = judge.record(record(long).as_bytes()) else { panic!("evaluated") };
    assert_eq!(verdicts.all().count(), 1);
    verdicts.into_judged().remove(0)
}

fn said(verdict: &RuleVerdict) -> (String, &'static str) {
    (verdict.package.version().to_string(), verdict.verdict.as_str())
}

/// So many swaps between versions with different verdicts, while two judges judge as fast as they can: nothing is lost,
/// nothing double, every verdict is that of the version that it names, and none goes back to a version that was replaced.
#[test]
fn two_thousand_swaps_under_full_load() {
    const SWAPS: u64 = 2_000;
    let engine = Engine::new().expect("an engine");
    let versions = [("1.0.0", Does::Alert), ("2.0.0", Does::Nothing), ("3.0.0", Does::Alert)];
    let packages = versions.map(|(number, does)| load(&engine, number, does));
    let cell = Arc::new(RuleSetCell::new(rules(&[&packages[0]])));
    let (judged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (ledgers, accounts): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let judging = [(); 2].map(|()| {
            scope.spawn(|| {
                // All events are of one minute.
                let limits = Limits { alerts_per_minute: u32::MAX, ..Limits::default() };
                let mut judge = Judge::builder(limits).following(Arc::clone(&cell)).build();
                let mut accounting = Accounting::new(judge.rules());
                let mut ledger = Vec::new();
                let record = record(false);
                while !done.load(Ordering::Relaxed) {
                    let judgement = judge.record(record.as_bytes());
                    accounting.count(&judgement);
                    let Judgement::Evaluated { verdicts, .. } = &judgement else { panic!("evaluated") };
                    let [verdict] = verdicts.judged() else { panic!("one rule has one verdict") };
                    assert!(verdict.notices.is_empty(), "{:?}", verdict.notices);
                    ledger.push(said(verdict));
                    judged.fetch_add(1, Ordering::Relaxed);
                }
                (ledger, accounting)
            })
        });
        for swap in 1..=SWAPS {
            let before = judged.load(Ordering::Relaxed);
            cell.publish(rules(&[&packages[usize::try_from(swap).expect("few") % packages.len()]]));
            while judged.load(Ordering::Relaxed) < before + 4 {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        judging.into_iter().map(|thread| thread.join().expect("no panic")).unzip()
    });

    let mut swaps_seen = 0;
    for (ledger, accounting) in ledgers.iter().zip(&accounts) {
        assert_eq!(accounting.read(), ledger.len() as u64, "every record is there once");
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for (number, word) in ledger {
            let does = versions.iter().find(|(known, _)| known == number).expect("one of them").1;
            assert_eq!(*word, if does == Does::Alert { "alert" } else { "no-match" }, "the verdict is its version's");
            *counts.entry(number.clone()).or_default() += 1;
        }
        for rule in accounting.rules() {
            assert_eq!(rule.alert + rule.no_match, counts[&rule.version.to_string()]);
            assert_eq!(rule.fault + rule.skipped() + rule.excluded, 0);
        }
        swaps_seen += ledger.windows(2).filter(|two| two[0].0 != two[1].0).count();
    }
    assert_eq!(ledgers.iter().map(Vec::len).sum::<usize>() as u64, judged.into_inner());
    assert!(swaps_seen as u64 >= SWAPS, "{swaps_seen} were seen by the two");
}

#[test]
fn a_version_that_fails_where_the_one_before_did_not_is_rolled_back_and_the_event_judged_again() {
    let engine = Engine::new().expect("an engine");
    for bad in [Does::TrapOnLong, Does::LoopOnLong] {
        let (good, bad) = (load(&engine, "1.0.0", Does::Alert), load(&engine, "2.0.0", bad));
        let cell = Arc::new(RuleSetCell::new(rules(&[&good])));
        let mut judge = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
        assert_eq!(said(&verdict(&mut judge, true)), ("1.0.0".to_owned(), "alert"));

        cell.publish(rules(&[&bad]));
        assert_eq!(said(&verdict(&mut judge, false)), ("2.0.0".to_owned(), "no-match"));
        let rolled_back = verdict(&mut judge, true);
        assert_eq!(said(&rolled_back), ("1.0.0".to_owned(), "alert"), "the event is judged by the version before");
        let [Notice::RolledBack { package, .. }] = &rolled_back.notices[..] else { panic!("{rolled_back:?}") };
        assert_eq!(package, &bad);
        assert_eq!(said(&verdict(&mut judge, false)), ("1.0.0".to_owned(), "alert"));

        cell.publish(rules(&[&bad]));
        assert_eq!(said(&verdict(&mut judge, false)), ("1.0.0".to_owned(), "alert"), "it does not come back");
        cell.publish(rules(&[&load(&engine, "3.0.0", Does::Nothing)]));
        assert_eq!(said(&verdict(&mut judge, false)), ("3.0.0".to_owned(), "no-match"), "another does");
    }
}

/// A package of the rule with a prefilter, and what it does.
fn load_with(engine: &Engine, number: &str, does: Does, prefilter: &str) -> Package {
    let manifest = format!(r#"{{"version":"{number}","prefilter":{prefilter}}}"#);
    let bytes = package(&does.component(), &versioned_spec(does == Does::Alert), &manifest);
    Package::load(engine, &bytes, number).expect("a package")
}

/// The rule set still has the version that failed, and its prefilter, until somebody publishes another.
#[test]
fn a_version_that_is_active_again_has_its_own_prefilter() {
    let engine = Engine::new().expect("an engine");
    let (open, closed) = ("{}", r#"{"verb":["create"]}"#);
    let get = || record(true);
    let create = || record(true).replace("\"get\"", "\"create\"");
    let run = |first: &str, second: &str, records: [String; 3]| {
        let before = load_with(&engine, "1.0.0", Does::Alert, first);
        let cell = Arc::new(RuleSetCell::new(rules(&[&before])));
        let mut judge = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
        cell.publish(rules(&[&load_with(&engine, "2.0.0", Does::TrapOnLong, second)]));
        records.map(|record| {
            let Judgement::Evaluated { verdicts, .. } = judge.record(record.as_bytes()) else { panic!("evaluated") };
            verdicts.all().map(|(_, verdict)| verdict.as_str()).next().expect("a verdict")
        })
    };
    assert_eq!(run(open, closed, [create(), get(), get()]), ["alert"; 3]);
    // It is not asked about what it would never have been asked about.
    assert_eq!(run(closed, open, [get(), get(), create()]), ["skipped", "skipped", "alert"]);
}

#[test]
fn the_publisher_sets_which_versions_can_be_rolled_back_to() {
    let engine = Engine::new().expect("an engine");
    let [first, second] = ["1.0.0", "2.0.0"].map(|number| load(&engine, number, Does::Alert));
    let bad = load(&engine, "3.0.0", Does::TrapOnLong);
    let set = |package: &Package, before: &[&Package], again: &[u64]| {
        let before = before.iter().map(|package| (*package).clone()).collect();
        let rules = RuleSet::new(vec![package.clone()]).expect("one").with_predecessors(before);
        Arc::new(rules.with_reinstated(again.iter().map(|reinstatement| (package.clone(), *reinstatement)).collect()))
    };
    let cell = Arc::new(RuleSetCell::new(set(&first, &[], &[])));
    let mut judge = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
    let mut after = |next: Arc<RuleSet>, long| {
        cell.publish(next);
        said(&verdict(&mut judge, long))
    };
    assert_eq!(after(set(&bad, &[], &[]), true).1, "fault", "there is nothing to go back to");
    assert_eq!(after(set(&first, &[], &[]), true).1, "alert");
    assert_eq!(after(set(&bad, &[&second], &[]), true), ("2.0.0".to_owned(), "alert"), "the one that is named");
    assert_eq!(after(set(&bad, &[&second], &[]), false), ("2.0.0".to_owned(), "alert"), "as it was published before");
    assert_eq!(after(set(&bad, &[&second], &[1]), false), ("3.0.0".to_owned(), "no-match"), "it is meant");
    assert_eq!(after(set(&bad, &[&second], &[1]), true), ("2.0.0".to_owned(), "alert"));
    assert_eq!(after(set(&bad, &[&second], &[1]), false), ("2.0.0".to_owned(), "alert"), "a pardon holds once");
    assert_eq!(after(set(&bad, &[&second], &[2]), false), ("3.0.0".to_owned(), "no-match"), "this is another");
    assert_eq!(after(set(&bad, &[&second], &[2]), true), ("2.0.0".to_owned(), "alert"));
    assert_eq!(after(set(&bad, &[], &[2]), true).1, "fault", "what it has gone back to is taken away");
}

#[test]
fn an_event_on_which_both_fail_rolls_nothing_back() {
    let engine = Engine::new().expect("an engine");
    let (first, second) = (load(&engine, "1.0.0", Does::TrapOnLong), load(&engine, "2.0.0", Does::TrapOnLong));
    let cell = Arc::new(RuleSetCell::new(rules(&[&first])));
    let mut judge = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
    cell.publish(rules(&[&second]));
    let fault = verdict(&mut judge, true);
    assert_eq!((said(&fault), fault.notices.is_empty()), (("2.0.0".to_owned(), "fault"), true));
    assert_eq!(said(&verdict(&mut judge, false)), ("2.0.0".to_owned(), "no-match"));
}

#[test]
fn after_its_first_events_a_version_is_not_rolled_back() {
    let engine = Engine::new().expect("an engine");
    let (first, second) = (load(&engine, "1.0.0", Does::Nothing), load(&engine, "2.0.0", Does::TrapOnLong));
    let cell = Arc::new(RuleSetCell::new(rules(&[&first])));
    let mut judge = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
    cell.publish(rules(&[&second]));
    for _ in 0..Limits::PROBATION {
        assert_eq!(said(&verdict(&mut judge, false)), ("2.0.0".to_owned(), "no-match"));
    }
    assert_eq!(said(&verdict(&mut judge, true)), ("2.0.0".to_owned(), "fault"));
}

/// The old version is in the middle of an event that it never ends when the new one is published: it is stopped, and the
/// event is the new one's.
#[test]
fn an_event_on_which_a_replaced_version_fails_is_judged_again_by_the_new_one() {
    let engine = Engine::new().expect("an engine");
    let (old, new) = (load(&engine, "1.0.0", Does::Loop), load(&engine, "2.0.0", Does::Alert));
    let cell = Arc::new(RuleSetCell::new(rules(&[&old])));
    let limits = Limits { time: std::time::Duration::from_secs(2), ..Limits::default() };
    let mut judge = Judge::builder(limits).following(Arc::clone(&cell)).build();
    let verdict = std::thread::scope(|scope| {
        let judging = scope.spawn(|| verdict(&mut judge, false));
        std::thread::sleep(std::time::Duration::from_millis(500));
        cell.publish(rules(&[&new]));
        judging.join().expect("no panic")
    });
    assert_eq!(said(&verdict), ("2.0.0".to_owned(), "alert"));
}

#[test]
fn a_removed_rule_stops_judging_and_a_restored_one_judges_again() {
    let engine = Engine::new().expect("an engine");
    let package = load(&engine, "1.0.0", Does::Alert);
    let cell = Arc::new(RuleSetCell::new(rules(&[&package])));
    let mut judge = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
    let mut accounting = Accounting::new(judge.rules());
    let mut count = |judge: &mut Judge| {
        let judgement = judge.record(record(false).as_bytes());
        accounting.count(&judgement);
        let Judgement::Evaluated { verdicts, .. } = judgement else { panic!("evaluated") };
        verdicts.all().count()
    };
    assert_eq!(count(&mut judge), 1);
    cell.publish(rules(&[]));
    assert_eq!(count(&mut judge), 0);
    cell.publish(rules(&[&package]));
    assert_eq!(count(&mut judge), 1);
    assert_eq!((accounting.evaluated, accounting.rules()[0].alert), (3, 2));
}

/// What is the tenant's own does not begin anew with a new version, and a rule that stays is not touched by the swap of
/// another.
#[test]
fn a_swap_gives_no_new_budget_of_alerts() {
    let engine = Engine::new().expect("an engine");
    let versions = ["1.0.0", "2.0.0"].map(|number| load(&engine, number, Does::Alert));
    let cell = Arc::new(RuleSetCell::new(rules(&[&versions[0]])));
    let limits = Limits { alerts_per_minute: 3, ..Limits::default() };
    let mut judge = Judge::builder(limits).following(Arc::clone(&cell)).build();
    let mut words = Vec::new();
    for swap in 0..6 {
        cell.publish(rules(&[&versions[swap % 2]]));
        words.push(verdict(&mut judge, false).verdict.as_str());
    }
    assert_eq!(words, ["alert", "alert", "alert", "fault", "fault", "fault"]);
}

#[test]
fn a_shadow_counts_what_it_would_have_changed_and_changes_nothing() {
    let engine = Engine::new().expect("an engine");
    let active = load(&engine, "1.0.0", Does::Alert);
    let run = |does, events| {
        let shadow = Shadow::new(load(&engine, "2.0.0", does), 3);
        let rules = RuleSet::new(vec![active.clone()]).expect("one").with_shadows(vec![shadow.clone()]);
        let mut judge = Judge::new(Arc::new(rules), Limits::default());
        for n in 0..events {
            let verdict = verdict(&mut judge, n == 1);
            assert!(matches!(verdict.verdict, Verdict::Alert(_)) && verdict.package == active);
        }
        (shadow.tally.report(), shadow.tally.is_over())
    };
    let (report, is_over) = run(Does::Nothing, 2);
    assert_eq!((report.events, report.both, report.added, report.lost, is_over), (2, 0, 0, 2, false));
    let (report, is_over) = run(Does::Alert, 9);
    assert_eq!((report.events, report.both, report.added, report.lost, is_over), (3, 3, 0, 0, true));
    let (report, is_over) = run(Does::TrapOnLong, 9);
    assert_eq!((report.events, report.lost, is_over), (2, 1, true), "it is over with its first failure");
    assert!(report.fault.expect("it failed").starts_with("trapped"));
}
