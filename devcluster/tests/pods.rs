//! Argo without pods, then the same cluster with pods, then nothing: needs root, and says so if it is not.
#![allow(
    clippy::disallowed_methods,
    reason = "these tests are about real time; the list guards the controller's core"
)]

mod common;

use std::path::Path;

use common::{Place, apply, cgroups, kubectl, leftovers, listening, shim_sockets};
use devcluster::{Cluster, Image, Level, Options, Server};

const SUSPENDED: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: without-pods}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: wait, template: wait}]]
  - name: wait
    suspend: {duration: '1'}
";

const WITH_PODS: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: with-pods}
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: busybox, imagePullPolicy: IfNotPresent, command: [echo], args: [said by argo]}
---
apiVersion: v1
kind: Pod
metadata: {name: tool}
spec:
  hostNetwork: true
  restartPolicy: Never
  containers: [{name: main, image: 'localhost/tool:test', imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Pod
metadata: {name: stays}
spec:
  hostNetwork: true
  containers: [{name: main, image: alpine, imagePullPolicy: IfNotPresent, command: [sleep, '1000']}]
";

#[tokio::test(flavor = "multi_thread")]
async fn from_argo_to_pods_to_nothing() {
    let place = Place::new();
    let options = Options::new(place.dir(), Level::Argo);
    let cluster = Cluster::ensure(&options).await.unwrap();
    apply(&cluster, SUSPENDED);
    succeeded(&cluster, "workflow/without-pods");
    let etcd = cluster.pid(Server::Etcd);

    let root = std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0");
    if !root {
        let refusal = Cluster::ensure(&Options::new(place.dir(), Level::Pods)).await.unwrap_err().to_string();
        assert!(refusal.contains("pods need root"), "{refusal}");
        eprintln!("SKIPPED: the part with pods, since it needs root");
        return;
    }

    Cluster::ensure(&Options::new(place.dir(), Level::Pods)).await.unwrap();
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    let entrypoint = ["/opt/busybox", "echo", "said by an image of our own"].map(String::from).into();
    let image =
        Image { name: "localhost/tool:test".into(), binary: busybox.into(), also: Vec::new(), entrypoint };
    // An extra image comes into a cluster that is already up.
    let options = Options { images: vec![image], ..Options::new(place.dir(), Level::Pods) };
    let cluster = Cluster::ensure(&options).await.unwrap();
    assert_eq!(cluster.pid(Server::Etcd), etcd);

    apply(&cluster, WITH_PODS);
    succeeded(&cluster, "pod/tool");
    assert_eq!(kubectl(&cluster, &["logs", "tool"]).trim(), "said by an image of our own");
    succeeded(&cluster, "workflow/with-pods");
    assert!(kubectl(&cluster, &["logs", "with-pods", "-c", "main"]).contains("said by argo"));
    kubectl(&cluster, &["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"]);
    assert!(kubectl(&cluster, &["exec", "stays", "--", "cat", "/proc/1/cmdline"]).contains("sleep"));
    let [a, b, c, d] = cluster.network().address().octets();
    let own = format!("{d:02X}{c:02X}{b:02X}{a:02X}:");
    let addresses = listening(&cluster);
    assert!(addresses.len() >= 9, "{addresses:?}");
    assert!(addresses.iter().all(|address| address.starts_with(&own)), "{addresses:?} are not all {own}");

    let mut left = [cgroups(place.dir()), shim_sockets(place.dir())].concat();
    assert!(left.len() >= 2 && left.iter().all(|path| path.exists()), "{left:?}");
    assert!(leftovers(place.dir()).iter().any(|left| left.starts_with("mount")));
    Cluster::down(place.dir()).await.unwrap();
    assert!(leftovers(place.dir()).is_empty(), "{:?}", leftovers(place.dir()));
    left.retain(|path| path.exists());
    assert!(left.is_empty(), "{left:?}");
}

fn succeeded(cluster: &Cluster, object: &str) {
    let waiting = ["wait", "--for=jsonpath={.status.phase}=Succeeded", object, "--timeout=90s"];
    kubectl(cluster, &waiting);
}
