//! Container images without a registry: OCI archives of one layer, the same bytes for the same input.
//!
//! Input: files of this machine. Output: a tar file that `ctr images import` takes.
//! I/O: reads the files, writes the archive.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::encoding::sha256;

/// What goes into an image.
pub(crate) struct Content<'a> {
    /// All names it has, complete ones (see [`full_name`]).
    pub(crate) names: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    /// Binaries, and the libraries that they need: where each lies in the image, where on this machine.
    pub(crate) binaries: Vec<(String, &'a Path)>,
    /// Commands that are links to `/bin/busybox`.
    pub(crate) applets: Vec<String>,
}

/// A name as container runtimes complete it: `busybox` is `docker.io/library/busybox:latest`.
pub(crate) fn full_name(name: &str) -> String {
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let tag = if path.contains([':', '@']) { "" } else { ":latest" };
    format!("{host}/{path}{tag}")
}

/// Writes an image's archive.
pub(crate) fn write(content: &Content<'_>, output: &Path) -> Result<()> {
    let layer = layer(content)?;
    let layer_hash = sha256(&layer);
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": content.entrypoint,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_hash}")]},
        "history": [{"created_by": "devcluster"}],
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &sha256(&config), config.len()),
        "layers": [descriptor("layer.v1.tar", &layer_hash, layer.len())],
    });
    let manifest = manifest.to_string().into_bytes();
    let manifest_hash = sha256(&manifest);
    let named = |name: &String| {
        let annotations =
            json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{manifest_hash}"),
            "size": manifest.len(),
            "annotations": annotations,
        })
    };
    let index = json!({"schemaVersion": 2, "manifests": content.names.iter().map(named).collect::<Vec<_>>()});
    let mut archive = Archive::new();
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    archive.file("index.json", index.to_string().as_bytes(), 0o644)?;
    for (hash, blob) in [(&sha256(&config), &config), (&manifest_hash, &manifest), (&layer_hash, &layer)] {
        archive.file(&format!("blobs/sha256/{hash}"), blob, 0o644)?;
    }
    let mut file = fs::File::create(output).with_context(|| format!("cannot write {}", output.display()))?;
    file.write_all(&archive.finish()?).with_context(|| format!("cannot write {}", output.display()))
}

fn layer(content: &Content<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for (folder, mode) in
        [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755)]
    {
        archive.folder(folder, mode)?;
    }
    archive.file(
        "etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        0o644,
    )?;
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)?;
    for (path, binary) in &content.binaries {
        let relative =
            path.strip_prefix('/').with_context(|| format!("{path}: an entrypoint is an absolute path"))?;
        ensure!(!relative.split('/').any(|part| part.is_empty() || part == ".."), "{path} is no plain path");
        let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
        archive.file(relative, &bytes, 0o755)?;
    }
    let taken =
        |applet: &str| content.binaries.iter().any(|(path, _)| path.strip_prefix("/bin/") == Some(applet));
    for applet in content.applets.iter().filter(|applet| !taken(applet)) {
        archive.link(&format!("bin/{applet}"), "/bin/busybox")?;
    }
    archive.finish()
}

fn descriptor(kind: &str, hash: &str, size: usize) -> Value {
    json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{hash}"), "size": size})
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar file in which nothing depends on when, where or by whom it was made.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let mut header = Self::header(EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        Ok(self.0.append_data(&mut header, path, content)?)
    }

    fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let mut header = Self::header(EntryType::Directory, mode);
        Ok(self.0.append_data(&mut header, path, std::io::empty())?)
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let mut header = Self::header(EntryType::Symlink, 0o777);
        Ok(self.0.append_link(&mut header, path, target)?)
    }

    fn header(kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
    }

    fn finish(self) -> Result<Vec<u8>> {
        Ok(self.0.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_runtimes_do() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("team/tool", "docker.io/team/tool:latest"),
            ("localhost/runner:dev", "localhost/runner:dev"),
            ("registry.example:5000/a/b", "registry.example:5000/a/b:latest"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }

    #[test]
    fn the_same_input_makes_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("tool");
        // The smallest thing that passes for a static binary: a header and no program headers.
        fs::write(&binary, [b"\x7fELF\x02\x01".as_slice(), &[0; 58]].concat()).unwrap();
        let make = |output: &str| {
            let content = Content {
                names: vec![full_name("tool"), full_name("other")],
                entrypoint: vec!["/bin/tool".into()],
                binaries: vec![("/bin/tool".into(), &binary)],
                applets: vec!["sh".into()],
            };
            let output = folder.path().join(output);
            write(&content, &output).unwrap();
            fs::read(output).unwrap()
        };
        let (first, second) = (make("1"), make("2"));
        assert!(first == second);
        assert!(String::from_utf8_lossy(&first).contains("docker.io/library/other:latest"));
    }
}
