//! The servers' binaries, from source, by Go, cached outside the source tree by what they are made of.
//!
//! Input: a module per family (below `servers/`: a `go.mod` with `tool` lines and a `go.sum`, no code)
//! and the Go on this machine. Output: `<cache>/<family>-<key>/bin/NAME`, the key being a hash of the
//! module, Go's version and our flags, so that what is there need never be built again.
//! I/O: runs `go`, which asks the Go module proxy for what its own cache lacks; writes the cache folder.

mod argo;
pub(crate) mod elf;
pub(crate) mod packages;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::encoding::fingerprint;
use crate::options::Level;
use crate::progress::{self, Step};

/// What a level needs, by path.
#[derive(Clone, Debug)]
pub struct Binaries {
    kubernetes: PathBuf,
    argo: PathBuf,
    helm: PathBuf,
    tofu: PathBuf,
}

/// The module of OpenTofu.
const TOFU: &str = "github.com/opentofu/opentofu";
/// The module of helm.
const HELM: &str = "helm.sh/helm/v4";

/// A program built from source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Program {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    Kubectl,
    KubeScheduler,
    Kubelet,
    WorkflowController,
    Argoexec,
    Helm,
    Tofu,
}

/// Programs of one Go module. Each family has its own since their dependencies do not unify.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Kubernetes,
    Argo,
    Helm,
    Tofu,
}

impl Program {
    const ALL: [Self; 10] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::WorkflowController,
        Self::Argoexec,
        Self::Helm,
        Self::Tofu,
    ];

    /// The file's name.
    pub fn name(self) -> &'static str {
        self.source().1
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    fn family(self) -> Family {
        match self {
            Self::WorkflowController | Self::Argoexec => Family::Argo,
            Self::Helm => Family::Helm,
            Self::Tofu => Family::Tofu,
            Self::Etcd
            | Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::Kubectl
            | Self::KubeScheduler
            | Self::Kubelet => Family::Kubernetes,
        }
    }

    /// The first level that needs it.
    fn level(self) -> Level {
        match self {
            Self::Etcd | Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => {
                Level::ControlPlane
            }
            Self::WorkflowController => Level::Argo,
            Self::KubeScheduler | Self::Kubelet | Self::Argoexec | Self::Helm | Self::Tofu => Level::Pods,
        }
    }

    /// Module, name, package below the module, and about how long two cores take when Go's cache is cold.
    fn source(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Etcd => ("go.etcd.io/etcd/server/v3", "etcd", "", "75 s"),
            Self::KubeApiserver => ("k8s.io/kubernetes", "kube-apiserver", "/cmd/kube-apiserver", "5 min"),
            Self::KubeControllerManager => {
                ("k8s.io/kubernetes", "kube-controller-manager", "/cmd/kube-controller-manager", "90 s")
            }
            Self::Kubectl => ("k8s.io/kubernetes", "kubectl", "/cmd/kubectl", "35 s"),
            Self::KubeScheduler => ("k8s.io/kubernetes", "kube-scheduler", "/cmd/kube-scheduler", "10 s"),
            Self::Kubelet => ("k8s.io/kubernetes", "kubelet", "/cmd/kubelet", "30 s"),
            Self::WorkflowController => {
                (argo::MODULE, "workflow-controller", "/cmd/workflow-controller", "4 min")
            }
            Self::Argoexec => (argo::MODULE, "argoexec", "/cmd/argoexec", "2 min"),
            Self::Helm => (HELM, "helm", "/cmd/helm", "2 min"),
            Self::Tofu => (TOFU, "tofu", "/cmd/tofu", "2 min"),
        }
    }
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Argo => "argo",
            Self::Helm => "helm",
            Self::Tofu => "tofu",
        }
    }

    /// `go.mod` and `go.sum`, part of this program so that it needs no source tree.
    fn module(self) -> (&'static str, &'static str) {
        match self {
            Self::Kubernetes => (
                include_str!("../../servers/kubernetes/go.mod"),
                include_str!("../../servers/kubernetes/go.sum"),
            ),
            Self::Argo => {
                (include_str!("../../servers/argo/go.mod"), include_str!("../../servers/argo/go.sum"))
            }
            Self::Helm => {
                (include_str!("../../servers/helm/go.mod"), include_str!("../../servers/helm/go.sum"))
            }
            Self::Tofu => {
                (include_str!("../../servers/tofu/go.mod"), include_str!("../../servers/tofu/go.sum"))
            }
        }
    }

    /// The version of a module that this family's `go.mod` requires.
    fn version(self, module: &str) -> Result<&'static str> {
        let mut lines = self.module().0.lines().map(str::trim);
        let version = lines.find_map(|line| line.strip_prefix(module)?.strip_prefix(' ')?.split(' ').next());
        version.with_context(|| format!("the go.mod of {} does not require {module}", self.name()))
    }

    fn flags(self) -> Result<Vec<String>> {
        let stamp = match self {
            // Without it clients see v0.0.0.
            Self::Kubernetes => {
                let version = self.version("k8s.io/kubernetes")?;
                let minor = version.split('.').nth(1).unwrap_or_default();
                let stamp = "-X k8s.io/component-base/version.git";
                format!("{stamp}Version={version} {stamp}Major=1 {stamp}Minor={minor} {stamp}TreeState=clean")
            }
            Self::Argo => format!("-X {0}.version={1}", argo::MODULE, self.version(argo::MODULE)?),
            Self::Helm => format!("-X {HELM}/internal/version.version={}", self.version(HELM)?),
            // Its version is a file within the module.
            Self::Tofu => format!("-X {TOFU}/version.dev=no"),
        };
        let vendored = match self {
            Self::Kubernetes | Self::Helm | Self::Tofu => "-mod=readonly",
            Self::Argo => "-mod=vendor",
        };
        Ok(vec![vendored.into(), "-trimpath".into(), format!("-ldflags=-s -w {stamp}")])
    }

    /// The cache folder of what this family's module, this Go and our flags make.
    fn folder(self, go_version: &str) -> Result<PathBuf> {
        let (module, sums) = self.module();
        let recipe = match self {
            Self::Kubernetes | Self::Helm | Self::Tofu => "",
            Self::Argo => argo::RECIPE,
        };
        let input = [module, sums, go_version, &self.flags()?.join("\0"), recipe].join("\0");
        Ok(cache_folder()?.join(format!("{}-{}", self.name(), fingerprint(input.as_bytes()))))
    }
}

impl Binaries {
    /// Where a program lies, once a level that needs it has been built.
    pub fn path(&self, program: Program) -> PathBuf {
        let family = match program.family() {
            Family::Kubernetes => &self.kubernetes,
            Family::Argo => &self.argo,
            Family::Helm => &self.helm,
            Family::Tofu => &self.tofu,
        };
        family.join("bin").join(program.name())
    }

    /// Argo's CRDs as JSON, one file each.
    pub(crate) fn argo_crds(&self) -> PathBuf {
        self.argo.join("crds")
    }

    /// The version Argo's programs have.
    pub(crate) fn argo_version() -> Result<&'static str> {
        Family::Argo.version(argo::MODULE)
    }
}

/// Builds what a level needs and the cache lacks. Blocks; says on stderr what it builds.
pub fn build(level: Level) -> Result<Binaries> {
    let go_version = run(go(Path::new("/")).arg("version"))?;
    let binaries = Binaries {
        kubernetes: Family::Kubernetes.folder(&go_version)?,
        argo: Family::Argo.folder(&go_version)?,
        helm: Family::Helm.folder(&go_version)?,
        tofu: Family::Tofu.folder(&go_version)?,
    };
    for family in [Family::Kubernetes, Family::Argo, Family::Helm, Family::Tofu] {
        let lacks = |program: &Program| {
            program.family() == family && program.level() <= level && !binaries.path(*program).exists()
        };
        if Program::ALL.iter().any(lacks) {
            let folder = family.folder(&go_version)?;
            let _lock = lock(&folder, family)?;
            // Somebody else may have built some while we waited.
            for program in Program::ALL.iter().filter(|program| lacks(program)) {
                build_one(*program, &folder, &binaries.path(*program))?;
            }
        }
    }
    Ok(binaries)
}

fn build_one(program: Program, folder: &Path, output: &Path) -> Result<()> {
    let (module, name, package, cold) = program.source();
    let family = program.family();
    let source = folder.join("src");
    write_module(family, &source)?;
    match family {
        Family::Kubernetes | Family::Helm | Family::Tofu => {}
        Family::Argo => argo::prepare(&source, &folder.join("crds"))?,
    }
    let what = format!("building {name} {}", family.version(module)?);
    let step = Step::announce(what, &format!("about {cold} when Go's cache is cold"));
    fs::create_dir_all(folder.join("bin"))?;
    // Renamed when whole, so that what has the final name is never half a file.
    let partial = folder.join(format!("{name}.partial"));
    let mut command = go(&source);
    run(command.arg("build").args(family.flags()?).arg("-o").arg(&partial).arg(format!("{module}{package}")))
        .with_context(|| format!("cannot build {name}"))?;
    fs::rename(&partial, output).with_context(|| format!("cannot write {}", output.display()))?;
    step.done();
    Ok(())
}

fn write_module(family: Family, source: &Path) -> Result<()> {
    let (module, sums) = family.module();
    fs::create_dir_all(source).with_context(|| format!("cannot make {}", source.display()))?;
    fs::write(source.join("go.mod"), module)?;
    fs::write(source.join("go.sum"), sums)?;
    Ok(())
}

/// Waits for other builders of the family.
fn lock(folder: &Path, family: Family) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = File::create(folder.join("lock"))?;
    if file.try_lock().is_err() {
        progress::say(&format!("waiting: another process is building {}", family.name()));
        file.lock()?;
    }
    Ok(file)
}

/// A `go` that uses nothing but the module it stands in and the Go that is installed.
fn go(source: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(source).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    command.env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH");
    command
}

/// Runs a command to its end and returns what it wrote; its errors are in the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| match name.as_str() {
        "go" => "cannot run go: install Go 1.26 or later and put it on the PATH".to_owned(),
        _ => format!("cannot run {name}"),
    })?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{name} {} failed ({}):\n{}", arguments.join(" "), output.status, errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where everything that outlives a cluster lies: `$XDG_CACHE_HOME` or `~/.cache`, `/runner-controller/devcluster`.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    Ok(base
        .context("set HOME or XDG_CACHE_HOME: binaries are kept there")?
        .join("runner-controller/devcluster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_modules() {
        assert!(Family::Kubernetes.version("k8s.io/kubernetes").unwrap().starts_with("v1.34."));
        assert!(Family::Kubernetes.version("go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."));
        assert!(Family::Argo.version(argo::MODULE).unwrap().starts_with("v3."));
        assert!(Family::Argo.version("k8s.io/kubernetes").is_err());
    }

    #[test]
    fn another_go_means_another_folder() {
        let folder = |go| Family::Kubernetes.folder(go).unwrap();
        assert_eq!(folder("go1.26.1"), folder("go1.26.1"));
        assert_ne!(folder("go1.26.1"), folder("go1.26.2"));
    }
}
