//! `portcullis test`: runs the test cases of rules in the sandbox.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use portcullis::alert::printable;
use portcullis::rule_set::read_packages;
use portcullis::test_cases::{self, TestResult};
use portcullis::{Engine, Package, PackageLimits, embedded};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;
use crate::setup::GateArgs;

const EXAMPLES: &str = "\
Examples:
  # Test all packages in a folder
  portcullis test rules/

  # Run only the test cases of one rule
  portcullis test rules/ --filter Custom.Pod.Exec

  # Write a report for a CI system
  portcullis test rules/ --format junit > report.xml";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packages, or folders of packages [default: the embedded rules]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Format of the results
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Run only test cases whose name, or whose rule's ID, contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Human-readable text
    Text,
    /// One JSON object
    Json,
    /// JUnit XML
    Junit,
}

/// A package and the results of its test cases.
type Tested = (Package, Vec<TestResult>);

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let limits = args.gate.limits()?;
    let engine = Engine::with_stack(limits.stack).or_exit(Exit::Setup)?;
    let wanted = args.filter.as_deref().unwrap_or("");
    let tested: Vec<Tested> = packages(args, &engine, limits.package)?
        .into_iter()
        .map(|package| {
            let whole_rule = package.rule_id().contains(wanted);
            let results = test_cases::run(&package, limits.limits, |case| whole_rule || case.name.contains(wanted));
            (package, results)
        })
        .filter(|(_, results)| args.filter.is_none() || !results.is_empty())
        .collect();
    let all = || tested.iter().flat_map(|(_, results)| results);
    let passed = all().filter(|result| result.passed()).count();
    let failed = all().count() - passed;
    if passed + failed == 0 {
        let nothing = match &args.filter {
            Some(filter) => anyhow!("--filter: no test case has {filter:?} in its name or its rule's ID"),
            None => anyhow!("no test cases: no spec has Tests"),
        };
        return Err(Failure::new(Exit::Usage, nothing));
    }
    let mut output = Output::standard();
    output.write(&match args.format {
        Format::Text => text(&tested, passed, failed),
        Format::Json => json(&tested, passed, failed).to_string() + "\n",
        Format::Junit => junit(&tested).or_exit(Exit::Io)?,
    })?;
    output.flush()?;
    Ok(if failed == 0 { Exit::Done } else { Exit::TestFailed })
}

/// Loads the packages of the paths, or the embedded ones without a path.
fn packages(args: &Args, engine: &Engine, limits: PackageLimits) -> Result<Vec<Package>, Failure> {
    if args.paths.is_empty() {
        return embedded::packages(engine).or_exit(Exit::Setup);
    }
    let compiler = args.gate.compiler(engine, limits)?;
    let mut packages = Vec::new();
    for path in &args.paths {
        packages.extend(read_packages(&compiler, path).or_exit(Exit::Setup)?);
    }
    Ok(packages)
}

fn text(tested: &[Tested], passed: usize, failed: usize) -> String {
    let mut text = String::new();
    for (package, results) in tested {
        text.push_str(&format!("{} {}\n", printable(package.rule_id()), package.version()));
        if results.is_empty() {
            text.push_str("    has no test cases\n");
        }
        for result in results {
            let word = if result.passed() { "pass" } else { "FAIL" };
            text.push_str(&format!("    {word}  {}\n", printable(&result.name)));
            if !result.passed() {
                text.push_str(
                    &details(result).lines().map(|line| format!("          {}\n", printable(line))).collect::<String>(),
                );
            }
        }
    }
    text.push_str(&format!("{passed} of {} test cases passed\n", passed + failed));
    text
}

/// Returns what a failed test case expected, what it found, and the event that the rule was shown.
fn details(result: &TestResult) -> String {
    let event = result.event.as_deref().unwrap_or("none");
    format!("expected {}\nfound    {}\nevent\n{event}", result.expectation(), result.found())
}

fn json(tested: &[Tested], passed: usize, failed: usize) -> Value {
    let case = |result: &TestResult| {
        json!({
            "name": result.name,
            "passed": result.passed(),
            "expected": result.expectation(),
            "found": result.found(),
            "event": result.event.as_deref().and_then(|event| serde_json::from_str::<Value>(event).ok()),
        })
    };
    let rule = |(package, results): &Tested| {
        json!({
            "rule_id": package.rule_id(),
            "version": package.version().to_string(),
            "test_cases": results.iter().map(case).collect::<Vec<_>>(),
        })
    };
    json!({"passed": passed, "failed": failed, "rules": tested.iter().map(rule).collect::<Vec<_>>()})
}

fn junit(tested: &[Tested]) -> anyhow::Result<String> {
    let mut report = Report::new("portcullis test");
    for (package, results) in tested {
        let mut suite = TestSuite::new(format!("{} {}", package.rule_id(), package.version()));
        for result in results {
            let mut status = TestCaseStatus::success();
            if !result.passed() {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(format!("expected {}, found {}", result.expectation(), result.found()));
                status.set_description(details(result));
            }
            let mut case = TestCase::new(&*result.name, status);
            case.set_classname(package.rule_id());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string().context("cannot write the results as JUnit XML")
}
