//! The configuration in `deploy/fluent-bit`.

use std::fs;

use serde_json::{Value, json};

use super::{FUNCTION, Host, MATCHING};
use crate::support::project;

/// The configuration that is ready to be used names what the module has.
#[test]
fn the_configuration_fits_the_module() {
    let text = fs::read_to_string(project("deploy/fluent-bit/fluent-bit.yaml")).expect("the configuration");
    let config: Value = serde_saphyr::from_str(&text).expect("YAML");
    let pipeline = &config["pipeline"];
    let named = |section: &str, name: &str| {
        let found = pipeline[section].as_array().expect("a list").iter().filter(|one| one["name"] == name);
        found.cloned().collect::<Vec<_>>()
    };

    let wasm = &named("filters", "wasm")[..];
    let [wasm] = wasm else { panic!("{wasm:?}") };
    assert_eq!((&wasm["function_name"], &wasm["event_format"]), (&json!(FUNCTION), &json!("json")));
    let folder = wasm["wasm_path"].as_str().and_then(|path| path.strip_suffix("/fluent-bit.wasm"));
    assert!(folder.is_some(), "{wasm}");
    assert_eq!(wasm["accessible_paths"].as_str(), folder, "a folder that is there");
    // The deepest records take 44 KiB of it in the runtime that Fluent Bit has.
    assert!(wasm["wasm_stack_size"].as_u64().is_some_and(|size| size >= 64 << 10), "{wasm}");

    // The line as it is. A parser would make MessagePack of it, whose reader in Fluent Bit 5.1 stops at a record of
    // exactly 64 levels and loses what follows in the chunk: whoever may create objects could hide others.
    let tail = &named("inputs", "tail")[0];
    assert_eq!((&tail["tag"], tail.get("parser")), (&json!("kube-audit"), None));

    // The input `http` makes `_` of what is no letter or digit in a path (`in_http`'s `http_prot.c`).
    let tags = "^kube[-_]audit$";
    assert_eq!(wasm["match_regex"], tags);
    // `rewrite_tag` would lose alerts at each stop and reload.
    assert_eq!(pipeline["filters"].as_array().map(Vec::len), Some(1));
    let [alerts, audit] = pipeline["outputs"].as_array().expect("outputs").as_slice() else { panic!("two outputs") };
    assert_eq!((&alerts["match_regex"], &audit["match_regex"]), (&json!(tags), &json!(tags)));
    // Two outputs that make one folder lose a chunk at times. The steps in the docs make it.
    assert_eq!((alerts.get("mkdir"), audit.get("mkdir")), (None, None));
    let [grep] = alerts["processors"]["logs"].as_array().expect("a list").as_slice() else { panic!("{alerts}") };
    let regex = grep["regex"].as_str().expect("a key and an expression");
    let (key, regex) = regex.split_once(' ').expect("a key and an expression");
    let path = key.strip_prefix('$').and_then(|key| key.strip_suffix("']")).and_then(|key| key.split_once("['"));
    let (member, verdict) = path.expect("a member of a member");
    let answer: Value = serde_json::from_str(&Host::new().text(MATCHING)).expect("JSON");
    assert_eq!(Some(regex), answer[member][verdict].as_str().map(|verdict| format!("^{verdict}$")).as_deref());
    let template = audit["template"].as_str().and_then(|template| template.strip_prefix('{')?.strip_suffix('}'));
    assert_eq!(template, Some(tail["key"].as_str().unwrap_or("log")), "the line as the API server wrote it");
}
