//! Which images a cluster has, and getting them into its containerd.
//! I/O: makes archives in the cluster's folder, runs `ctr images import`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{Program, elf::is_dynamic, packages, run};
use crate::image::{Content, full_name, write};
use crate::options::Image;
use crate::progress::Step;
use crate::ready::ctr;
use crate::servers::{PAUSE_IMAGE, Setup, executor_image};

/// An image to be made of a binary.
struct Plan {
    names: Vec<String>,
    entrypoint: Vec<String>,
    /// Beside busybox, which is in each: where each lies in the image, and here.
    binaries: Vec<(String, PathBuf)>,
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
            binaries: Vec::new(),
        },
        // With a tag that is not latest as well: such an image is not pulled unless a pod asks for it.
        Plan {
            names: ["busybox", "busybox:1", "alpine"].map(full_name).into(),
            entrypoint: Vec::new(),
            binaries: Vec::new(),
        },
        Plan {
            names: vec![full_name(&executor_image()?)],
            entrypoint: vec!["/bin/argoexec".into()],
            binaries: vec![("/bin/argoexec".into(), argoexec)],
        },
    ];
    plans.extend(extra.iter().map(Plan::of).collect::<Result<Vec<_>>>()?);
    Ok(plans)
}

impl Plan {
    fn of(image: &Image) -> Result<Self> {
        let place =
            image.entrypoint.first().with_context(|| format!("image {} has no entrypoint", image.name))?;
        ensure!(!image.name.is_empty(), "an image needs a name");
        let mut binaries = vec![(place.clone(), image.binary.clone())];
        for binary in &image.also {
            let file = binary.file_name().with_context(|| format!("{} is no file", binary.display()))?;
            binaries.push((format!("/bin/{}", file.display()), binary.clone()));
        }
        Ok(Self { names: vec![full_name(&image.name)], entrypoint: image.entrypoint.clone(), binaries })
    }

    /// Changes whenever the image would.
    fn source(&self, busybox: &Path) -> Result<String> {
        let mut source = format!("{:?}", self.entrypoint);
        for binary in std::iter::once(busybox).chain(self.binaries.iter().map(|(_, binary)| binary.as_path()))
        {
            let data =
                fs::metadata(binary).with_context(|| format!("there is no binary {}", binary.display()))?;
            let modified = (data.mtime(), data.mtime_nsec());
            let file = format!(" {} {} {modified:?}", binary.display(), data.len());
            source.push_str(&file);
        }
        Ok(source)
    }
}

/// The shared libraries of a binary, its loader among them, which expect to lie where they lie here.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    if !is_dynamic(binary)? {
        return Ok(Vec::new());
    }
    let told = run(Command::new("ldd").arg(binary))?;
    let paths = told.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

impl Image {
    /// Writes the image as an OCI archive.
    ///
    /// # Errors
    /// If a binary cannot be read, or the archive not be written.
    pub fn write(&self, output: &Path) -> Result<()> {
        Plan::of(self)?.write(&packages::ensure()?.busybox, output)
    }
}

impl Plan {
    fn write(&self, busybox: &Path, output: &Path) -> Result<()> {
        let applets = run(Command::new(busybox).arg("--list"))?;
        let mut binaries = vec![("/bin/busybox".to_owned(), busybox)];
        binaries.extend(self.binaries.iter().map(|(place, binary)| (place.clone(), binary.as_path())));
        let libraries =
            self.binaries.iter().map(|(_, binary)| libraries(binary)).collect::<Result<Vec<_>>>()?.concat();
        binaries.extend(libraries.iter().map(|path| (path.display().to_string(), path.as_path())));
        let content = Content {
            names: self.names.clone(),
            entrypoint: self.entrypoint.clone(),
            binaries,
            applets: applets.lines().filter(|applet| *applet != "busybox").map(String::from).collect(),
        };
        write(&content, output).with_context(|| format!("cannot make the image {}", self.names.join(", ")))
    }
}

async fn import(setup: &Setup, plan: &Plan) -> Result<()> {
    let archive = setup.folder.make_parent_of("run/image.tar")?;
    plan.write(&setup.packages()?.busybox, &archive)?;
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
