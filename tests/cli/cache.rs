//! Native code that is kept: used again, never if somebody else could have written it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::{Ended, exported, run, sample};

/// Runs the exported rules with a cache, under a config with these limits.
fn cached(rules: &Path, cache: &Path, limits: &str) -> Ended {
    let config = rules.join("config.toml");
    fs::write(&config, format!("[limits]\n{limits}\n")).expect("written");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (rules, cache, config) = (text(rules), text(cache), text(&config));
    run(["run", &sample("eks.ndjson"), "--rules", &rules, "--cache", &cache, "--config", &config, "--quiet"])
}

fn kept(cache: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(cache).expect("a folder").map(|file| file.expect("a file").path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_none()).collect();
    files.sort();
    files
}

/// So little memory that no component can be compiled.
const NO_COMPILER: &str = "compile-memory = '64 MiB'";

#[test]
fn a_compiled_package_is_not_compiled_again() {
    let (rules, _) = exported();
    let cache = rules.path().join("cache");
    let compiled = cached(rules.path(), &cache, "");
    assert_eq!((compiled.code, kept(&cache).len()), (Some(0), 2), "{}", compiled.stderr);
    assert!(!compiled.stdout.is_empty());
    let from_cache = cached(rules.path(), &cache, NO_COMPILER);
    assert_eq!((from_cache.code, from_cache.stdout), (Some(0), compiled.stdout), "{}", from_cache.stderr);
    let without = cached(rules.path(), &rules.path().join("empty"), NO_COMPILER);
    assert_eq!(without.code, Some(3), "the limit is one: {}", without.stderr);
}

/// What one command has compiled, the next uses, within the limits on time and memory of neither.
#[test]
fn test_inspect_and_pack_share_a_cache() {
    let (rules, files) = exported();
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (cache, config) = (text(&rules.path().join("cache")), text(&rules.path().join("config.toml")));
    fs::write(&config, format!("[limits]\n{NO_COMPILER}\n")).expect("written");
    let ended = run(["pack", &text(&files[0]), "-o", &text(&rules.path().join("packed")), "--cache", &cache]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for command in ["inspect", "test"] {
        let of = |cache: &str| run([command, &text(&files[0]), "--cache", cache, "--config", &config]).code;
        assert_eq!(of(&text(&rules.path().join("empty"))), Some(3), "the limit is one");
        assert_eq!(of(&cache), Some(0), "{command}");
    }
}

#[test]
fn a_damaged_or_foreign_cache_entry_is_compiled_again() {
    let (rules, _) = exported();
    let cache = rules.path().join("cache");
    let compiled = cached(rules.path(), &cache, "");
    let [first, second] = &kept(&cache)[..] else { panic!("two rules") };
    let (one, other) = (fs::read(first).expect("kept"), fs::read(second).expect("kept"));
    let mut changed = one.clone();
    changed[1000] ^= 1;
    for (what, bytes) in [("a changed byte", &changed[..]), ("another rule's code", &other), ("a part", &one[..5000])] {
        fs::write(first, bytes).expect("written");
        assert_eq!(cached(rules.path(), &cache, NO_COMPILER).code, Some(3), "{what} is not used");
        assert_eq!(cached(rules.path(), &cache, "").stdout, compiled.stdout, "{what}");
        assert!(fs::read(first).expect("kept") == one, "{what} is replaced");
    }
    fs::set_permissions(first, Permissions::from_mode(0o666)).expect("permitted");
    assert_eq!(cached(rules.path(), &cache, NO_COMPILER).code, Some(3), "what others can write to is not used");
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    let (rules, _) = exported();
    let cache = rules.path().join("cache");
    fs::create_dir(&cache).expect("made");
    fs::set_permissions(&cache, Permissions::from_mode(0o777)).expect("permitted");
    let file = rules.path().join("file");
    fs::write(&file, "").expect("written");
    for (folder, reason) in [(&cache, "others can write to it"), (&file, "it is not a folder")] {
        let ended = cached(rules.path(), folder, "");
        assert_eq!(ended.code, Some(3));
        let expected = format!("portcullis: {}: cannot be used as a cache: {reason}. ", folder.display());
        assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    }
}
