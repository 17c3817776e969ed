//! The control plane, for real: side by side, broken on purpose, crashed, taken down.
#![allow(
    clippy::disallowed_methods,
    reason = "these tests are about real time; the list guards the controller's core"
)]

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::{DEVCLUSTER, Place, apply, kubectl, leftovers, listening, run, wait_until};
use devcluster::{Cluster, Level, Options, Server, Status};

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_side_by_side() {
    let places = [Place::new(), Place::new()];
    let [first, second] = &places;
    let options = |place: &Place| Options::new(place.dir(), Level::ControlPlane);
    let (one, two) = (options(first), options(second));
    // The same folder twice at once is the same cluster.
    let (a, again, b) = tokio::join!(Cluster::ensure(&one), Cluster::ensure(&one), Cluster::ensure(&two));
    let (a, again, b) = (a.unwrap(), again.unwrap(), b.unwrap());
    assert_eq!(a.pid(Server::ApiServer), again.pid(Server::ApiServer));
    assert_ne!(a.network(), b.network());

    apply(&a, "{apiVersion: v1, kind: ConfigMap, metadata: {name: only-in-a}}");
    assert!(kubectl(&a, &["get", "configmap", "-o", "name"]).contains("only-in-a"));
    assert!(!kubectl(&b, &["get", "configmap", "-o", "name"]).contains("only-in-a"));
    assert!(kubectl(&a, &["version"]).contains("v1.34."));
    let audit = fs::read_to_string(a.audit_log()).unwrap();
    assert!(audit.lines().any(|line| line.contains(r#""username":"admin""#) && line.contains("only-in-a")));

    let network = a.network().address().octets();
    let addresses = listening(&a);
    assert!(addresses.len() >= 4, "{addresses:?}");
    let own = format!("{:02X}{:02X}{:02X}{:02X}:", network[3], network[2], network[1], network[0]);
    assert!(addresses.iter().all(|address| address.starts_with(&own)), "{addresses:?} are not all {own}");

    for (place, cluster) in places.iter().zip([a, b]) {
        Cluster::down(place.dir()).await.unwrap();
        assert_eq!(cluster.pid(Server::Etcd), None);
        assert!(leftovers(place.dir()).is_empty(), "{:?}", leftovers(place.dir()));
        assert!(Status::of(place.dir()).unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_can_be_broken_and_mended() {
    let place = Place::new();
    let options = Options { audit: false, ..Options::new(place.dir(), Level::ControlPlane) };
    let cluster = Cluster::ensure(&options).await.unwrap();
    assert!(!cluster.audit_log().exists());
    let wants_audit = Options { audit: true, ..options.clone() };
    let refusal = Cluster::ensure(&wants_audit).await.unwrap_err().to_string();
    assert!(refusal.contains("without an audit log"), "{refusal}");

    apply(&cluster, "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}}");
    let before = cluster.pid(Server::ApiServer).unwrap();
    cluster.stop_server(Server::ApiServer).await.unwrap();
    assert!(cluster.pid(Server::ApiServer).is_none());
    cluster.kill_server(Server::Etcd).await.unwrap();
    cluster.start_server(Server::Etcd).await.unwrap();
    cluster.start_server(Server::ApiServer).await.unwrap();
    assert_ne!(cluster.pid(Server::ApiServer), Some(before));
    assert!(kubectl(&cluster, &["get", "configmap", "kept", "-o", "name"]).contains("kept"));

    cluster.pause_server(Server::ApiServer).unwrap();
    let answer = cluster.kubectl().args(["get", "ns", "--request-timeout=1s"]).output().unwrap();
    assert!(!answer.status.success());
    cluster.resume_server(Server::ApiServer).unwrap();
    kubectl(&cluster, &["get", "ns"]);

    // Killed by somebody else: told, with the end of its log, and mended when the cluster is asked for.
    let pid = cluster.pid(Server::ControllerManager).unwrap();
    run(Command::new("kill").args(["-9", &pid.to_string()]));
    wait_until("the controller-manager is dead", || cluster.pid(Server::ControllerManager).is_none());
    let status = Command::new(DEVCLUSTER).arg("status").arg("--dir").arg(place.dir()).output().unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(
        !status.status.success()
            && text.contains("died; the end of")
            && text.contains("logs/kube-controller-manager.log:\n"),
        "{text}"
    );
    Cluster::ensure(&options).await.unwrap();
    assert!(Status::of(place.dir()).unwrap().unwrap().is_up());
    assert!(kubectl(&cluster, &["get", "configmap", "kept", "-o", "name"]).contains("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_on_the_way_up_says_why() {
    let place = Place::new();
    let options = Options::new(place.dir(), Level::ControlPlane);
    let up = tokio::spawn(async move { Cluster::ensure(&options).await });
    let pid = wait_for_api_server(&place);
    run(Command::new("kill").args(["-9", &pid.to_string()]));
    let error = format!("{:#}", up.await.unwrap().unwrap_err());
    assert!(error.contains("kube-apiserver died") && error.contains("the end of"), "{error}");
    assert!(leftovers(place.dir()).is_empty(), "{:?}", leftovers(place.dir()));
}

#[test]
fn a_killed_starter_leaves_nothing_that_down_does_not_find() {
    let place = Place::new();
    let mut up = Command::new(DEVCLUSTER);
    up.args(["up", "--level", "control-plane", "--dir"]).arg(place.dir());
    let mut starter = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_api_server(&place);
    starter.kill().unwrap();
    starter.wait().unwrap();
    assert!(leftovers(place.dir()).len() >= 2, "{:?}", leftovers(place.dir()));
    // Not even with no record left.
    fs::write(place.dir().join("state.json"), "{").unwrap();
    run(Command::new(DEVCLUSTER).arg("down").arg("--dir").arg(place.dir()));
    assert!(leftovers(place.dir()).is_empty(), "{:?}", leftovers(place.dir()));
}

fn wait_for_api_server(place: &Place) -> i32 {
    let mut pid = 0;
    wait_until("the API server is started", || {
        let status = Status::of(place.dir()).ok().flatten();
        let server =
            status.and_then(|status| status.servers.into_iter().find(|s| s.server == Server::ApiServer));
        pid = server.map_or(0, |server| server.pid);
        pid != 0
    });
    pid
}
