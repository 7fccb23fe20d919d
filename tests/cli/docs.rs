//! The pages in docs/ say what the program has, and SECURITY.md which test shows it.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{all_hostile, project, run};

/// Each section of docs/config.md with configs that have an unknown key there: the error lists the keys that there are.
const SECTIONS: [(&str, &[&str]); 10] = [
    ("[enrichment]", &["[enrichment]\nunknown = 1"]),
    ("[[exclusions]]", &["[[exclusions]]\nunknown = 1"]),
    ("[limits]", &["[limits]\nunknown = 1"]),
    ("[activation]", &["[activation]\nunknown = 1"]),
    ("[[tenants]]", &["[[tenants]]\nunknown = 1"]),
    ("[serve]", &["[serve]\nunknown = 1"]),
    ("[serve.tls]", &["[serve.tls]\nunknown = 1"]),
    ("[[serve.clients]]", &["[[serve.clients]]\nunknown = 1"]),
    (
        "[[serve.sinks]]",
        &[
            "[[serve.sinks]]\ntype = \"file\"\nunknown = 1",
            "[[serve.sinks]]\ntype = \"stdout\"\nunknown = 1",
            "[[serve.sinks]]\ntype = \"webhook\"\nunknown = 1",
            "[[serve.sinks]]\ntype = \"jetstream\"\nunknown = 1",
        ],
    ),
    ("[serve.jetstream]", &["[serve.jetstream]\nunknown = 1"]),
];

/// The texts between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys in the first column of the tables in a section.
fn documented(page: &str, section: &str) -> BTreeSet<String> {
    let heading = format!("## `{section}`");
    let lines = page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let rows = lines.filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    rows.flat_map(quoted).collect()
}

#[test]
fn the_page_on_the_config_has_every_key_and_no_other() {
    let page = fs::read_to_string(project("docs/config.md")).expect("the page");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("portcullis.toml");
    let mut sections = BTreeSet::new();
    for (section, configs) in SECTIONS {
        let mut keys = BTreeSet::new();
        for config in configs {
            fs::write(&file, config).expect("written");
            let ended = run(["rules", "--config", file.to_str().expect("UTF-8")]);
            let (_, expected) = ended.stderr.split_once("unknown field `unknown`, expected ").expect(&ended.stderr);
            keys.extend(quoted(expected));
        }
        if section == "[[serve.sinks]]" {
            keys.insert("type".to_owned());
        }
        assert_eq!(documented(&page, section), keys, "{section}");
        sections.insert(section);
    }
    let headings = page.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'));
    assert_eq!(headings.collect::<BTreeSet<_>>(), sections);
}

/// The table of SECURITY.md is of tests that are there, and has every component.
#[test]
fn the_table_of_limits_is_complete() {
    let table = fs::read_to_string(project("SECURITY.md")).expect("SECURITY.md");
    let rows: Vec<&str> =
        table.lines().skip_while(|line| !line.contains("Wall by wall")).filter(|line| line.starts_with("| ")).collect();
    let cells: Vec<Vec<&str>> =
        rows.iter().map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let walls: Vec<&Vec<&str>> =
        cells.iter().filter(|cells| !cells[2].is_empty() && cells[0] != "what is tried").collect();
    assert!(walls.len() >= 25, "{} rows", walls.len());
    for name in all_hostile() {
        assert!(walls.iter().any(|cells| cells[0].starts_with(&format!("`{name}`"))), "{name} is not in the table");
    }
    let sources = |folder: &str| -> String {
        let files = fs::read_dir(project(folder)).expect("the folder");
        files.map(|file| fs::read_to_string(file.expect("a file").path()).unwrap_or_default()).collect()
    };
    let folders = ["host/portcullis/src/pipeline", "host/portcullis/src/incidents", "host/serve/src/stats"];
    let in_crate = folders.map(sources).concat();
    let of_tests = |module: &str| -> String {
        let files = ["cli", "service", "embedding"].map(|target| project(&format!("tests/{target}/{module}.rs")));
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    };
    for cell in walls.iter().flat_map(|cells| cells[2].split(", ")).filter(|cell| cell.starts_with('`')) {
        let name = cell.trim_matches('`').trim_end_matches('*');
        let (source, name) = match name.split_once("::") {
            Some((module, name)) => (of_tests(module), name),
            None => (in_crate.clone(), name),
        };
        assert!(source.contains(&format!("fn {name}")), "no test is called {cell}");
    }
}
