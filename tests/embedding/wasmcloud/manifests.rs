//! The manifests in `deploy/wasmcloud` name what the component has.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use wasmtime::component::types::ComponentItem;

use super::broker::{COMPONENT, GROUP, SUBJECT, SUBSCRIPTION};
use super::functions;
use crate::support::{exported, project, text};

fn manifest(name: &str) -> Value {
    let text = fs::read_to_string(project("deploy/wasmcloud").join(name)).expect("read");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// The interfaces that functions of the component are in, as `wasmcloud:messaging/handler@0.2.0`.
fn interfaces() -> [BTreeSet<String>; 2] {
    let (engine, world) = (COMPONENT.engine(), COMPONENT.component_type());
    let with_functions =
        |(name, item): (&str, &ComponentItem)| (functions(name, item).len() > 1).then(|| name.to_owned());
    [
        world.imports(engine).filter_map(|(name, item)| with_functions((name, &item.ty))).collect(),
        world.exports(engine).filter_map(|(name, item)| with_functions((name, &item.ty))).collect(),
    ]
}

/// The interfaces that part of a manifest names.
fn named(part: &Value, version: &str) -> BTreeSet<String> {
    let interfaces = part["interfaces"].as_array().expect("a list");
    let (namespace, package) = (text(&part["namespace"]), text(&part["package"]));
    interfaces.iter().map(|interface| format!("{namespace}:{package}/{}@{version}", text(interface))).collect()
}

#[test]
fn the_manifest_of_wadm_links_what_the_component_has() {
    let manifest = manifest("wadm.yaml");
    assert_eq!((&manifest["apiVersion"], &manifest["kind"]), (&"core.oam.dev/v1beta1".into(), &"Application".into()));
    let [component, provider] = manifest["spec"]["components"].as_array().expect("a list").as_slice() else {
        panic!("a component and a provider: {manifest}")
    };
    assert_eq!((&component["type"], &provider["type"]), (&"component".into(), &"capability".into()));
    let (folder, _) = exported();
    let image = text(&component["properties"]["image"]);
    let image = folder.path().join(image.strip_prefix("file://./").expect("a file beside the manifest"));
    assert!(image.is_file(), "{} is what is exported", image.display());

    let link = |part: &Value, to: &Value| {
        let traits = part["traits"].as_array().expect("a list");
        let mut links = traits.iter().filter(|one| one["type"] == "link").map(|link| link["properties"].clone());
        let (link, none) = (links.next().expect("a link"), links.next());
        assert_eq!((&link["target"]["name"], none), (&to["name"], None));
        link
    };
    let [imports, exports] = interfaces();
    let (alerts, records) = (link(component, provider), link(provider, component));
    assert_eq!((named(&alerts, "0.2.0"), named(&records, "0.2.0")), (imports, exports));
    let subscriptions = &records["source"]["config"][0]["properties"]["subscriptions"];
    assert_eq!(text(subscriptions), format!("{SUBSCRIPTION}|{GROUP}"));
    assert_eq!(alerts["target"]["config"], Value::Null, "what alerts go out by subscribes to nothing");
}

#[test]
fn the_manifest_of_a_workload_names_what_the_component_has() {
    let manifest = manifest("workloaddeployment.yaml");
    let kind = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    assert_eq!(kind, ("runtime.wasmcloud.dev/v1alpha1".to_owned(), "WorkloadDeployment".to_owned()));
    let spec = &manifest["spec"]["template"]["spec"];
    assert_eq!(spec["components"].as_array().map(Vec::len), Some(1));
    let [messaging] = spec["hostInterfaces"].as_array().expect("a list").as_slice() else {
        panic!("it needs one thing of its host: {spec}")
    };
    let [imports, exports] = interfaces();
    assert_eq!(named(messaging, &text(&messaging["version"])), imports.union(&exports).cloned().collect());
    let config = &messaging["config"];
    assert_eq!((text(&config["subscriptions"]), text(&config["consumer_group"])), (SUBSCRIPTION.into(), GROUP.into()));
}

/// An alert that came back as a record would be a message without end.
#[test]
fn no_subscription_includes_alerts() {
    let first = SUBSCRIPTION.split('.').next().expect("a token");
    assert!(!["*", ">", "alerts"].contains(&first) && SUBJECT.starts_with(&format!("{first}.")));
}
