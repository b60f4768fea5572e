//! A real browser, headless, led by its own protocol over two pipes.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Texts whose contrast with what is behind them is less than what WCAG asks for (4.5).
const FAINT: &str = r#"
(() => {
  const light = (text) => {
    const parts = text.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const paper = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (!/, 0\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own) continue;
    const pair = [light(getComputedStyle(node).color), light(paper(node))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(1)}: ${node.textContent.slice(0, 40)}`);
  }
  return faint;
})()
"#;
const PAPER: &str = "getComputedStyle(document.body).backgroundColor";

pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: String,
    /// What came beside the answers.
    events: Vec<Value>,
    last: u64,
    _home: tempfile::TempDir,
}

/// What was seen of a page.
pub struct Seen {
    /// Errors and warnings of the console.
    pub complaints: Vec<String>,
    pub requests: usize,
    /// How wide it is, what has to be scrolled to counted.
    pub width: u64,
    pub faint: Vec<String>,
    /// The colour behind everything.
    pub paper: String,
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut places = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    places.find(|place| place.is_file())
}

impl Browser {
    /// Starts it, with its network off; `None` where there is none.
    pub fn start() -> Option<Self> {
        let program = program()?;
        let home = tempfile::tempdir().unwrap();
        let pipes = ["to", "from"].map(|name| home.path().join(name));
        assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
        let child = Command::new("sh")
            .args([
                "-c",
                "exec \"$1\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
                   --user-data-dir=\"$2\" --remote-debugging-pipe about:blank 3<\"$3\" 4>\"$4\"",
                "sh",
            ])
            .arg(program)
            .arg(home.path())
            .args(&pipes)
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let to = OpenOptions::new().write(true).open(&pipes[0]).unwrap();
        let from = BufReader::new(File::open(&pipes[1]).unwrap());
        let mut browser = Self { child, to, from, session: String::new(), events: Vec::new(), last: 0, _home: home };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Log", "Runtime", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.ask("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        let off = json!({"offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0});
        browser.ask("Network.emulateNetworkConditions", off);
        Some(browser)
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.next();
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn next(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&message).unwrap()
    }

    fn evaluate(&mut self, script: &str) -> Value {
        let result = self.ask("Runtime.evaluate", json!({"expression": script, "returnByValue": true}));
        result["result"]["value"].clone()
    }

    /// Opens a page, and takes its picture into the folder of the tests' own files.
    pub fn look(&mut self, page: &Path, (width, is_phone): (u64, bool), scheme: &str, shot: &str) -> Seen {
        let size = json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": is_phone});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.ask("Emulation.setEmulatedMedia", json!({"media": "", "features": [feature]}));
        self.events.clear();
        let opened = self.ask("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        assert!(opened["errorText"].is_null(), "{opened}");
        // What is fetched late, such as an icon, is asked for by then.
        let is_idle = |event: &Value| {
            let params = &event["params"];
            event["method"] == "Page.lifecycleEvent"
                && params["name"] == "networkIdle"
                && params["loaderId"] == opened["loaderId"]
        };
        while !self.events.iter().any(is_idle) {
            let event = self.next();
            self.events.push(event);
        }
        let faint: Vec<String> = serde_json::from_value(self.evaluate(FAINT)).unwrap();
        let wide = self.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
        let paper = self.evaluate(PAPER).as_str().unwrap().to_owned();
        let picture = self.ask("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(shot), picture).unwrap();
        let events = std::mem::take(&mut self.events);
        let of = |method: &str| events.iter().filter(|event| event["method"] == method).collect::<Vec<_>>();
        let mut complaints: Vec<String> =
            of("Log.entryAdded").iter().map(|event| event["params"].to_string()).collect();
        complaints.extend(of("Runtime.consoleAPICalled").iter().map(|event| event["params"].to_string()));
        complaints.extend(of("Runtime.exceptionThrown").iter().map(|event| event["params"].to_string()));
        Seen { complaints, requests: of("Network.requestWillBeSent").len(), width: wide, faint, paper }
    }

    /// Prints the page that is open: the colour behind it, and the PDF.
    pub fn print(&mut self) -> (String, Vec<u8>) {
        self.ask("Emulation.setEmulatedMedia", json!({"media": "print"}));
        let paper = self.evaluate(PAPER).as_str().unwrap().to_owned();
        let pdf = self.ask("Page.printToPDF", json!({}));
        (paper, STANDARD.decode(pdf["data"].as_str().unwrap()).unwrap())
    }

    pub fn stop(mut self) {
        self.session.clear();
        self.ask("Browser.close", json!({}));
        self.child.wait().unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
