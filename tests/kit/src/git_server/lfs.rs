//! The part of a git server that keeps large files: git-lfs's batch API, with the transfer that it calls basic.

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::lock;
use crate::{http::Recorded, idp::Reply};

/// The files, by their SHA-256 in hex. They are the same for all repositories.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<BTreeMap<String, Vec<u8>>>);

impl Store {
    /// Keeps a file; gives what stands for it in the repository.
    pub(super) fn put(&self, content: &[u8]) -> String {
        let oid = oid(content);
        let size = content.len();
        lock(&self.0).insert(oid.clone(), content.to_owned());
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
    }

    pub(super) fn has(&self, content: &[u8]) -> bool {
        lock(&self.0).contains_key(&oid(content))
    }

    /// Answers what git-lfs asks below `REPOSITORY.git/info/lfs/`; all else is not for this.
    pub(super) fn answer(&self, origin: &str, request: &Recorded) -> Option<Reply> {
        let (repository, what) = request.route().split_once("/info/lfs/")?;
        let objects = format!("{origin}{repository}/info/lfs/objects");
        Some(match (request.method.as_str(), what.strip_prefix("objects/")) {
            ("POST", Some("batch")) => self.batch(&objects, &request.json()),
            ("GET", Some(oid)) => {
                let content = lock(&self.0).get(oid).cloned();
                content.map_or_else(|| Reply::status(404), |content| Reply::raw(200, content))
            }
            ("PUT", Some(named)) if named == oid(&request.body) => {
                let _ = self.put(&request.body);
                Reply::status(200)
            }
            ("PUT", _) => Reply::status(422),
            // Locks, for one.
            _ => Reply::json(404, &json!({ "message": "there is no such thing here" })),
        })
    }

    fn batch(&self, objects: &str, asked: &Value) -> Reply {
        let operation = asked["operation"].as_str().unwrap_or_default();
        let one = |object: &Value| {
            let (oid, size) = (&object["oid"], &object["size"]);
            let name = oid.as_str().unwrap_or_default();
            match (operation, lock(&self.0).contains_key(name)) {
                ("download", false) => {
                    json!({ "oid": oid, "size": size, "error": { "code": 404, "message": "not here" } })
                }
                // It need not be brought again.
                ("upload", true) => json!({ "oid": oid, "size": size }),
                _ => {
                    let to = json!({ "href": format!("{objects}/{name}") });
                    json!({ "oid": oid, "size": size, "actions": { operation: to } })
                }
            }
        };
        let answers: Vec<_> = asked["objects"].as_array().into_iter().flatten().map(one).collect();
        let body = json!({ "transfer": "basic", "objects": answers });
        Reply::json(200, &body).header("Content-Type", "application/vnd.git-lfs+json")
    }
}

fn oid(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
