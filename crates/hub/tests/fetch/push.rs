//! Publishing, to a server of this process that speaks the Hub's protocol, and a storage on another port.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mtl_hub::{Hub, Patience, Push, Pushed, Silent};
use serde_json::{Value, json};

use crate::hub::sha256;
use crate::server::{Reply, Request, Server};

const TOKEN: &str = "hf_canary";
const REPOSITORY: &str = "some-org/mine";

/// What the two servers were sent.
#[derive(Default)]
struct Held {
    /// By SHA-256.
    stored: BTreeMap<String, Vec<u8>>,
    created: Option<Value>,
    /// The lines of each commit.
    commits: Vec<Vec<Value>>,
}

/// A Hub and its storage.
struct Pair {
    hub: Server,
    storage: Server,
    held: Arc<Mutex<Held>>,
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

fn answer(value: &Value) -> Reply {
    Reply::of(value.to_string().as_bytes())
}

/// What an honest Hub answers, whose storage is at `storage`.
fn honest(held: &Mutex<Held>, storage: &str, request: &Request) -> Reply {
    let mut held = held.lock().expect("no panic");
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/repos/create") if held.created.is_some() => Reply::status(409),
        ("POST", "/api/repos/create") => {
            held.created = Some(body(request));
            answer(&json!({ "url": "…" }))
        }
        ("POST", "/api/models/some-org/mine/preupload/main") => {
            let judged = |file: &Value| {
                let large = file["path"].as_str().is_some_and(|path| path.ends_with(".safetensors"));
                let sample = STANDARD.decode(file["sample"].as_str().expect("a sample")).expect("base64");
                assert_eq!(sample.len() as u64, file["size"].as_u64().expect("a size").min(512));
                json!({ "path": file["path"], "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": false })
            };
            let files: Vec<Value> = body(request)["files"].as_array().expect("files").iter().map(judged).collect();
            answer(&json!({ "files": files }))
        }
        ("POST", "/some-org/mine.git/info/lfs/objects/batch") => {
            let asked = body(request);
            assert_eq!((&asked["operation"], &asked["transfers"]), (&json!("upload"), &json!(["basic"])));
            let object = |object: &Value| {
                let oid = object["oid"].as_str().expect("an oid");
                let mut told = json!({ "oid": oid, "size": object["size"] });
                if !held.stored.contains_key(oid) {
                    let href = format!("{storage}/put/{oid}?signed=1");
                    told["actions"] = json!({ "upload": { "href": href, "header": { "x-signed": "yes" } } });
                }
                told
            };
            let objects: Vec<Value> = asked["objects"].as_array().expect("objects").iter().map(object).collect();
            answer(&json!({ "transfer": "basic", "objects": objects }))
        }
        ("POST", "/api/models/some-org/mine/commit/main") => {
            let text = String::from_utf8(request.body.clone()).expect("text");
            held.commits.push(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect());
            answer(&json!({ "commitUrl": "http://hub/commit/1", "commitOid": "c0ffee" }))
        }
        other => panic!("nobody asks a Hub for {other:?}"),
    }
}

impl Pair {
    /// A pair whose Hub answers as `fault` says, where it says anything.
    fn start(fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let held = Arc::new(Mutex::new(Held::default()));
        let kept = held.clone();
        let storage = Server::start(move |request| {
            let oid = request.path.strip_prefix("/put/").and_then(|rest| rest.split('?').next()).expect("a put");
            assert_eq!(request.headers.get("x-signed").map(String::as_str), Some("yes"));
            kept.lock().expect("no panic").stored.insert(oid.to_owned(), request.body.clone());
            Reply::status(200)
        });
        let (kept, place) = (held.clone(), storage.url());
        let hub = Server::start(move |request| fault(request).unwrap_or_else(|| honest(&kept, &place, request)));
        Self { hub, storage, held }
    }

    fn push(&self, folder: &Path, token: Option<&str>) -> Result<Pushed, String> {
        let mut hub = Hub::at(&self.hub.url());
        hub.token = token.map(String::from);
        let push = Push { folder, repository: REPOSITORY, public: false, message: "A model" };
        let patience = Patience { attempts: 3, pause: Duration::from_millis(1), ..Patience::default() };
        hub.push(&push, patience, &Silent).map_err(|error| format!("{error:#}"))
    }
}

/// Weights of a few hundred kilobytes, and small files, one of them in a folder of its own.
fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let weights: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::create_dir(folder.path().join("encoder")).expect("a folder");
    for (name, bytes) in [
        ("model.safetensors", &weights[..]),
        ("recipe.toml", b"tasks = []\n"),
        ("encoder/config.json", b"{}"),
        (".lock", b""),
        ("encoder/empty.safetensors", b""),
    ] {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    (folder, weights)
}

#[test]
fn a_folder_becomes_one_commit_and_its_weights_go_to_the_storage() {
    let (pair, (folder, weights)) = (Pair::start(|_| None), folder());
    let pushed = pair.push(folder.path(), Some(TOKEN)).expect("pushed");
    let expected = Pushed { url: "http://hub/commit/1".into(), commit: "c0ffee".into(), files: 4, sent: 1 };
    assert_eq!(pushed, expected);
    {
        let held = pair.held.lock().expect("no panic");
        let created = json!({ "name": "mine", "organization": "some-org", "visibility": "private" });
        assert_eq!(held.created, Some(created));
        assert_eq!(held.stored.get(&sha256(&weights)), Some(&weights), "byte for byte, by its SHA-256");
        let lines = &held.commits[0];
        assert_eq!(lines[0]["value"]["summary"], "A model");
        let by_name = |name: &str| lines.iter().find(|line| line["value"]["path"] == name).expect("a line");
        let config = &by_name("encoder/config.json");
        assert_eq!((&config["key"], &config["value"]["content"]), (&json!("file"), &json!(STANDARD.encode("{}"))));
        let large = by_name("model.safetensors");
        assert_eq!((&large["key"], &large["value"]["oid"]), (&json!("lfsFile"), &json!(sha256(&weights))));
        assert_eq!(by_name("encoder/empty.safetensors")["key"], "file", "no storage takes an empty file");
        assert_eq!(lines.len(), 5, "hidden files stay");
    }
    // Again: the repository is there, and the storage has the weights.
    let again = pair.push(folder.path(), Some(TOKEN)).expect("pushed");
    assert_eq!((again.files, again.sent, pair.storage.seen().len()), (4, 0, 1));
}

#[test]
fn the_token_is_shown_to_the_hub_alone_and_asked_for_before_anything_is_sent() {
    let (pair, (folder, _)) = (Pair::start(|_| None), folder());
    let error = pair.push(folder.path(), None).expect_err("no token");
    assert!(error.contains("needs a token") && error.contains("HF_TOKEN"), "{error}");
    assert_eq!(pair.hub.seen().len(), 0);
    pair.push(folder.path(), Some(TOKEN)).expect("pushed");
    let bearer = Some(format!("Bearer {TOKEN}"));
    assert!(pair.hub.seen().iter().all(|(request, _)| request.token == bearer));
    assert_eq!(pair.storage.seen().len(), 1);
    assert!(pair.storage.seen().iter().all(|(request, _)| request.token.is_none()));

    let refusing = Pair::start(|_| Some(Reply::status(403).with("X-Error-Message", "read only")));
    let error = refusing.push(folder.path(), Some(TOKEN)).expect_err("403");
    assert!(error.contains("403: read only") && error.contains("may write") && !error.contains(TOKEN), "{error}");
}

#[test]
fn a_hub_that_is_busy_is_asked_again_and_one_that_lies_gets_no_commit() {
    let (folder, _) = folder();
    let busy = Pair::start(|request| (request.before % 2 == 0).then(|| Reply::status(503)));
    assert_eq!(busy.push(folder.path(), Some(TOKEN)).expect("pushed").files, 4);

    let batch = |request: &Request| request.path.ends_with("/batch");
    let sha = |request: &Request| body(request)["objects"][0]["oid"].clone();
    let refused = json!({ "code": 422, "message": "too much" });
    type Fault = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;
    let told = |told: Value| answer(&json!({ "objects": [told] }));
    let faults: Vec<(Fault, &str)> = vec![
        (Box::new(|_| Some(Reply::of(b"<html>"))), "not one of a Hub"),
        (Box::new(|_| Some(Reply::status(302).with("Location", "http://127.0.0.1:9/"))), "leads elsewhere"),
        (Box::new(|_| Some(Reply::status(500))), "given up after 3 attempts"),
        (
            Box::new(|request| request.path.contains("preupload").then(|| answer(&json!({ "files": [] })))),
            "does not say how to send it",
        ),
        (
            Box::new(move |request| batch(request).then(|| told(json!({ "oid": sha(request), "error": refused })))),
            "`model.safetensors`: the storage refuses it: too much",
        ),
        (Box::new(move |request| batch(request).then(|| told(json!({ "oid": "other" })))), "says nothing of it"),
        (
            Box::new(move |request| {
                let actions = json!({ "upload": { "href": "ftp://elsewhere/" } });
                batch(request).then(|| told(json!({ "oid": sha(request), "actions": actions })))
            }),
            "begins with neither https:// nor http://",
        ),
    ];
    for (fault, part) in faults {
        let pair = Pair::start(fault);
        let error = pair.push(folder.path(), Some(TOKEN)).expect_err(part);
        assert!(error.contains(part), "expected {part:?} in: {error}");
        assert!(pair.held.lock().expect("no panic").commits.is_empty(), "{part}");
    }
    let empty = tempfile::tempdir().expect("a folder");
    let error = Pair::start(|_| None).push(empty.path(), Some(TOKEN)).expect_err("nothing");
    assert!(error.contains("no file to publish"), "{error}");
}
