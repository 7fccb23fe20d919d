//! A browser without a window, driven as the `WebDriver` standard says.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::service::{agent, ask, wait_until};

/// A browser that shows a page. It ends with the test.
pub(crate) struct Browser {
    driver: Driver,
    session: String,
    /// What the browser keeps, which goes after it.
    _folder: tempfile::TempDir,
}

struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    /// Starts one with a page of this many pixels.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("chromedriver: {error}: the test of the page needs the Debian packages chromium and chromium-driver")
        });
        let mut driver = Driver(child);
        let mut lines = BufReader::new(driver.0.stdout.take().expect("piped")).lines();
        let port = lines
            .find_map(|line| {
                let line = line.expect("UTF-8");
                let (_, port) = line.split_once("started successfully on port ")?;
                Some(port.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver says on which port it listens");
        // Whoever writes into a pipe that nobody reads waits.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut args: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]
        .map(str::to_owned)
        .into();
        args.push(format!("--user-data-dir={}", folder.path().display()));
        args.push(format!("--window-size={width},{height}"));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": args}, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let root = format!("http://127.0.0.1:{port}/session");
        let answer = ask(&agent(), "POST", &root, &[], wanted.to_string().as_bytes()).expect("it answers");
        let started = answer.json();
        let session = started["value"]["sessionId"].as_str().unwrap_or_else(|| {
            panic!("{started}: the test of the page needs the Debian packages chromium and chromium-driver")
        });
        Self { driver, session: format!("{root}/{session}"), _folder: folder }
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = ask(&agent(), method, &format!("{}{path}", self.session), &[], body.to_string().as_bytes());
        let answer = answer.expect("it answers");
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
        answer.json()["value"].take()
    }

    /// Shows this page.
    pub(crate) fn go(&self, url: &str) {
        self.command("POST", "/url", &json!({"url": url}));
    }

    /// What a script of the test's own returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits for an expression of JavaScript to be true.
    pub(crate) fn wait_for(&self, expression: &str) {
        wait_until(expression, || self.run(&format!("return Boolean({expression})")) == true);
    }

    /// Types as with a keyboard into whatever has the focus. `\u{E007}` is Enter, `\u{E004}` is Tab.
    pub(crate) fn type_keys(&self, keys: &str) {
        let actions = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let actions: Vec<Value> = actions.collect();
        self.command("POST", "/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Has the page seen on a screen of this many pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.command("POST", "/goog/cdp/execute", &command);
    }

    /// What the browser's console says since it was asked last, and how bad it is.
    pub(crate) fn console(&self) -> Vec<(String, String)> {
        let entries = self.command("POST", "/se/log", &json!({"type": "browser"}));
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let entries = entries.as_array().into_iter().flatten();
        entries.map(|entry| (text(entry, "level"), text(entry, "message"))).collect()
    }

    /// A picture of the whole page, as a PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        self.captured(&json!({"captureBeyondViewport": true}))
    }

    /// A picture of the whole page in another scale.
    pub(crate) fn scaled_picture(&self, scale: f64) -> Vec<u8> {
        let size = self.run("const it = document.documentElement; return [it.scrollWidth, it.scrollHeight]");
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": scale});
        self.captured(&json!({"captureBeyondViewport": true, "clip": clip}))
    }

    fn captured(&self, params: &Value) -> Vec<u8> {
        let command = json!({"cmd": "Page.captureScreenshot", "params": params});
        let picture = self.command("POST", "/goog/cdp/execute", &command);
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a text")).expect("Base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver is ended after it.
        let _ = ask(&agent(), "DELETE", &self.session, &[], b"");
        let _ = &self.driver;
    }
}
