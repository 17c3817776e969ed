//! A real Kubernetes on this machine: built from source, on loopback only, for demos, tests and benches.
//!
//! Nothing here is a mock. `etcd`, `kube-apiserver`, `kube-controller-manager`, Argo Workflows'
//! controller and, where pods are wanted, `kube-scheduler`, `kubelet` and Debian's containerd run as
//! plain processes of this machine, one set per cluster.
//!
//! ```no_run
//! # async fn demo() -> anyhow::Result<()> {
//! use devcluster::{Cluster, Level, Options};
//!
//! let cluster = Cluster::ensure(&Options::new(".cluster", Level::Argo)).await?;
//! let client = cluster.client().await?; // a kube::Client as user `admin`
//! # drop(client); Ok(()) }
//! ```
//!
//! # A cluster is a folder and a loopback network
//! [`Cluster::ensure`] attaches to the cluster of a folder, raises its level, or brings it up; several
//! processes may call it at once. Every server of the cluster binds to `127.N.0.1`, N from 96 to 127,
//! on its usual port, so clusters live side by side. Service addresses are `127.N.0.0/16`; hence the
//! `kubernetes` Service *is* the API server, and in-cluster configuration works in pods with
//! `hostNetwork: true`. **Pods without `hostNetwork: true` are not supported**: there is no pod network.
//!
//! | in the folder | what |
//! |---|---|
//! | `kubeconfig` | user `admin` of group `system:masters`, by token |
//! | `logs/NAME.log` | what each server wrote; kept by `down` |
//! | `logs/audit.log` | one JSON line for each answered request, level Metadata |
//! | `logs/pods/` | what the pods wrote |
//! | `logs.old/` | the logs of the cluster that was here before |
//! | `state.json`, `lock` | our own records |
//! | `pki/`, `run/`, `etcd/`, `containerd/`, `kubelet/` | the servers'; removed by `down` |
//!
//! # What to know
//! - It is for throw-away data: etcd does not sync to disk unless [`Options::etcd_fsync`] is set, and it
//!   and the folder are trusted to everybody who may read the machine's loopback and the folder.
//! - The control plane and Argo need no root; pods do. Root serves the API on port 443, others on 6443.
//! - kube-controller-manager looks for new kinds every 30 s: until then its garbage collector does not
//!   know the owners and dependents of a kind whose CRD has just been made.
//! - Raising a running control plane to Argo takes the API server some 20 CPU seconds more than asking for
//!   Argo from the start, when its CRDs are put into etcd beforehand.
//! - kubelet sets a few kernel settings (`vm.overcommit_memory`, `kernel.panic`, …) and leaves them.
//!
//! # The parts
//! [`options`] what is asked; [`folder`](Folder) where things lie; `build` Go modules → binaries;
//! `network` which loopback network; `pki` certificates; `servers` one module per server: how it is
//! started; `process` processes by recorded id; `state` the record; `ready` real readiness; `addons`, `seed` what is inside; `image`
//! OCI archives, `images` which ones; `cgroup`, `cleanup` leaving nothing behind; [`Cluster`] what callers do with it, `rise` the order of it all.
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is all I/O; the list guards the controller's pure core"
)]
#![allow(
    clippy::disallowed_types,
    reason = "this crate is all I/O; the list guards the controller's pure core"
)]

mod addons;
mod build;
mod cgroup;
mod cleanup;
mod cluster;
mod encoding;
mod folder;
mod image;
mod images;
mod network;
pub mod options;
mod pki;
mod process;
mod progress;
mod ready;
mod rise;
mod seed;
mod servers;
mod state;
mod status;

pub use build::{Binaries, Program, build};
pub use cluster::Cluster;
pub use folder::Folder;
pub use network::Network;
pub use options::{Image, Level, Options};
pub use servers::Server;
pub use status::{ServerStatus, Status};
