//! Which images a cluster has, and getting them into its containerd.
//! I/O: makes archives in the cluster's folder, runs `ctr images import`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{Program, run};
use crate::image::{Content, full_name, write};
use crate::options::Image;
use crate::progress::Step;
use crate::ready::ctr;
use crate::servers::{PAUSE_IMAGE, Setup, executor_image};

/// An image to be made of a binary.
struct Plan {
    names: Vec<String>,
    entrypoint: Vec<String>,
    /// Beside busybox, which is in each.
    binary: Option<(String, PathBuf)>,
}

/// Imports those images that the cluster lacks or has made of something else. `known` is brought up to date.
pub(crate) async fn load(setup: &Setup, extra: &[Image], known: &mut BTreeMap<String, String>) -> Result<()> {
    let plans = plans(setup, extra)?;
    for plan in plans {
        let source = plan.source(&setup.packages()?.busybox)?;
        if plan.names.iter().all(|name| known.get(name) == Some(&source)) {
            continue;
        }
        let step = Step::start(format!("image {}", plan.names.join(", ")));
        import(setup, &plan).await?;
        known.extend(plan.names.into_iter().map(|name| (name, source.clone())));
        step.done();
    }
    Ok(())
}

fn plans(setup: &Setup, extra: &[Image]) -> Result<Vec<Plan>> {
    // Nothing reaps or forwards for process 1 of a pod, and by itself it ignores SIGTERM.
    let pause = "trap 'exit 0' TERM INT; while :; do sleep 2147483 & wait; done";
    let argoexec = setup.binaries.path(Program::Argoexec);
    let mut plans = vec![
        Plan {
            names: vec![full_name(PAUSE_IMAGE)],
            entrypoint: ["/bin/sh", "-c", pause].map(String::from).into(),
            binary: None,
        },
        // With a tag that is not latest as well: such an image is not pulled unless a pod asks for it.
        Plan {
            names: ["busybox", "busybox:1", "alpine"].map(full_name).into(),
            entrypoint: Vec::new(),
            binary: None,
        },
        Plan {
            names: vec![full_name(&executor_image()?)],
            entrypoint: vec!["/bin/argoexec".into()],
            binary: Some(("/bin/argoexec".into(), argoexec)),
        },
    ];
    for image in extra {
        let place =
            image.entrypoint.first().with_context(|| format!("image {} has no entrypoint", image.name))?;
        ensure!(!image.name.is_empty(), "an image needs a name");
        plans.push(Plan {
            names: vec![full_name(&image.name)],
            entrypoint: image.entrypoint.clone(),
            binary: Some((place.clone(), image.binary.clone())),
        });
    }
    Ok(plans)
}

impl Plan {
    /// Changes whenever the image would.
    fn source(&self, busybox: &Path) -> Result<String> {
        let binary = self.binary.as_ref().map_or(busybox, |(_, binary)| binary);
        let data =
            fs::metadata(binary).with_context(|| format!("there is no binary {}", binary.display()))?;
        let modified = (data.mtime(), data.mtime_nsec());
        Ok(format!("{} {} {modified:?} {:?}", binary.display(), data.len(), self.entrypoint))
    }
}

async fn import(setup: &Setup, plan: &Plan) -> Result<()> {
    let busybox = &setup.packages()?.busybox;
    let applets = run(Command::new(busybox).arg("--list"))?;
    let mut binaries = vec![("/bin/busybox".to_owned(), busybox.as_path())];
    binaries.extend(plan.binary.iter().map(|(place, binary)| (place.clone(), binary.as_path())));
    let content = Content {
        names: plan.names.clone(),
        entrypoint: plan.entrypoint.clone(),
        binaries,
        applets: applets.lines().filter(|applet| *applet != "busybox").map(String::from).collect(),
    };
    let archive = setup.folder.make_parent_of("run/image.tar")?;
    write(&content, &archive).with_context(|| format!("cannot make the image {}", plan.names.join(", ")))?;
    let path = archive.display().to_string();
    ctr(&setup.folder, &["images", "import", &path]).await?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {path}"))?;
    let listed = ctr(&setup.folder, &["images", "list", "--quiet"]).await?;
    for name in &plan.names {
        ensure!(
            listed.lines().any(|line| line == name),
            "containerd does not list the image {name} after its import"
        );
    }
    Ok(())
}
