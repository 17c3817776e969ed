//! What a caller asks for. Plain data, no I/O.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How much of a cluster runs. Each level holds the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// etcd, API server and controller-manager. Needs no root.
    ControlPlane,
    /// Argo's full CRDs and its workflow-controller as well: workflows without pods run. Needs no root.
    Argo,
    /// Scheduler, containerd, kubelet and local images as well: pods with `hostNetwork: true` run. Needs root.
    Pods,
}

impl Level {
    /// The word used on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Argo => "argo",
            Self::Pods => "pods",
        }
    }
}

/// What [`Cluster::ensure`](crate::Cluster::ensure) makes true.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's folder; made where missing. At most 64 bytes long once absolute, since sockets lie in it.
    pub dir: PathBuf,
    /// The least level wanted.
    pub level: Level,
    /// Whether the API server writes `logs/audit.log`, one line before each answer (nothing is batched).
    pub audit: bool,
    /// Whether etcd syncs each write to disk. Without it figures are better than a real cluster's.
    pub etcd_fsync: bool,
    /// Images to have beside busybox (also named busybox:1 and alpine), pause and argoexec; needs [`Level::Pods`].
    pub images: Vec<Image>,
}

impl Options {
    /// Auditing on, no fsync, no extra images.
    pub fn new(dir: impl Into<PathBuf>, level: Level) -> Self {
        Self { dir: dir.into(), level, audit: true, etcd_fsync: false, images: Vec::new() }
    }
}

/// An image of one binary, made on this machine since no image registry is asked. It also holds busybox, so that it
/// has a shell, and the shared libraries that the binary needs, if it is not static.
#[derive(Clone, Debug)]
pub struct Image {
    /// As pods name it, e.g. `localhost/runner:dev`. Use `imagePullPolicy: IfNotPresent`.
    pub name: String,
    /// The binary on this machine.
    pub binary: PathBuf,
    /// Further binaries, each at `/bin/<its file name>`.
    pub also: Vec<PathBuf>,
    /// The command; its first word is where the binary lies in the image, an absolute path.
    pub entrypoint: Vec<String>,
}

impl Image {
    /// An image whose entrypoint is the binary, at `/bin/<its file name>`.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>) -> Self {
        let binary = binary.into();
        let file = binary.file_name().map_or_else(|| "program".into(), |f| f.to_string_lossy().into_owned());
        Self { name: name.into(), binary, also: Vec::new(), entrypoint: vec![format!("/bin/{file}")] }
    }

    /// The same with one more binary.
    #[must_use]
    pub fn with(mut self, binary: impl Into<PathBuf>) -> Self {
        self.also.push(binary.into());
        self
    }
}
