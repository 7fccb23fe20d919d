//! Two clean builds of the rules give the same bytes, wherever the project lies.

use std::fs;
use std::path::Path;

use crate::support::{exported, project};

#[path = "../host/build/guests.rs"]
mod guests;
#[path = "../host/src/package/sections.rs"]
mod sections;

#[test]
fn a_clean_build_elsewhere_gives_the_same_packages() {
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let workspace = elsewhere.path().canonicalize().expect("it exists").join("another-place");
    fs::create_dir(&workspace).expect("a folder");
    for part in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "host", "rules-wasm", "wit"] {
        copy(&project(part), &workspace.join(part));
    }
    // The host's manifest names it.
    fs::create_dir(workspace.join("tests"))
        .and_then(|()| fs::write(workspace.join("tests/main.rs"), ""))
        .expect("a file");
    let rules = guests::discover(&workspace).expect("the rules");
    let target_dir = workspace.join("target");
    guests::compile(&workspace, &target_dir, &rules).expect("the rules build");
    let mut rebuilt: Vec<Vec<u8>> =
        rules.iter().map(|rule| guests::package(&target_dir, rule).expect("a package")).collect();

    let (_folder, files) = exported();
    let mut embedded: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("exported")).collect();
    rebuilt.sort();
    embedded.sort();
    assert_eq!(embedded.len(), 2);
    assert!(rebuilt == embedded, "the packages differ");
    let places = [project("").canonicalize().expect("it exists"), workspace].map(|path| path.display().to_string());
    for package in &embedded {
        for place in &places {
            assert!(!package.windows(place.len()).any(|window| window == place.as_bytes()), "{place} is in a package");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).expect("a file");
    }
}
