//! A Kubernetes API in memory: objects by their paths, and the requests that were made. What a test wants to be otherwise
//! it says with a function that is asked first.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A request: method, path, and body.
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Value,
}

/// An answer in place of the usual one.
pub type Instead = Box<dyn Fn(&Request, &mut Objects) -> Option<(u16, Value)> + Send + Sync>;
pub type Objects = BTreeMap<String, Value>;

/// The API server; it lives as long as the test's process.
pub struct Api {
    pub port: u16,
    objects: Arc<Mutex<Objects>>,
    log: Arc<Mutex<Vec<String>>>,
    date: Arc<Mutex<Option<String>>>,
}

impl Api {
    pub fn serve(instead: Instead) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (objects, log) = (Arc::<Mutex<Objects>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let date = Arc::<Mutex<Option<String>>>::default();
        let served = (Arc::clone(&objects), Arc::clone(&log), Arc::clone(&date), Arc::new(instead));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (objects, log, date, instead) = served.clone();
                std::thread::spawn(move || {
                    let date = date.lock().unwrap().clone();
                    answer(stream, &objects, &log, date, &instead)
                });
            }
        });
        Self { port, objects, log, date }
    }

    /// What the answers from now on say of the time, if anything.
    pub fn set_date(&self, date: Option<String>) {
        *self.date.lock().unwrap() = date;
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "bearer-of-the-kubeconfig-7Yq2"}}],
        })
        .to_string()
    }

    pub fn set(&self, path: &str, object: Value) {
        keep(object, path, &mut self.objects.lock().unwrap());
    }

    pub fn remove(&self, path: &str) {
        self.objects.lock().unwrap().remove(path);
    }

    pub fn get(&self, path: &str) -> Value {
        self.objects.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    /// The requests so far that would change something, as `PATCH /apis/...`.
    pub fn changes(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|asked| !asked.starts_with("GET") && !asked.contains("accessreviews")).cloned().collect()
    }
}

/// One request of a connection; each is closed after its answer. A peer that hangs up is no matter.
fn answer(
    stream: TcpStream,
    objects: &Mutex<Objects>,
    log: &Mutex<Vec<String>>,
    date: Option<String>,
    instead: &Instead,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = target.split('?').next()?.to_owned();
    let is_dry = method == "POST" && target.contains("dryRun=All");
    log.lock().unwrap().push(format!("{method} {target}"));
    let request = Request { method, path, body: serde_json::from_slice(&body).unwrap_or_default() };
    let (code, reply) = {
        let mut objects = objects.lock().unwrap();
        instead(&request, &mut objects).unwrap_or_else(|| match is_dry {
            true => (201, request.body),
            false => act(request, &mut objects),
        })
    };
    let text = reply.to_string();
    let date = date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {code} X\r\n{date}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).ok()
}

pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn act(Request { method, path, body }: Request, objects: &mut Objects) -> (u16, Value) {
    if path == "/version" {
        let empty = ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
        let mut version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"});
        empty.iter().for_each(|key| version[*key] = "".into());
        return (200, version);
    }
    let parts: Vec<&str> =
        path.trim_start_matches('/').split('/').skip(if path.starts_with("/api/") { 2 } else { 3 }).collect();
    let named = match parts.as_slice() {
        ["namespaces", _, _, _, ..] => true,
        ["namespaces", _, _] => false,
        [_, _] => true,
        _ => false,
    };
    match method.as_str() {
        "GET" if path == "/api/v1/nodes" && !objects.contains_key("/api/v1/nodes/n1") => {
            (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": "n1"}}]}))
        }
        "GET" if !named => {
            let prefix = format!("{path}/");
            let items: Vec<&Value> =
                objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, object)| object).collect();
            (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}))
        }
        "GET" => match (objects.get(&path), parts.as_slice()) {
            (Some(object), _) => (200, object.clone()),
            (None, ["namespaces", name]) => {
                (200, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "uid": "uid-of-it"}}))
            }
            _ => (404, status(404, "NotFound", &format!("{} not found", parts.join("/")))),
        },
        "POST" if path.contains("accessreviews") => {
            let mut review = body;
            review["status"] = json!({"allowed": true});
            (201, review)
        }
        "POST" => {
            let name = body["metadata"]["name"].as_str().unwrap_or("unnamed").to_owned();
            (201, keep(body, &format!("{path}/{name}"), objects))
        }
        "DELETE" => match objects.remove(&path) {
            Some(_) => (200, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})),
            None => (404, status(404, "NotFound", "not found")),
        },
        "PUT" => (200, keep(body, &path, objects)),
        _ => {
            let mut object = objects.get(&path).cloned().unwrap_or_else(|| json!({}));
            merge(&mut object, body);
            (200, keep(object, &path, objects))
        }
    }
}

/// A Deployment's pods are ready at once.
fn keep(mut object: Value, path: &str, objects: &mut Objects) -> Value {
    object["metadata"]["uid"] = format!("uid-{}", objects.len()).into();
    object["metadata"]["resourceVersion"] = "7".into();
    if path.contains("/deployments/") {
        let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
        object["status"] = json!({"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas});
    }
    objects.insert(path.to_owned(), object.clone());
    object
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match value {
                    Value::Null => drop(into.remove(&key)),
                    value => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (into, from) => *into = from,
    }
}
