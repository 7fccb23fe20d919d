//! A rule in another language: `examples/javascript-rule`, made as its README says, gives the very alerts of the rule in
//! Rust.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{SYSTEM_PRINCIPAL, project, run, run_accounted};

/// The example in a place of its own, with what it takes from around it.
struct Example {
    _around: tempfile::TempDir,
    folder: PathBuf,
}

impl Example {
    fn new() -> Self {
        let around = tempfile::tempdir().expect("a temporary folder");
        for part in ["wit", "rules-wasm/system-principal-public-ip", "examples/javascript-rule"] {
            let to = around.path().join(part);
            std::fs::create_dir_all(&to).expect("a folder");
            for entry in std::fs::read_dir(project(part)).expect(part) {
                let file = entry.expect("an entry").path();
                // Not what somebody has installed or built there.
                if file.is_file() {
                    std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
                }
            }
        }
        Self { folder: around.path().join("examples/javascript-rule"), _around: around }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Does what the README says, with the built command: what it prints.
    fn make(&self) -> String {
        for needed in ["node", "npm"] {
            let found = Command::new(needed).arg("--version").output().is_ok_and(|output| output.status.success());
            assert!(found, "{needed} is missing: install it, Node.js 20 or later with npm, or run ./test, which does");
        }
        let readme = std::fs::read_to_string(self.path("README.md")).expect("the README");
        let (_, steps) = readme.split_once("```sh\n").expect("the steps");
        let (steps, _) = steps.split_once("```").expect("their end");
        let command = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("a folder");
        let path = std::env::var_os("PATH").expect("there are programs");
        let path = std::iter::once(command.to_owned()).chain(std::env::split_paths(&path));
        let output = Command::new("sh")
            .args(["-euc", steps])
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .current_dir(&self.folder)
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the steps of the README fail:\n{steps}\n{said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

#[test]
#[ignore = "needs Node.js and npm: ./test"]
fn a_rule_in_javascript_gives_the_alerts_of_the_rule_in_rust() {
    let example = Example::new();
    let said = example.make();
    assert!(said.contains("\n    imports    none\n"), "{said}");
    assert!(said.ends_with("18 of 18 test cases passed\n"), "{said}");

    let package = example.path(&format!("target/{SYSTEM_PRINCIPAL}@1.0.0.wasm"));
    let limits = example.path("limits.toml");
    each_limit_of_the_gate_is_needed(&package, &example);

    let mut records = std::fs::read(project("fixtures/parity/events.ndjson")).expect("the records");
    let of_the_corpus = 973;
    let more = hard_records();
    for record in &more {
        records.extend_from_slice(record.to_string().as_bytes());
        records.push(b'\n');
    }
    let in_javascript =
        run_accounted(&records, &["--rules", &package, "--config", &limits, "--cache", &example.path("target/cache")]);
    let mut in_rust = run_accounted(&records, &[]).alerts;
    in_rust.retain(|alert| alert["rule_id"] == SYSTEM_PRINCIPAL);
    assert_eq!(in_rust.len(), of_the_corpus + more.len());
    for (rust, javascript) in in_rust.iter().zip(&in_javascript.alerts) {
        assert_eq!(rust, javascript);
    }
    assert_eq!(in_rust.len(), in_javascript.alerts.len(), "{}", in_javascript.ended.stderr);
}

/// Without the config, and without any of its keys that a package is measured by, it is refused with the key's name.
fn each_limit_of_the_gate_is_needed(package: &str, example: &Example) {
    let config = std::fs::read_to_string(example.path("limits.toml")).expect("the limits");
    for key in ["package", "functions", "function-size"] {
        let without: Vec<&str> = config.lines().filter(|line| !line.starts_with(&format!("{key} ="))).collect();
        assert_eq!(without.len(), config.lines().count() - 1, "{key}");
        let file = example.path(&format!("without-{key}.toml"));
        std::fs::write(&file, without.join("\n")).expect("written");
        let ended = run(["test", package, "--config", &file]);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""));
        assert!(ended.stderr.ends_with(&format!(" ({key} in the config's limits)\n")), "{}", ended.stderr);
    }
    let ended = run(["run", "--rules", package]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("the limit is 1048576 (package in the config's limits)"), "{}", ended.stderr);
}

/// Records that the rule matches, with what two languages may well see differently.
fn hard_records() -> Vec<Value> {
    let record = |change: &dyn Fn(&mut Value)| {
        let mut record = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "p_log_type": "Amazon.EKS.Audit", "verb": "get",
            "user": {"username": "system:serviceaccount:shop:web"}, "sourceIPs": ["8.8.4.4"],
        });
        change(&mut record);
        record
    };
    let mut records = Vec::new();

    // What is no address leaves the one before it.
    for text in [
        " 1.2.3.4\t",
        "\u{85}1.2.3.4\u{3000}",
        "\u{feff}1.2.3.4",
        "1.2.3.4:443",
        "1.2.3.4:80/24",
        "1.2.3.4:",
        "1.2.3.4/a",
        "01.2.3.4",
        "1.2.3.256",
        "1.2.3",
        "::ffff:1.2.3.4",
        "::FFFF:102:304",
        "::ffff:1.2.3.04",
        "[2606:4700::1111]:443",
        "[2606:4700::1111]443",
        "[2606:4700::1111",
        "[2606:4700::1111]/64",
        "2606:4700::1111%eth0/64",
        "2606:4700::1111%",
        "2606:4700::0:0:1.2.3.4",
        "2606:4700:1.2.3.4::",
        "2606:4700:1:2:3:4:1.2.3.4",
        "2606:4700:0:0:1:0:0:1",
        "2606:4700:0:1:0:0:0:0",
        "2606:4700:1:0:2:3:4:5",
        "2606:4700:1:2:3:4:5::",
        "2606:4700:1:2:3:4:5::6",
        "2606:4700:1:2:3:4:5:06",
        "2606:4700:1:2:3:4:5:00006",
        "2606:4700::1::2",
        "2606:4700:::1",
        "2606:4700::1:",
        "2606:4700::g",
        "\u{661}.2.3.4",
        "1.2.3.4\0",
    ] {
        records.push(record(&|record| record["sourceIPs"] = json!(["8.8.4.4", text])));
    }

    for networks in [
        json!([{"asn": "AS1", "name": "An ISP", "p_match": "[2606:4700:0:0::1]:443"}, {"asn": "AS2"}]),
        json!([{"asn": "AS1", "name": "An ISP"}]),
        json!([{"asn": "AS1"}]),
        json!([{"name": "An ISP"}]),
        json!([{"asn": "AS1", "p_match": "8.8.4.4"}]),
        json!([]),
    ] {
        records.push(record(&|record| {
            record["sourceIPs"] = json!(["2606:4700::1"]);
            record["p_enrichment"] = json!({"ipinfo_asn": {"sourceIPs": &networks}});
        }));
    }

    for code in [i64::MIN, -1, 0, 7, 404, (1 << 53) + 1, i64::MAX] {
        records.push(record(&|record| record["responseStatus"] = json!({"code": code})));
    }

    for impersonated in [
        json!({"username": "mira"}),
        json!({"username": "mira", "groups": []}),
        json!({"username": "\u{e9}\"", "groups": ["system:masters", "", "\u{2028}\\"]}),
        json!({"groups": ["a"], "username": 5}),
    ] {
        records.push(record(&|record| record["impersonatedUser"] = impersonated.clone()));
    }

    // Texts that are cut, at each place that a character may have; addresses of which the first are left out.
    for n in 0..4 {
        let long = |text: &str| "a".repeat(n) + &text.repeat(3000);
        records.push(record(&|record| {
            record["user"]["username"] = (format!("system:node:{}", long("é"))).into();
            record["userAgent"] = long("\u{1f600}").into();
            record["p_source_label"] = long("…").into();
            record["impersonatedUser"] = json!({"username": long("é"), "groups": vec![long("\u{1f600}"); 30 + n]});
            record["sourceIPs"] = (0..30 + n).map(|n| format!("8.8.4.{n}")).chain([long("8")]).collect();
        }));
    }
    records.push(record(&|record| record["userAgent"] = "\"\\/\u{8}\u{b}\u{1f}\u{7f}\u{2028}\r\n".into()));

    // More than a context holds.
    let control = "\u{1}".repeat(3000);
    records.push(record(&|record| {
        record["userAgent"] = json!(control);
        record["requestURI"] = json!(control);
        record["p_source_label"] = json!(control);
        record["objectRef"] = json!({"resource": control, "namespace": control, "name": control});
        record["sourceIPs"] = std::iter::repeat_n(&*control, 40).chain(["8.8.4.4"]).collect();
    }));

    // What is cheap to write and dear to parse, more often than an instance is asked.
    let lists = vec![json!([]); 500_000];
    records.push(record(&|record| record["requestObject"] = json!(lists)));
    let names: Vec<Value> = (0..5_000).map(|n| json!({ format!("\"]}}{n}\\"): [true] })).collect();
    for _ in 0..40 {
        records.push(record(&|record| record["requestObject"] = json!(names)));
    }
    records
}
