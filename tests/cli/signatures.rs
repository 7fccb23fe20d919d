//! Who vouches for a package: keys, signing, and what is refused with which words.

use std::fs;

use portcullis::package::{Recipe, SigningKey, pack};
use portcullis::{Compiler, Engine};

use crate::support::{Does, Ended, VERSIONED, json_lines, package, run, spec, version, versioned_spec};

/// A folder with two keys and what tests put there.
struct Workshop {
    folder: tempfile::TempDir,
    keys: [String; 2],
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keygen = |name| {
            let ended = run(["keygen".into(), folder.path().join(name)]);
            assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
            ended.stdout.trim_end().to_owned()
        };
        Self { keys: ["key", "other"].map(keygen), folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).expect("written");
        self.path(name)
    }

    fn sign(&self, package: &[u8], key: &str) -> Vec<u8> {
        let (unsigned, signed, key) = (self.put("unsigned.wasm", package), self.path("signed.wasm"), self.path(key));
        let ended = run(["pack", &unsigned, "--key", &key, "-o", &signed, "--force"]);
        assert_eq!((ended.code, ended.stdout), (Some(0), format!("{signed}\n")), "{}", ended.stderr);
        fs::read(signed).expect("written")
    }

    /// A run with this package, of a tenant that trusts the first key.
    fn run(&self, package: &[u8]) -> Ended {
        let config = format!("[activation]\ntrusted-keys = [\"{}\"]\n", self.keys[0]);
        let config = self.put("config.toml", config.as_bytes());
        run(["run", "--config", &config, "--rules", &self.put("rule.wasm", package)])
    }

    fn refused(&self, package: &[u8]) -> String {
        let ended = self.run(package);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{}", ended.stderr);
        let named = format!("portcullis: {}: ", self.path("rule.wasm"));
        ended.stderr.strip_prefix(&named).expect(&ended.stderr).trim_end().to_owned()
    }
}

#[test]
fn a_signed_package_runs_and_inspect_names_its_signer() {
    let workshop = Workshop::new();
    let signed = workshop.sign(&version("1.0.0", Does::Nothing), "key");
    let ended = workshop.run(&signed);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let ended = run(["inspect", &workshop.path("rule.wasm"), "--format", "json"]);
    let said = &json_lines(&ended.stdout)[0];
    assert_eq!(said["signer"], *workshop.keys[0]);
    let sizes = &said["sizes"];
    assert!(sizes["signature"].as_u64().expect("a number") > 0);
    let ended = run(["inspect", &workshop.path("rule.wasm")]);
    assert!(ended.stdout.contains(&format!("signer     {}\n", workshop.keys[0])), "{}", ended.stdout);

    assert_eq!(workshop.sign(&signed, "key"), signed, "signed again by the same key it is the same");
    let by_other = workshop.sign(&signed, "other");
    assert_ne!(by_other, signed);
    assert_eq!(by_other.len(), signed.len(), "a signature takes the place of the one before");
}

#[test]
fn an_untrusted_package_is_refused() {
    let workshop = Workshop::new();
    assert_eq!(
        workshop.refused(&version("1.0.0", Does::Nothing)),
        "it is not signed; only packages that a trusted key has signed are accepted (trusted-keys in the config)"
    );
    assert_eq!(
        workshop.refused(&workshop.sign(&version("1.0.0", Does::Nothing), "other")),
        format!("it is signed by {}, which is not a trusted key (trusted-keys in the config)", workshop.keys[1])
    );
}

/// The parts of a signed package are put together anew: the signature of one with the component, spec or manifest of
/// another.
#[test]
fn a_signature_is_of_one_component_one_spec_one_rule_and_one_version() {
    let workshop = Workshop::new();
    let signed = workshop.sign(&version("1.0.0", Does::Nothing), "key");
    let signature = section(&signed, "portcullis:signature");
    let with = |component: &[u8], spec: &str, version: &str| {
        let manifest = format!(r#"{{"version":"{version}","prefilter":{{}}}}"#);
        signed_by(&package(component, spec, &manifest), &signature)
    };
    let (component, spec_yaml) = (Does::Nothing.component(), versioned_spec(false));
    assert_eq!(with(&component, &spec_yaml, "1.0.0"), signed, "put together as it was, it is the same");
    for (package, part) in [
        (with(&Does::Alert.component(), &spec_yaml, "1.0.0"), "component"),
        (with(&component, &spec("Another.Rule"), "1.0.0"), "spec"),
        (with(&component, &spec_yaml, "1.0.1"), "manifest"),
    ] {
        let expected = format!("its {part} is not the one that was signed: it was changed after it was signed");
        assert_eq!(workshop.refused(&package), expected);
    }

    // What the key's owner was made to sign is for another rule, version, purpose or world.
    let key = SigningKey::from_pem(&fs::read_to_string(workshop.path("key")).expect("a key")).expect("a key");
    let statement: serde_json::Value = serde_json::from_slice(&signature).expect("JSON");
    let statement = statement["statement"].as_str().expect("a text");
    for (from, to, expected) in [
        (VERSIONED, "Another.Rule", "its signature is for Another.Rule 1.0.0; expected Test.Versioned 1.0.0"),
        (
            "1.0.0\",\"component",
            "1.0.1\",\"component",
            "its signature is for Test.Versioned 1.0.1; expected Test.Versioned 1.0.0",
        ),
        (
            "portcullis package 1",
            "portcullis release 1",
            "its signature is for \"portcullis release 1\"; expected \"portcullis package 1\"",
        ),
        (
            "detection@1.0.0",
            "detection@2.0.0",
            "its signature is for \"portcullis:detection/detection@2.0.0\"; expected \"portcullis:detection/detection@1.0.0\"",
        ),
    ] {
        let other = statement.replace(from, to);
        assert_ne!(other, statement);
        let signature = signature_over(&key, &other);
        assert_eq!(workshop.refused(&signed_by(&version("1.0.0", Does::Nothing), &signature)), expected);
        let stated_only = String::from_utf8(section(&signed, "portcullis:signature")).expect("UTF-8");
        let stated_only = stated_only
            .replace(&serde_json::to_string(statement).expect("JSON"), &serde_json::to_string(&other).expect("JSON"));
        assert_eq!(
            workshop.refused(&signed_by(&version("1.0.0", Does::Nothing), stated_only.as_bytes())),
            format!("its signature is not valid for the key {}: it was changed after it was signed", workshop.keys[0])
        );
    }
}

/// Whichever byte is changed, and wherever a byte is put in or left out, the package is none.
#[test]
fn a_changed_byte_anywhere_is_detected() {
    let key = SigningKey::generate().expect("a key");
    let recipe = Recipe { key: Some(&key), ..Recipe::default() };
    let signed = pack(&version("1.0.0", Does::Nothing), "test", &recipe).expect("a package").bytes;
    let compiler = Compiler::new(Engine::new().expect("an engine")).with_trusted_keys(Some(&[key.public_key()]));
    compiler.package(&signed, "signed").expect("it is as it was signed");
    for place in 0..signed.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = signed.clone();
            changed[place] ^= change;
            assert!(compiler.candidate(changed, "changed").is_err(), "byte {place} ^ {change}");
        }
        let mut longer = signed.clone();
        longer.insert(place, signed[place]);
        assert!(compiler.candidate(longer, "longer").is_err(), "byte {place} twice");
        let mut shorter = signed.clone();
        shorter.remove(place);
        assert!(compiler.candidate(shorter, "shorter").is_err(), "without byte {place}");
    }
    // The signature itself is written in one way only: else one package could go round with many digests.
    let signature = String::from_utf8(section(&signed, "portcullis:signature")).expect("UTF-8");
    for other in [
        format!("{signature} "),
        signature.replace("\"key\":", "\"key\": "),
        signature.replace("\"key\"", "\"k\\u0065y\""),
    ] {
        let changed = signed_by(&version("1.0.0", Does::Nothing), other.as_bytes());
        let error = compiler.candidate(changed, "changed").expect_err("another way to write it");
        assert_eq!(error.to_string(), "changed: its signature cannot be read: it is not written as `pack` writes it");
    }
    let mut longer = signed.clone();
    longer.extend([0, 2, 1, b'x']);
    let error = compiler.candidate(longer, "longer").expect_err("a section more");
    assert_eq!(
        error.to_string(),
        "longer: its component is not the one that was signed: it was changed after it was signed"
    );
}

#[test]
fn a_key_file_is_never_overwritten_and_only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let workshop = Workshop::new();
    let mode = fs::metadata(workshop.path("key")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ended = run(["keygen", &workshop.path("key")]);
    let message = format!(
        "portcullis: {}: already exists and holds the key {}; choose another file\n",
        workshop.path("key"),
        workshop.keys[0]
    );
    assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(4), String::new(), message));
}

/// As `openssl genpkey -algorithm ed25519` writes one.
#[test]
fn a_key_of_openssl_signs_too() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    let key = SigningKey::from_pem(pem).expect("a key");
    assert_eq!(key.to_pem().expect("PEM"), pem);
    // RFC 8032, 7.1: the public key of the first secret one.
    assert_eq!(key.public_key().to_string(), "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
}

#[test]
fn an_invalid_key_is_reported() {
    let workshop = Workshop::new();
    let package = workshop.put("rule.wasm", &version("1.0.0", Does::Nothing));
    let ended = run(["pack", &package, "--key", &package, "-o", &workshop.path("out.wasm")]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.starts_with(&format!("portcullis: {package}: has no -----BEGIN")), "{}", ended.stderr);
    let text = workshop.put("text", b"hello");
    let ended = run(["pack", &package, "--key", &text, "-o", &workshop.path("out.wasm")]);
    assert!(
        ended.stderr.starts_with(&format!("portcullis: {text}: has no -----BEGIN PRIVATE KEY-----")),
        "{}",
        ended.stderr
    );

    for (key, wrong) in [
        ("ed25519:AAAA", "is not a public key; expected ed25519: and 44 characters of Base64"),
        ("ssh-ed25519 AAAA", "is not a public key; expected ed25519: and 44 characters of Base64"),
        (
            "ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "is a weak key, with which anyone can sign; expected another key",
        ),
    ] {
        let config = format!("[activation]\ntrusted-keys = [\"{key}\"]\n");
        let ended = run(["run", "--config", &workshop.put("config.toml", config.as_bytes()), "--rules", &package]);
        let expected =
            format!("{}:2: trusted-keys: {key:?} {wrong}, as keygen prints it\n", workshop.path("config.toml"));
        assert_eq!((ended.code, ended.stderr), (Some(3), format!("portcullis: {expected}")));
    }
}

/// What a stranger writes into a signature stands in one line of bounded length where it is refused.
#[test]
fn a_refusal_is_one_line_of_bounded_length() {
    let workshop = Workshop::new();
    for (signature, found) in [
        (r#"{"a\nportcullis: all is well":1}"#.to_owned(), "its signature cannot be read: unknown field"),
        (format!(r#"{{"{}":1}}"#, "a".repeat(3_000)), "its signature cannot be read: unknown field"),
        ("a".repeat(1 << 20), "portcullis:signature has 1048576 bytes; the limit is 4096"),
    ] {
        let ended = run([
            "run".to_owned(),
            "--config".to_owned(),
            workshop.put("limits.toml", b"[limits]\npackage = \"2MiB\"\n"),
            "--rules".to_owned(),
            workshop.put("rule.wasm", &signed_by(&version("1.0.0", Does::Nothing), signature.as_bytes())),
        ]);
        assert_eq!(ended.code, Some(3));
        assert!(ended.stderr.contains(found), "{}", ended.stderr);
        assert!(ended.stderr.lines().count() == 1 && ended.stderr.len() < 2_000, "{}", ended.stderr);
    }
}

#[test]
fn pack_refuses_changed_packages_and_reports_removed_signatures() {
    let workshop = Workshop::new();
    let signed = workshop.sign(&version("1.0.0", Does::Nothing), "key");
    let changed = signed_by(&version("1.0.0", Does::Alert), &section(&signed, "portcullis:signature"));
    let file = workshop.put("changed.wasm", &changed);
    for more in [&[][..], &["--key", &*workshop.path("key")]] {
        let ended = run(["pack", &file, "-o", &workshop.path("out.wasm")].into_iter().chain(more.iter().copied()));
        let message = format!(
            "portcullis: {file}: is refused: its component is not the one that was signed: it was changed after it was signed\n"
        );
        assert_eq!((ended.code, ended.stderr), (Some(3), message));
    }
    let ended = run(["pack", &workshop.path("signed.wasm"), "-o", &workshop.path("out.wasm")]);
    let message = format!(
        "portcullis: warning: {}: the signature of {} was removed; sign the package again with --key\n",
        workshop.path("signed.wasm"),
        workshop.keys[0]
    );
    assert_eq!((ended.code, ended.stderr), (Some(0), message));
    assert_eq!(fs::read(workshop.path("out.wasm")).expect("written"), version("1.0.0", Does::Nothing));
}

#[test]
fn a_private_key_in_the_wrong_place_is_not_shown() {
    let workshop = Workshop::new();
    let key = fs::read_to_string(workshop.path("key")).expect("a key");
    let config = format!("[activation]\ntrusted-keys = [\"\"\"{key}\"\"\"]\n");
    let ended = run(["run", "--config", &workshop.put("config.toml", config.as_bytes())]);
    assert_eq!(ended.code, Some(3));
    let secret = key.lines().nth(1).expect("the key");
    assert!(!ended.stderr.contains(secret) && ended.stderr.contains("Others can read it now"), "{}", ended.stderr);
}

#[test]
fn keys_without_packages_are_an_error() {
    let workshop = Workshop::new();
    let config = format!("[activation]\ntrusted-keys = [\"{}\"]\n", workshop.keys[0]);
    let ended = run(["run", "--config", &workshop.put("config.toml", config.as_bytes())]);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains(":2: trusted-keys: default uses the embedded rules, which are not signed"),
        "{}",
        ended.stderr
    );
}

/// The custom section of a package with this name.
fn section(wasm: &[u8], name: &str) -> Vec<u8> {
    let payloads = wasmparser::Parser::new(0).parse_all(wasm);
    let section = payloads.filter_map(|payload| match payload.expect("WebAssembly") {
        wasmparser::Payload::CustomSection(section) if section.name() == name => Some(section.data().to_vec()),
        _ => None,
    });
    section.last().expect(name)
}

/// A package with this signature put behind it.
fn signed_by(package: &[u8], signature: &[u8]) -> Vec<u8> {
    use wasm_encoder::{ComponentSection as _, CustomSection};
    let mut signed = package.to_vec();
    CustomSection { name: "portcullis:signature".into(), data: signature.into() }.append_to_component(&mut signed);
    signed
}

/// The section of a signature over any statement.
fn signature_over(key: &SigningKey, statement: &str) -> Vec<u8> {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use ed25519_dalek::Signer as _;
    use ed25519_dalek::pkcs8::DecodePrivateKey as _;
    let signing = ed25519_dalek::SigningKey::from_pkcs8_pem(&key.to_pem().expect("PEM")).expect("a key");
    let signature = BASE64_STANDARD.encode(signing.sign(statement.as_bytes()).to_bytes());
    serde_json::json!({"statement": statement, "key": key.public_key().to_string(), "signature": signature})
        .to_string()
        .into_bytes()
}
