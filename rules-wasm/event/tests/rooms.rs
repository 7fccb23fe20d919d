//! The order of the crate's rooms: each uses only rooms below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms, from the top down.
const ROOMS: [&str; 6] = ["envelope", "record", "event", "json", "scan", "address"];

/// Returns the first names after each occurrence of a prefix, such as `super::`, also in braces.
fn names_behind(prefix: &str, source: &str) -> BTreeSet<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut names = BTreeSet::new();
    for (at, _) in source.match_indices(prefix) {
        let behind = &source[at + prefix.len()..];
        match behind.strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) => names.extend(list.split(',').map(name)),
            None => _ = names.insert(name(behind)),
        }
    }
    names
}

/// Returns the files that each file imports, named like `json/value`. A room's own name is that of its `mod.rs`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::new();
    for room in ROOMS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
        let files: BTreeMap<String, String> = fs::read_dir(folder)
            .expect("a folder for each room")
            .map(|entry| entry.expect("a file").path())
            .map(|path| {
                let source = fs::read_to_string(&path).expect("a source file");
                let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
                let code = code.collect::<Vec<_>>().join("\n");
                (path.file_stem().expect("a name").to_string_lossy().into_owned(), code)
            })
            .collect();
        for (file, source) in &files {
            let siblings = if file == "mod" { names_behind("use ", source) } else { names_behind("super::", source) };
            let siblings = siblings.into_iter().filter(|name| files.contains_key(name));
            let mut all: BTreeSet<String> = siblings.map(|name| format!("{room}/{name}")).collect();
            all.extend(names_behind("crate::", source));
            imports.insert(if file == "mod" { room.to_owned() } else { format!("{room}/{file}") }, all);
        }
    }
    imports
}

#[test]
fn a_module_uses_only_modules_below_it() {
    let place = |name: &str| ROOMS.iter().position(|room| *room == name);
    for (file, imports) in imports() {
        let own = place(file.split('/').next().expect("a room"));
        for import in imports.iter().filter(|import| !import.contains('/')) {
            assert!(place(import) > own, "src/{file}.rs uses crate::{import}, which is not a room below its own");
        }
    }
}
