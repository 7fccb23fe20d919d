//! The live page in a browser: who may see it, that it shows what happens as text, and that it can be used without a mouse and
//! on a small screen.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::nats::Nats;
use crate::support::service::{EYES, Service, TWO_TENANTS, agent, ask, config, service_folder, wait_until};
use crate::support::{
    NODEPORT, OPEN_MANIFEST, SYSTEM_PRINCIPAL, exported, hostile_component, package, project, sample, spec,
};

/// Width of the page in the README's picture, in pixels.
const WIDTH: u32 = 1120;

const ENTER: &str = "\u{E007}";

const VIEWER_OF_ACME: &str = r#"
[[serve.clients]]
name = "acme-eyes"
tenant = "acme"
roles = ["view"]
token-file = "acme-eyes"
"#;

const ACME: &str = "the-token-of-who-looks-for-acme";

/// The sample's first record, which alerts, of this tenant and with this user.
fn record(tenant: &str, user: &str) -> String {
    let text = fs::read_to_string(sample("eks.ndjson")).expect("the sample");
    let mut record: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    record["user"]["username"] = user.into();
    record["p_source_label"] = tenant.into();
    record.to_string()
}

fn service(more: &str) -> (tempfile::TempDir, Service) {
    let folder = service_folder(&config(more));
    fs::write(folder.path().join("acme-eyes"), ACME).expect("written");
    let service = Service::start(folder.path(), &[]);
    (folder, service)
}

/// Shows the page, and gives it a token by the keyboard: the field has the focus.
fn log_in(browser: &Browser, service: &Service, token: &str) {
    browser.go(&service.url("/"));
    browser.wait_for("document.activeElement?.id === 'token'");
    browser.type_keys(token);
    browser.type_keys(ENTER);
}

fn assert_no_error(browser: &Browser, but: &str) {
    let severe: Vec<_> = browser.console().into_iter().filter(|(level, _)| level == "SEVERE").collect();
    assert!(severe.iter().all(|(_, message)| !but.is_empty() && message.contains(but)), "{severe:?}");
}

const ALERTS: &str = "document.querySelectorAll('#alerts > li').length";

#[test]
#[ignore = "needs chromium: ./test"]
fn the_page_shows_each_client_what_it_may_see() {
    let (_folder, service) = service("");
    let browser = Browser::start(1280, 900);
    log_in(&browser, &service, "a-token-that-nobody-has");
    browser.wait_for("document.getElementById('message').textContent === 'Unknown token.'");
    assert_no_error(&browser, "401");
    log_in(&browser, &service, EYES);
    browser.wait_for("!document.getElementById('live').hidden");
    browser.wait_for("document.getElementById('status').textContent === 'Live'");
    browser.wait_for("document.getElementById('state').textContent === 'Ready'");
    assert_eq!(browser.run("return document.getElementById('message').checkVisibility()"), json!(false));
    let rules = browser.run("return document.getElementById('rules').textContent");
    for rule in [NODEPORT, SYSTEM_PRINCIPAL] {
        assert!(rules.as_str().is_some_and(|rules| rules.contains(rule)), "{rules}");
    }

    // An alert comes without the page being loaded again, and what a stranger wrote stays text.
    browser.run("window.isTheSame = true");
    let hostile = "<img src=x onerror=\"window.isHacked = true\"><script>window.isHacked = true</script>\u{202e}gpj";
    assert_eq!(service.post(record("acme", hostile)).status, 200);
    browser.wait_for(&format!("{ALERTS} === 1"));
    browser.wait_for("document.getElementById('n-records').textContent === '1'");
    browser.wait_for("document.getElementById('n-alerts').textContent === '1'");
    assert_eq!(browser.run("return document.getElementById('live').querySelectorAll('img, script').length"), json!(0));
    assert_eq!(browser.run("return [window.isTheSame, window.isHacked ?? null]"), json!([true, null]));
    let shown = browser.run("return document.getElementById('alerts').textContent");
    let shown = shown.as_str().expect("a text");
    assert!(shown.contains("<img src=x onerror=") && shown.contains("⟨U+202E⟩gpj"), "{shown}");

    // What no rule has seen.
    assert_eq!(browser.run("return document.getElementById('n-suspect').textContent"), json!(""));
    assert_eq!(service.post("{\"spoke\":\"kube-audit\"}\n{}\n").status, 200);
    browser.wait_for("document.getElementById('n-ignored').textContent === '2'");
    let suspect = browser.run("return document.getElementById('n-suspect').innerText");
    assert_eq!(suspect, json!("(1 suspect: maybe audit events in an unknown form)"));

    // Its details, by the keyboard alone.
    assert_eq!(browser.run("return document.querySelector('#alerts details').open"), json!(false));
    browser.run("document.querySelector('#alerts summary').focus()");
    browser.type_keys(ENTER);
    browser.wait_for("document.querySelector('#alerts details').open");
    assert_eq!(browser.run("return document.querySelector('#alerts .tree').checkVisibility()"), json!(true));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(target.join("page.png"), browser.picture()).expect("written");

    for width in [360, 768, 1920] {
        browser.resize(width, 740);
        browser.wait_for(&format!("innerWidth === {width}"));
        let widths = browser.run("return [document.scrollingElement.scrollWidth, innerWidth]");
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{widths}");
        fs::write(target.join(format!("page-{width}.png")), browser.picture()).expect("written");
    }
    // What the token let through goes with it.
    browser.run("document.getElementById('forget').click()");
    browser.wait_for(&format!("document.getElementById('live').hidden && {ALERTS} === 0"));
    assert_eq!(browser.run("return sessionStorage.length"), json!(0));
    assert_no_error(&browser, "");
}

/// What a client of a cluster and a rule may put into an alert: markup, scripts, bidirectional controls, and a lot of it.
#[test]
#[ignore = "needs chromium: ./test"]
fn hostile_alerts_are_text_and_the_page_stays_usable() {
    let spec = spec("Hostile.page")
        + "DisplayName: \"</title><script>window.isHacked = true</script>\\u202egnp.exe\"\n\
           Runbook: \"<img src=x onerror='window.isHacked = true'>\"\n\
           Reference: \"javascript:window.isHacked = true\"\n";
    let rule = package(&hostile_component("large-contexts"), &spec, OPEN_MANIFEST);
    let folder = service_folder(&config(""));
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).expect("made");
    fs::write(rules.join("rule.wasm"), rule).expect("written");
    let (_exported, files) = exported();
    for file in files {
        fs::copy(&file, rules.join(file.file_name().expect("a name"))).expect("copied");
    }
    let service = Service::start(folder.path(), &["--rules", rules.to_str().expect("UTF-8")]);
    let browser = Browser::start(1280, 900);
    log_in(&browser, &service, EYES);
    browser.wait_for("document.getElementById('status').textContent === 'Live'");
    let markup = "<svg/onload=window.isHacked=true>\u{2066}\u{202e}";
    let long = markup.repeat((255 << 10) / markup.len());
    for n in 0..40 {
        // Each alert has an id of its own.
        let mut long: Value = serde_json::from_str(&record("acme", &long)).expect("JSON");
        long["auditID"] = format!("page-{n}").into();
        let short = crate::support::record(false).replace("\"get\"", &format!("\"get\",\"auditID\":\"page-{n}\""));
        let answer = service.post(format!("{long}\n{short}\n"));
        assert_eq!(answer.status, 200, "{n}: {}", answer.text);
    }
    browser.wait_for(&format!("{ALERTS} >= 40"));
    browser.run("document.querySelectorAll('#alerts details').forEach(it => it.open = true)");
    let inside =
        "document.getElementById('live').querySelectorAll('img, script, svg[onload], a[href^=javascript]').length";
    assert_eq!(browser.run(&format!("return {inside}")), json!(0));
    assert_eq!(browser.run("return window.isHacked ?? null"), json!(null));
    let raw = "/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.getElementById('live').textContent)";
    assert_eq!(browser.run(&format!("return {raw}")), json!(false));
    let length = browser.run("return document.documentElement.innerHTML.length");
    assert!(length.as_u64() < Some(5_000_000), "{length} characters");
    // Nothing but the page's own script runs, whoever writes it into the page.
    browser.run("const it = document.createElement('div'); it.innerHTML = '<img src=data:, onerror=\"window.isHacked = 1\">'; document.body.append(it)");
    browser.run(
        "const it = document.createElement('script'); it.textContent = 'window.isHacked = 2'; document.body.append(it)",
    );
    let answer = service.get("/");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(browser.run("return window.isHacked ?? null"), json!(null));
    assert_no_error(&browser, "Content Security Policy");
    assert_eq!(service.end().0, Some(0));
}

#[test]
#[ignore = "needs chromium: ./test"]
fn a_tenants_token_shows_the_tenants_alerts_and_the_page_survives_a_restart() {
    let (folder, service) = service(&[VIEWER_OF_ACME, TWO_TENANTS].concat());
    for (tenant, user) in [("acme", "ada"), ("globex", "grace"), ("acme", "alan")] {
        assert_eq!(service.post(record(tenant, user)).status, 200);
    }
    let browser = Browser::start(1280, 900);
    log_in(&browser, &service, ACME);
    browser.wait_for(&format!("{ALERTS} === 2"));
    browser.wait_for("document.getElementById('n-records').textContent === '2'");
    let text = browser.run("return document.documentElement.textContent + document.documentElement.innerHTML");
    let text = text.as_str().expect("a text");
    assert!(text.contains("alan") && !text.contains("grace") && !text.contains("globex"));
    assert_no_error(&browser, "");

    // It comes back by itself when the service does.
    let address = service.address.clone();
    service.kill();
    browser.wait_for("document.body.classList.contains('lost')");
    let again = config(&[VIEWER_OF_ACME, TWO_TENANTS].concat()).replace("127.0.0.1:0", &address);
    fs::write(folder.path().join("config.toml"), again).expect("written");
    let service = Service::start(folder.path(), &[]);
    browser.wait_for("document.getElementById('status').textContent === 'Live'");
    assert_eq!(service.post(record("acme", "anita")).status, 200);
    browser.wait_for(&format!("{ALERTS} === 3"));
}

/// A flood of alerts: all are counted and drawn, the newest are listed, and the page says that there are more.
#[test]
#[ignore = "needs chromium: ./test"]
fn of_ten_thousand_alerts_all_are_counted_and_the_newest_listed() {
    let (_folder, service) = service("");
    let browser = Browser::start(1280, 900);
    log_in(&browser, &service, EYES);
    browser.wait_for("document.getElementById('status').textContent === 'Live'");
    let alert = record("acme", "ada");
    for minute in 0..20 {
        let numbered = |n: u32| {
            let mut record: Value = serde_json::from_str(&alert).expect("JSON");
            record["auditID"] = format!("flood-{minute}-{n}").into();
            // Within the limit of alerts in an event's minute.
            record["requestReceivedTimestamp"] = format!("2026-11-18T09:{minute:02}:00Z").into();
            record.to_string() + "\n"
        };
        let answer = service.post((0..500).map(numbered).collect::<String>());
        assert_eq!((answer.status, &answer.json()["alerts"]), (200, &json!(500)), "{}", answer.text);
    }
    browser.wait_for("document.getElementById('n-alerts').textContent === '10,000'");
    browser.wait_for("document.querySelector('#by-rule b').textContent === '10,000'");
    let chart = browser.run("return document.querySelector('#by-rule svg').getAttribute('aria-label')");
    let chart = chart.as_str().expect("a text");
    assert!(chart.starts_with(&format!("Alerts of {NODEPORT} per minute over the last hour: ")), "{chart}");
    assert!(chart.ends_with("together 10,000."), "{chart}");
    browser
        .wait_for("document.getElementById('shown').textContent === '100 alerts, newest first; 10,000 since the start, with repeated ones'");
    assert_eq!(browser.run(&format!("return {ALERTS}")), json!(100));
    browser.run("document.getElementById('by-text').focus()");
    browser.type_keys("nobody-has-this-name");
    browser.wait_for("document.getElementById('shown').textContent === '0 of 100 alerts; 10,000 since the start, with repeated ones'");
    assert_no_error(&browser, "");
    assert_eq!(service.end().0, Some(0));
}

/// The picture in the README: the samples' alerts on the page. `PORTCULLIS_PICTURE=1 ./test picture` takes it anew, which
/// takes nine minutes, so that the charts have something to show.
#[test]
#[ignore = "needs chromium: ./test"]
fn the_picture_in_the_readme_is_small_and_of_this_page() {
    let is_taken = std::env::var_os("PORTCULLIS_PICTURE").is_some();
    let (_folder, service) = service("");
    let browser = Browser::start(WIDTH, 900);
    log_in(&browser, &service, EYES);
    let samples = ["eks.ndjson", "aks.ndjson", "gke.ndjson"].map(|name| fs::read_to_string(sample(name)).expect(name));
    for (n, record) in (0..).zip(samples.iter().flat_map(|records| records.lines())) {
        assert_eq!(service.post(record).status, 200);
        if is_taken {
            std::thread::sleep(Duration::from_secs(3 * (n * n % 13)));
        }
    }
    browser.wait_for(&format!("{ALERTS} === 11 && document.querySelectorAll('#by-rule li').length === 2"));
    assert_no_error(&browser, "");
    browser.resize(WIDTH, 900);
    browser.wait_for(&format!("innerWidth === {WIDTH}"));
    browser.run("document.activeElement.blur()");
    let picture = browser.scaled_picture(0.65);
    let file =
        if is_taken { project("docs/page.png") } else { Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.png") };
    fs::write(file, &picture).expect("written");
    let checked_in = fs::read(project("docs/page.png")).expect("the picture");
    for picture in [picture, checked_in] {
        assert!(picture.len() <= 200_000, "{} bytes", picture.len());
        // A PNG begins with eight bytes, then the length and name of its header, then its width.
        assert_eq!(picture[16..20], (WIDTH * 13 / 20).to_be_bytes());
    }
}

/// The README's two commands and its sample, with free ports in the place of its own.
#[test]
#[ignore = "needs nats-server and chromium: ./test"]
fn the_example_shows_an_alert_of_a_posted_sample() {
    let nats = Nats::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let example = project("deploy/try");
    let text = fs::read_to_string(example.join("serve.toml")).expect("the example");
    let replaced =
        [("127.0.0.1:8080", "127.0.0.1:0"), ("nats://127.0.0.1:4222", &*nats.url()), ("../../target/try", "data")];
    let text = replaced.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} is in the example");
        text.replace(from, to)
    });
    fs::write(folder.path().join("config.toml"), text).expect("written");
    fs::copy(example.join("token"), folder.path().join("token")).expect("copied");
    let token = fs::read_to_string(example.join("token")).expect("the token");
    let service = Service::start(folder.path(), &[]);
    wait_until("it is ready", || {
        ask(&agent(), "GET", &service.url("/readyz"), &[], b"").is_ok_and(|answer| answer.status == 200)
    });
    let browser = Browser::start(1280, 900);
    log_in(&browser, &service, token.trim());
    let authorization = format!("Bearer {}", token.trim());
    let sample = fs::read(sample("eks.ndjson")).expect("the sample");
    let answer = ask(&agent(), "POST", &service.url("/v1/records"), &[("Authorization", &authorization)], &sample);
    assert_eq!(answer.expect("it answers").json()["stored"], true);
    browser.wait_for(&format!("{ALERTS} === 6"));
    assert_no_error(&browser, "");
    assert_eq!(service.end().0, Some(0));
}
