//! Packages: what they say of themselves, and what is refused with which words.

use std::fs;

use serde_json::Value;
use wasmparser::Payload;

use crate::support::{
    Ended, NODEPORT, OPEN_MANIFEST, SYSTEM_PRINCIPAL, component, exported, hostile, json_lines, package, project, run,
    spec,
};

const RULE_INTERFACE: &str = "portcullis:detection/rule@1.0.0";

/// Imports and exports as wasmparser sees them; what the command says of them comes from wasmtime.
fn imports_and_exports(wasm: &[u8]) -> (Vec<String>, Vec<String>) {
    wasmparser::Validator::new().validate_all(wasm).expect("a valid component");
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0);
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload.expect("a component") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|import| import.expect("an import").name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(section.into_iter().map(|export| export.expect("an export").name.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[test]
fn the_rules_import_nothing_export_one_interface_and_are_small() {
    let (_folder, files) = exported();
    assert_eq!(files.len(), 2);
    for file in &files {
        let bytes = fs::read(file).expect("exported");
        let name = file.display();
        assert!(bytes.len() <= 150_000, "{name} has {} bytes", bytes.len());
        assert_eq!(imports_and_exports(&bytes), (vec![], vec![RULE_INTERFACE.to_owned()]), "{name}");

        let ended = run(["inspect", file.to_str().expect("UTF-8"), "--format", "json"]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
        let said = &json_lines(&ended.stdout)[0];
        assert_eq!(
            (&said["imports"], &said["exports"]),
            (&Value::from(Vec::<Value>::new()), &Value::from([RULE_INTERFACE].map(Value::from).to_vec()))
        );
        assert_eq!(said["world"], "portcullis:detection/detection@1.0.0");
        assert_eq!(said["sizes"]["package"], bytes.len());
    }
}

#[test]
fn a_package_holds_the_published_spec_byte_for_byte() {
    let (_folder, files) = exported();
    for (rule_id, folder) in [(NODEPORT, "nodeport-service"), (SYSTEM_PRINCIPAL, "system-principal-public-ip")] {
        let file = files.iter().find(|file| file.ends_with(format!("{rule_id}@1.0.0.wasm"))).expect(rule_id);
        let bytes = fs::read(file).expect("exported");
        let spec = fs::read(project("rules-wasm").join(folder).join("rule.yml")).expect("the spec");
        assert!(bytes.windows(spec.len()).any(|window| window == spec), "{rule_id}");
    }
}

#[test]
fn inspect_describes_a_package() {
    let (folder, _files) = exported();
    let ended = run([std::ffi::OsStr::new("inspect"), folder.path().as_os_str()]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let text = ended.stdout.replace(folder.path().to_str().expect("UTF-8"), "DIR");
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "[sha256]"), (r"\d+ bytes = \d+ component", "[n] bytes = [n] component")]}, {
        insta::assert_snapshot!(text);
    });
}

#[test]
fn export_does_not_overwrite_files() {
    let (folder, files) = exported();
    let export = || run([std::ffi::OsStr::new("export"), folder.path().as_os_str()]);
    assert_eq!(export().code, Some(0), "the same files again are no change");
    fs::write(&files[0], "mine").expect("written");
    let ended = export();
    let message = format!(
        "portcullis: {}: already exists with other content; overwrite it with --force, or choose another version or file\n",
        files[0].display()
    );
    assert_eq!((ended.code, ended.stderr), (Some(4), message));
    assert_eq!(fs::read(&files[0]).expect("there"), b"mine");

    let detector = folder.path().join("pipelines/detector.wasm");
    fs::write(&detector, "of an earlier version").expect("written");
    let forced = run([std::ffi::OsStr::new("export"), folder.path().as_os_str(), "--force".as_ref()]);
    assert_eq!((forced.code, &*forced.stderr), (Some(0), ""));
    assert!(fs::read(&files[0]).expect("there").starts_with(b"\0asm"));
    assert!(fs::read(&detector).expect("there").starts_with(b"\0asm"));
}

/// Runs the command on a file with these bytes as the only rule.
fn refused(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let ends: Vec<Ended> = vec![
        run(["run", "--rules", path]),
        run(["inspect", path]),
        run(["test", path]),
        run(["explain", "--rules", path]),
    ];
    for ended in &ends {
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{}", ended.stderr);
        assert_eq!(ended.stderr, ends[0].stderr);
    }
    let message = ends[0].stderr.strip_prefix(&format!("portcullis: {path}: ")).expect("the file is named");
    message.trim_end().to_owned()
}

const ANSWERS: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "portcullis:detection/rule@1.0.0#evaluate") (param i32 i32) (result i32) i32.const 16))"#;

#[test]
fn a_component_of_another_world_is_refused() {
    let wat = |text: &str| wat::parse_str(text).expect("the text is right");
    let whole = hostile("loops");
    for (bytes, message) in [
        (&b""[..], "not a rule's component: it is not WebAssembly: it does not begin with the bytes \\0asm"),
        (b"hello", "not a rule's component: it is not WebAssembly: it does not begin with the bytes \\0asm"),
        (
            b"\n(component)",
            "not a rule's component: it is WebAssembly's text format; a package is binary. Translate it, for instance with `wasm-tools parse`",
        ),
        (
            &wat("(module)"),
            "not a rule's component: it is a core module, not a component. Make a component of it, for instance with `wasm-tools component new`",
        ),
        (&whole[..whole.len() / 2], "not a rule's component: it is not valid WebAssembly: unexpected end-of-file"),
        (
            &wat(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#),
            "not a rule's component: it imports wasi:cli/environment@0.2.0; a rule imports nothing",
        ),
        (
            &wat("(component)"),
            "not a rule's component: it exports nothing; a rule exports portcullis:detection/rule@1.0.0 and nothing else (world portcullis:detection/detection@1.0.0)",
        ),
        (
            &wat(
                r#"(component (component $c) (instance $i (instantiate $c)) (export "wasi:http/handler@0.2.0" (instance $i)))"#,
            ),
            "not a rule's component: it exports wasi:http/handler@0.2.0; a rule exports portcullis:detection/rule@1.0.0 and nothing else (world portcullis:detection/detection@1.0.0)",
        ),
        (
            &component(ANSWERS),
            "not a package: it has 0 custom sections portcullis:spec; expected one. A package is a component with its spec and manifest",
        ),
        (
            &package(&hostile("loops"), &spec("Second"), OPEN_MANIFEST),
            "not a package: it has 2 custom sections portcullis:spec; expected one. A package is a component with its spec and manifest",
        ),
    ] {
        let found = refused(bytes);
        assert!(found.starts_with(message), "{found}\nexpected {message}");
    }
}

#[test]
fn an_invalid_spec_is_refused_with_the_key() {
    let with = |line: &str| spec("A") + line + "\n";
    let mut report = String::new();
    for spec in [
        with("Colour: red"),
        with("Tests:\n  - Name: a\n    ExpectedResult: true\n    Log: {}\n    Logs: {}"),
        with("Detection: []"),
        with("InlineFilters: []"),
        with("Tests: [{Name: a, ExpectedResult: true, Log: {}, Mocks: [{objectName: f, returnValue: x}]}]"),
        with("CreateAlert: false"),
        with("Threshold: 0"),
        with("Severity: High"),
        spec("A").replace("Low", "Severe"),
        spec("A").replace("Severity: Low\n", ""),
        spec("A").replace("true", "yes"),
        spec("A").replace("Amazon.EKS.Audit", "AWS.CloudTrail"),
        spec("A").replace("rule\n", "policy\n"),
        spec("../A"),
        "AnalysisType: [".to_owned(),
    ] {
        report += &format!("{}\n\n", refused(&package(&component(ANSWERS), &spec, OPEN_MANIFEST)));
    }
    insta::assert_snapshot!(report);
}

#[test]
fn every_key_of_panthers_rule_schema_is_read() {
    let spec = spec("A")
        + "Description: d\nDedupPeriodMinutes: 15\nDisplayName: n\nOnlyUseBaseRiskScore: false\nOutputIds: [o]\n\
           CreatedBy: c\nReference: r\nRunbook: b\nStatus: Experimental\nSummaryAttributes: [verb]\nThreshold: 2\nTags: [t]\n\
           Reports: {MITRE ATT&CK: ['TA0001:T1190'], CIS: ['1.1']}\nCreateAlert: true\nBaseVersion: 3\n\
           Tests: [{Name: a, LogType: Amazon.EKS.Audit, ExpectedResult: false, ExpectedDestinations: [x], Log: {verb: no}, Mocks: []}]\n";
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), package(&component(ANSWERS), &spec, OPEN_MANIFEST)).expect("written");
    let ended = run([std::ffi::OsStr::new("test"), file.path().as_os_str()]);
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(0), "A 0.1.0\n    pass  a\n1 of 1 test cases passed\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_manifest_that_cannot_be_read_is_refused() {
    let mut report = String::new();
    for manifest in [
        "",
        r#"{"version":"1","prefilter":{}}"#,
        r#"{"version":"1.0.0"}"#,
        r#"{"version":"1.0.0","prefilter":{},"more":1}"#,
        r#"{"version":"1.0.0","prefilter":[]}"#,
        r#"{"version":"1.0.0","prefilter":{"colour":["red"]}}"#,
        r#"{"version":"1.0.0","prefilter":{"verb":[]}}"#,
        r#"{"version":"1.0.0","prefilter":{"verb":"create"}}"#,
    ] {
        report += &format!("{}\n", refused(&package(&component(ANSWERS), &spec("A"), manifest)));
    }
    insta::assert_snapshot!(report);
}

#[test]
fn paths_that_hold_no_rules_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("UTF-8");
    let ended = run(["run", "--rules", path]);
    let message = format!("portcullis: {path}: contains no package: no file ends in .wasm\n");
    assert_eq!((ended.code, ended.stderr), (Some(3), message));

    let ended = run(["run", "--rules", &format!("{path}/none")]);
    let message = format!("portcullis: {path}/none: cannot be read: No such file or directory (os error 2)\n");
    assert_eq!((ended.code, ended.stderr), (Some(3), message));

    // One bad package among good ones: nothing runs, since a rule that is missing unseen is worse than none.
    let (exported, _files) = exported();
    fs::write(exported.path().join("bad.wasm"), "bad").expect("written");
    let rules = exported.path().to_str().expect("UTF-8");
    let ended = run(["run", "--rules", rules, project("fixtures/samples/eks.ndjson").to_str().expect("UTF-8")]);
    assert_eq!((ended.code, &*ended.stdout), (Some(3), ""));
    assert!(
        ended.stderr.starts_with(&format!("portcullis: {rules}/bad.wasm: not a rule's component: ")),
        "{}",
        ended.stderr
    );
}

#[test]
fn two_packages_of_one_version_are_one_or_refused() {
    let (folder, files) = exported();
    let rules = folder.path().to_str().expect("UTF-8");
    fs::copy(&files[0], folder.path().join("copy.wasm")).expect("copied");
    assert_eq!(run(["run", "--rules", rules]).code, Some(0), "the same bytes are the same package");

    let (first, other) = (folder.path().join("a.wasm"), folder.path().join("b.wasm"));
    fs::write(&first, package(&component(ANSWERS), &spec("A"), OPEN_MANIFEST)).expect("written");
    fs::write(&other, package(&component(ANSWERS), &spec("A").replace("Low", "High"), OPEN_MANIFEST)).expect("written");
    let ended = run(["run", "--rules", rules]);
    let message = format!(
        "portcullis: {rules}/a.wasm: two different packages have this version, {rules}/a.wasm and \
         {rules}/b.wasm: remove one of them\n"
    );
    assert_eq!((ended.code, ended.stderr), (Some(3), message));
}

#[test]
fn a_file_whose_name_says_another_version_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("A@2.0.0.wasm");
    fs::write(&file, package(&component(ANSWERS), &spec("A"), OPEN_MANIFEST)).expect("written");
    let ended = run(["run", "--rules", file.to_str().expect("UTF-8")]);
    let message =
        format!("portcullis: {}: its file name does not match its content, which is A 0.1.0\n", file.display());
    assert_eq!((ended.code, ended.stderr), (Some(3), message));
}

#[test]
fn a_disabled_rule_is_left_out_and_reported() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let spec = spec("A").replace("Enabled: true", "Enabled: false");
    fs::write(file.path(), package(&component(ANSWERS), &spec, OPEN_MANIFEST)).expect("written");
    let ended = run(["run", "--rules", file.path().to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.starts_with("portcullis: A 0.1.0 does not run: its spec has Enabled: false\n"),
        "{}",
        ended.stderr
    );
}
