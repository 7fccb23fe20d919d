//! The order of the house: what an embedder and the image get, and that no files import each other in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::project;
use sources::sources;

#[path = "../support/sources.rs"]
mod sources;

/// What an embedder of the library must not have to build: HTTP, TLS, TOML, command lines, NATS.
const NOT_FOR_EMBEDDERS: [&str; 12] = [
    "async-nats",
    "axum",
    "clap",
    "http",
    "hyper",
    "hyper-util",
    "reqwest",
    "rustls",
    "tokio",
    "toml",
    "ureq",
    "winnow",
];

#[test]
fn an_embedder_builds_no_http_tls_toml_command_line_or_nats() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(project("")).args(["tree", "--locked", "--package", "portcullis", "--no-default-features"]);
    let tree = cargo.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]).output().expect("cargo");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("UTF-8");
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("wasmtime"), "{tree}");
    let wrong: Vec<_> = NOT_FOR_EMBEDDERS.iter().filter(|name| crates.contains(**name)).collect();
    assert!(wrong.is_empty(), "the library needs {wrong:?}");
}

/// The modules of a crate, by their paths such as `read::place`, each with its code.
type Modules = BTreeMap<Vec<String>, String>;

fn modules(folder: &Path) -> Modules {
    let mut modules = Modules::new();
    for file in sources(folder) {
        let inside = file.strip_prefix(folder).expect("inside").with_extension("");
        let mut path: Vec<String> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|name| name == "tests") {
            continue;
        }
        path.pop_if(|name| matches!(&**name, "mod" | "lib" | "main"));
        let source = fs::read_to_string(&file).expect("a source file");
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        modules.insert(path, code.join("\n"));
    }
    modules
}

/// The paths that the `use` statements of a text name, without braces: `pub` ones are re-exports.
fn uses(code: &str) -> Vec<(bool, Vec<String>)> {
    let mut uses = Vec::new();
    for statement in code.split(';') {
        let Some((before, path)) = statement.rsplit_once("use ") else { continue };
        let before = before.rsplit('\n').next().unwrap_or_default().trim();
        if before.is_empty() || before.starts_with("pub") {
            let is_exported = !before.is_empty();
            uses.extend(expanded(path.trim()).into_iter().map(|path| (is_exported, path)));
        }
    }
    uses
}

/// Writes `a::{b, c::{d}}` out as `a::b` and `a::c::d`.
fn expanded(path: &str) -> Vec<Vec<String>> {
    let names = |path: &str| -> Vec<String> {
        let path = path.split(" as ").next().unwrap_or_default();
        path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let Some((before, list)) = path.split_once('{') else { return vec![names(path)] };
    let list = list.trim_end().strip_suffix('}').unwrap_or(list);
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(&list[std::mem::replace(&mut start, at + 1)..at]),
            _ => {}
        }
    }
    items.push(&list[start..]);
    let items = items.into_iter().filter(|item| !item.trim().is_empty());
    items.flat_map(|item| expanded(item.trim())).map(|item| [names(before), item].concat()).collect()
}

/// Returns the path from the crate's root that a path in a module names, if it is one of this crate.
fn absolute(module: &[String], path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => Some([&module[..module.len() - ups], &path[ups..]].concat()),
        first => {
            let child = [module, &[first.to_owned()]].concat();
            modules.contains_key(&child).then(|| [module, path].concat())
        }
    }
}

/// Returns the modules that each module of a crate imports from, also through re-exports.
fn imports(folder: &str) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let all = modules(&project(folder).join("src"));
    let (mut exported, mut imported) = (BTreeMap::new(), Vec::new());
    for (module, code) in &all {
        for (is_exported, path) in uses(code) {
            let Some(path) = absolute(module, &path, &all) else { continue };
            match path.last() {
                Some(name) if is_exported => {
                    exported.insert([&**module, std::slice::from_ref(name)].concat(), path);
                }
                _ => imported.push((module, path)),
            }
        }
    }
    let mut imports: BTreeMap<_, BTreeSet<_>> = all.keys().map(|module| (module.clone(), BTreeSet::new())).collect();
    for (module, mut path) in imported {
        for _ in 0..8 {
            path = exported.get(&path).cloned().unwrap_or(path);
        }
        let owner = (0..=path.len()).rev().map(|length| path[..length].to_vec()).find(|path| all.contains_key(path));
        if let (Some(owner), Some(imports)) = (owner.filter(|owner| owner != module), imports.get_mut(module)) {
            imports.insert(owner);
        }
    }
    imports
}

#[test]
fn no_files_import_each_other_in_circles() {
    for name in ["host/portcullis", "host/serve", "host/cli", "rules-wasm/event"] {
        let mut imports = imports(name);
        assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 30, "the imports of {name} are found");
        // Removes files that import removed files only. What is left are circles and what is above them.
        loop {
            let is_done = |(file, imports): (&Vec<String>, &BTreeSet<_>)| imports.is_empty().then(|| file.clone());
            let done: BTreeSet<Vec<String>> = imports.iter().filter_map(is_done).collect();
            if done.is_empty() {
                break;
            }
            imports.retain(|file, _| !done.contains(file));
            for imports in imports.values_mut() {
                imports.retain(|import| !done.contains(import));
            }
        }
        assert!(imports.is_empty(), "files of {name} import each other in a circle: {imports:#?}");
    }
}

/// The image is built from a part of the repository. It has whatever the sources include.
#[test]
fn the_image_is_built_from_all_that_the_sources_include() {
    let list = fs::read_to_string(project("deploy/Dockerfile.dockerignore")).expect("the list");
    let taken: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let root = project("").canonicalize().expect("it exists");
    let mut files = BTreeSet::new();
    for file in sources(&project("host/cli/src")) {
        let source = fs::read_to_string(&file).expect("a source file");
        let paths = source.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
        for path in paths.filter(|path| path.starts_with("../../../")) {
            let found = file.parent().expect("a folder").join(path).canonicalize().expect(path);
            files.insert(found.strip_prefix(&root).expect("inside").to_str().expect("UTF-8").to_owned());
        }
    }
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert!(
            taken.iter().any(|part| file.starts_with(part)),
            "{file} is in no part that Dockerfile.dockerignore takes"
        );
    }
}
