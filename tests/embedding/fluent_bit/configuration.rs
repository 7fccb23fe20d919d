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

    let tail = &named("inputs", "tail")[0];
    assert_eq!((&tail["tag"], wasm["match"].as_str()), (&wasm["match"], Some("kube-audit")));
    let parser = config["parsers"].as_array().expect("a list").iter().find(|parser| parser["name"] == tail["parser"]);
    let parser = parser.expect("the parser");
    assert_eq!(parser["format"], "json");
    assert!(parser.get("time_key").is_none() || parser["time_keep"] == true, "the record would lose its time");

    let rewrite = &named("filters", "rewrite_tag")[0];
    assert_eq!(rewrite["match"], tail["tag"]);
    let rule = rewrite["rule"].as_str().expect("a rule");
    let [key, regex, new_tag, keep] = rule.split(' ').collect::<Vec<_>>()[..] else { panic!("{rule}") };
    let path = key.strip_prefix('$').and_then(|key| key.strip_suffix("']")).and_then(|key| key.split_once("['"));
    let (member, verdict) = path.expect("a member of a member");
    let answer: Value = serde_json::from_str(&Host::new().text(MATCHING)).expect("JSON");
    assert_eq!(Some(regex), answer[member][verdict].as_str().map(|verdict| format!("^{verdict}$")).as_deref());
    assert_eq!((new_tag, keep), ("alert.$TAG", "true"));
    let outputs = pipeline["outputs"].as_array().expect("outputs");
    let matched: Vec<_> = outputs.iter().filter_map(|output| output["match"].as_str()).collect();
    assert_eq!(matched, ["alert.kube-audit", "kube-audit"]);
}
