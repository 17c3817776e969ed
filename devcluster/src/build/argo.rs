//! What Argo's module needs before its programs build: a vendor folder of our own, and two changes in it.
//!
//! 1. `signal_linux.go` of argoexec is a symlink upstream, and module zips carry no symlinks: it is made again.
//! 2. workflow-controller serves health and profiles on port 6060 of *all* addresses, whatever it is told.
//!    Here it takes the address from `DEVCLUSTER_HEALTHZ`, so that it stays on the cluster's own loopback.
//!
//! Output: `<source>/vendor`, and Argo's full CRDs as JSON (parsed once, sent as they are ever after).
//! I/O: runs `go`; writes those two folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{go, run};
use crate::progress::Step;

pub(super) const MODULE: &str = "github.com/argoproj/argo-workflows/v3";

/// Names what is done here; a part of the cache key.
pub(super) const RECIPE: &str = "symlink, healthz address, full CRDs as JSON: 1";

const LISTEN: &str = r#"http.ListenAndServe(":6060", nil)"#;
const LISTEN_HERE: &str = r#"http.ListenAndServe(os.Getenv("DEVCLUSTER_HEALTHZ"), nil)"#;

/// Makes the vendor folder and the CRDs unless they are there.
pub(super) fn prepare(source: &Path, crds: &Path) -> Result<()> {
    let ready = source.join("vendor/.prepared");
    if ready.exists() {
        return Ok(());
    }
    let step = Step::announce("vendoring Argo's module", "about 20 s");
    let vendor = source.join("vendor");
    if vendor.exists() {
        fs::remove_dir_all(&vendor).with_context(|| format!("cannot remove {}", vendor.display()))?;
    }
    convert_crds(&download(source)?.join("manifests/base/crds/full"), crds)?;
    run(go(source).args(["mod", "vendor"])).context("cannot vendor Argo's module")?;
    let argo = vendor.join(MODULE);
    let signals = argo.join("workflow/executor/osspecific/signal_linux.go");
    std::os::unix::fs::symlink("signal_darwin.go", &signals)
        .with_context(|| format!("cannot make {}", signals.display()))?;
    patch(&argo.join("cmd/workflow-controller/main.go"))?;
    fs::write(&ready, "")?;
    step.done();
    Ok(())
}

fn download(source: &Path) -> Result<PathBuf> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Downloaded {
        dir: PathBuf,
    }
    let answer = run(go(source).args(["mod", "download", "-json", MODULE]))
        .context("cannot download Argo's module")?;
    let module: Downloaded =
        serde_json::from_str(&answer).context("go mod download says something unknown")?;
    Ok(module.dir)
}

fn patch(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        text.matches(LISTEN).count() == 1,
        "{} has changed: look for the address its health server listens on, and adapt build/argo.rs",
        file.display()
    );
    fs::remove_file(file)?; // it may be read-only
    fs::write(file, text.replace(LISTEN, LISTEN_HERE))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn convert_crds(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("Argo's CRDs are not in {}", from.display()))? {
        let file = entry?.path();
        let text = fs::read_to_string(&file)?;
        if !text.contains("\nkind: CustomResourceDefinition\n") {
            continue;
        }
        let crd: serde_json::Value =
            serde_yaml::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
        let name =
            crd.pointer("/metadata/name").and_then(|name| name.as_str()).context("a CRD without a name")?;
        fs::write(to.join(format!("{name}.json")), serde_json::to_vec(&crd)?)?;
    }
    Ok(())
}
