//! A config that cannot be served from: which line is wrong, and what was expected.

use std::fs;
use std::path::Path;

use crate::support::service::{API, EYES, Refusal, Service, config, data, service_folder};

/// How a service ends that has this config.
fn refusal(folder: &Path, config: &str, log: &str) -> Refusal {
    fs::write(folder.join("config.toml"), config).expect("written");
    Service::try_start(folder, &[], log).err().unwrap_or_else(|| panic!("it serves with {config}"))
}

#[test]
fn a_config_error_names_file_line_and_what_was_expected() {
    let right = config("");
    let in_serve = |more: &str| right.replace("[serve]", &format!("[serve]\n{more}"));
    let client = |more: &str| config(&format!("[[serve.clients]]\n{more}"));
    let sink = |more: &str| config(&format!("[[serve.sinks]]\nname = \"soc\"\n{more}"));
    let cases = [
        ("an unknown role", client("name = \"a\"\nroles = [\"ingest\", \"admin\"]\ntoken-file = \"a\"")),
        ("no role", client("name = \"a\"\nroles = []\ntoken-file = \"a\"")),
        ("two clients of one name", client("name = \"api\"\nroles = [\"view\"]\ntoken-file = \"a\"")),
        ("a name that is none", client("name = \"a/b\"\nroles = [\"view\"]\ntoken-file = \"a\"")),
        (
            "a tenant that is not there",
            client("name = \"a\"\ntenant = \"acme\"\nroles = [\"view\"]\ntoken-file = \"a\""),
        ),
        ("known by nothing", client("name = \"a\"\nroles = [\"view\"]")),
        ("known by two things", client("name = \"a\"\nroles = [\"view\"]\ntoken-file = \"a\"\ncertificate = \"a\"")),
        ("a certificate that nobody checks", client("name = \"a\"\nroles = [\"view\"]\ncertificate = \"a\"")),
        ("open to the network without TLS", right.replace("127.0.0.1:0", "0.0.0.0:0")),
        ("no address", right.replace("127.0.0.1:0", "localhost")),
        ("no folder", right.replace("data = \"data\"", "data = \"\"")),
        ("less in flight than a batch", in_serve("max-body = \"32MiB\"\nin-flight = \"16MiB\"")),
        ("a batch of nothing", in_serve("max-body = \"1KiB\"")),
        ("no time", in_serve("timeout = \"1ms\"")),
        ("an unknown key", in_serve("max-bodies = \"1MiB\"")),
        ("an unknown type of sink", sink("type = \"kafka\"")),
        ("an unknown format", sink("type = \"stdout\"\nformat = \"cef\"")),
        ("a file with an address", sink("type = \"file\"\nurl = \"https://soc.example/\"")),
        ("a file with a batch", sink("type = \"file\"\nalerts-per-request = 10")),
        ("standard output with a path", sink("type = \"stdout\"\npath = \"alerts\"")),
        ("a webhook with a path", sink("type = \"webhook\"\nurl = \"https://soc.example/\"\npath = \"alerts\"")),
        ("a webhook without an address", sink("type = \"webhook\"")),
        ("a webhook that is no web's", sink("type = \"webhook\"\nurl = \"ftp://soc.example/\"")),
        ("a webhook that is nowhere", sink("type = \"webhook\"\nurl = \"https:// soc.example/\"")),
        ("a spool of nothing", sink("type = \"webhook\"\nurl = \"https://soc.example/\"\nspool = \"1KiB\"")),
        ("two sinks of one name", sink("type = \"stdout\"\n[[serve.sinks]]\nname = \"soc\"\ntype = \"stdout\"")),
        ("no table", "[limits]\n".to_owned()),
    ];
    let folder = service_folder("");
    let mut text = String::new();
    for (what, config) in cases {
        let Refusal { code, said } = refusal(folder.path(), &config, "info");
        assert_eq!(code, Some(3), "{what}: {said:?}");
        text += &format!("{what}\n    {}\n", said.join("\n    "));
    }
    assert!(!folder.path().join("data").exists(), "nothing has been made");
    let path = folder.path().display().to_string();
    insta::assert_snapshot!(text.replace(&path, "DIR"));
}

/// What the files hold shows after the config has been read, when there is a log already: it says so at any level.
#[test]
fn invalid_tokens_are_reported_with_client_and_file() {
    let folder = service_folder("");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let mut text = String::new();
    let cases = [
        ("a token that is short", Some("fifteen-letters")),
        ("a token of two words", Some("the token of the server")),
        ("a token that is another's", Some(EYES)),
        ("no file", None),
    ];
    for (what, token) in cases {
        match token {
            Some(token) => write("api", token),
            None => fs::remove_file(folder.path().join("api")).expect("removed"),
        }
        for log in ["info", "error"] {
            let Refusal { code, said } = refusal(folder.path(), &config(""), log);
            assert_eq!(code, Some(3), "{what}: {said:?}");
            let said = said.last().unwrap_or_else(|| panic!("{what}: it says nothing at {log}"));
            assert!(token.is_none_or(|token| !said.contains(token)), "{said}");
            if log == "error" {
                text += &format!("{what}\n    {said}\n");
            }
        }
    }
    let path = folder.path().display().to_string();
    insta::assert_snapshot!(text.replace(&path, "DIR"));
    write("api", API);
    assert_eq!(Service::start(folder.path(), &[]).end().0, Some(0));
}

#[test]
fn two_services_cannot_share_a_data_folder() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let said = Service::try_start(folder.path(), &[], "info").err().expect("it does not serve");
    assert!(format!("{said:?}").contains("another service uses this folder"), "{said:?}");
    service.kill();
    assert_eq!(Service::start(folder.path(), &[]).end().0, Some(0), "a lock goes with who has it");
}

/// Two outputs in one file would write over each other, and an output in a file of the service would destroy it.
#[test]
fn each_output_has_a_file_of_its_own() {
    let folder = service_folder("");
    fs::create_dir(folder.path().join("data")).expect("made");
    fs::write(data(&folder, "alerts.ndjson"), "").expect("written");
    fs::hard_link(data(&folder, "alerts.ndjson"), data(&folder, "linked.ndjson")).expect("linked");
    for (what, ledger) in [
        ("a sink's", "alerts.ndjson"),
        ("a sink's by another name", "../data/./alerts.ndjson"),
        ("a link to a sink's", "linked.ndjson"),
        ("the dead letters'", "dead-letters.ndjson"),
        ("the history's", "history.ndjson"),
        ("the lock's", "lock"),
        ("the config's", "../config.toml"),
        ("a token's", "../api"),
    ] {
        let config = config("").replace("ledger.ndjson", ledger);
        let Refusal { code, said } = refusal(folder.path(), &config, "info");
        let said = said.join("\n");
        assert_eq!(code, Some(3), "{what}: {said}");
        assert!(said.contains(": is used twice; give the ledger and each sink a file of its own"), "{what}: {said}");
    }
    // Of another process, only the lock tells.
    let right = config("").replace("ledger.ndjson", "../shared.ndjson");
    fs::write(folder.path().join("config.toml"), &right).expect("written");
    let service = Service::start(folder.path(), &[]);
    let Refusal { code, said } = refusal(folder.path(), &right.replace("\"data\"", "\"other\""), "info");
    assert_eq!(code, Some(4), "{said:?}");
    assert!(said.join("\n").contains("it is already open as another output"), "{said:?}");
    assert_eq!(service.end().0, Some(0));
}

/// A folder in which nothing can be written, whoever tries: the system's own.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = service_folder("");
    for place in ["/proc/portcullis", "/sys/portcullis"] {
        let text = config("").replace("data = \"data\"", &format!("data = {place:?}"));
        let Refusal { code, said } = refusal(folder.path(), &text, "info");
        assert_eq!(code, Some(4), "{said:?}");
        assert!(said.iter().any(|line| line.contains(&format!("{place}: cannot be created: "))), "{said:?}");
    }
    let text = config("").replace("ledger.ndjson", "/proc/ledger.ndjson");
    let Refusal { code, said } = refusal(folder.path(), &text, "info");
    assert_eq!(code, Some(4), "{said:?}");
    assert!(said.iter().any(|line| line.contains("/proc/ledger.ndjson: cannot be opened: ")), "{said:?}");
}
