//! One image of nothing, as docker-registry keeps it on disk.

use std::{fmt::Write as _, fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use ring::digest::{SHA256, digest};
use serde_json::json;

pub(super) const REPOSITORY: &str = "a/b";
pub(super) const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Writes the image into the registry's storage, tagged `latest`.
pub(super) fn write(storage: &Path) {
    let root = storage.join("docker/registry/v2");
    let repository = root.join("repositories").join(REPOSITORY);
    // The end of a tar archive, and no more.
    let tar = [0; 1024];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).expect("compress into memory");
    let layer = gzip.finish().expect("compress into memory");
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&tar))] },
    })
    .to_string();
    let part = |kind: &str, content: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.docker.{kind}"), "size": content.len(),
            "digest": format!("sha256:{}", blob(&root, content)),
        })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": part("container.image.v1+json", config.as_bytes()),
        "layers": [part("image.rootfs.diff.tar.gzip", &layer)],
    })
    .to_string();
    let manifest = blob(&root, manifest.as_bytes());
    for content in [config.as_bytes(), &layer] {
        link(&repository.join("_layers/sha256").join(hex(content)), &hex(content));
    }
    link(&repository.join("_manifests/revisions/sha256").join(&manifest), &manifest);
    let tag = repository.join("_manifests/tags/latest");
    link(&tag.join("current"), &manifest);
    link(&tag.join("index/sha256").join(&manifest), &manifest);
}

fn blob(root: &Path, content: &[u8]) -> String {
    let hex = hex(content);
    let dir = root.join("blobs/sha256").join(&hex[..2]).join(&hex);
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("data"), content).expect("a blob");
    hex
}

fn link(dir: &Path, hex: &str) {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("link"), format!("sha256:{hex}")).expect("a link");
}

fn hex(content: &[u8]) -> String {
    let mut hex = String::new();
    for byte in digest(&SHA256, content).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
