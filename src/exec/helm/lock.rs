//! Whether somebody works on the release. Helm's lock is the status `pending-*` of the last revision, and nothing
//! takes it away from one that was left by a pod that was killed.
//!
//! What this runner makes is marked by labels on the release: which pod made which revision. A later upgrade by
//! somebody else keeps the labels but has another revision, so it is not taken for ours. A lock of ours is opened only
//! once its pod is gone; anybody else's never is. Helm sets these labels itself, but for a rollback, where they are
//! set once helm has told that the revision is its own; what is killed before, within milliseconds, is left alone.
//! I/O: reads and labels the Secrets of the release; reads that pod; runs helm.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch;

use super::Helm;
use crate::{
    exec::{Failure, pod::refused},
    reason::Reason,
    runners::helm::args::Command,
};

const POD: &str = "runner-pod";
const REVISION: &str = "runner-revision";
/// The pause between two looks at whether the labels are still there.
const PAUSE: Duration = Duration::from_secs(1);

/// What the next revision is marked with.
pub(super) struct Mark {
    pod: String,
    revision: u32,
}

impl Mark {
    /// The number of the revision that is to be made.
    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    /// As on helm's command line.
    pub(super) fn labels(&self) -> String {
        format!("{POD}={},{REVISION}={}", self.pod, self.revision)
    }
}

/// A revision of the release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Revision {
    number: u32,
    status: String,
    pod: Option<String>,
}

impl Revision {
    fn read(labels: &BTreeMap<String, String>) -> Option<Self> {
        let number: u32 = labels.get("version")?.parse().ok()?;
        let ours = labels.get(REVISION).is_some_and(|revision| *revision == number.to_string());
        let pod = labels.get(POD).filter(|_| ours).cloned();
        Some(Self { number, status: labels.get("status").cloned().unwrap_or_default(), pod })
    }

    fn is_locked(&self) -> bool {
        self.status.starts_with("pending-")
    }
}

/// Opens a lock of ours that a pod left which is gone.
///
/// # Errors
/// If somebody works on the release, or may.
pub(super) async fn open(helm: &Helm<'_>) -> Result<Mark, Failure> {
    let revisions = revisions(helm).await?;
    let last = revisions.last();
    let mark = |last: u32| Mark { pod: helm.pod.name.clone(), revision: last + 1 };
    let Some(locked) = last.filter(|last| last.is_locked()) else {
        return Ok(mark(last.map_or(0, |last| last.number)));
    };
    let in_use = |by: &str, advice: &str| {
        let release = &helm.release;
        Failure::new(
            Reason::ReleaseInUse,
            format!("release {release} is {} by {by}; {advice}", locked.status),
        )
    };
    let Some(pod) = &locked.pod else {
        return Err(in_use(
            "somebody else",
            "wait until that is over; if it never will be, roll it back by hand",
        ));
    };
    if helm.pod.is_alive(pod, Reason::HelmFailed).await? {
        return Err(in_use(&format!("pod {pod}"), "wait until that has ended, then try again"));
    }
    if helm.dry_run {
        return Err(in_use(&format!("pod {pod}, which is gone"), "a run that is not dry recovers it first"));
    }
    tracing::info!(pod, "recovering a release that a pod left which is gone");
    recover(helm, &revisions).await?;
    Ok(mark(self::revisions(helm).await?.last().map_or(0, |last| last.number)))
}

/// All that is known of the release, in order.
async fn revisions(helm: &Helm<'_>) -> Result<Vec<Revision>, Failure> {
    let secrets: Api<Secret> = Api::namespaced(helm.pod.client(), &helm.pod.namespace);
    let of_release = ListParams::default().labels(&format!("owner=helm,name={}", helm.release));
    let found = secrets
        .list_metadata(&of_release)
        .await
        .map_err(|error| refused("list secrets", Reason::HelmFailed, &error))?;
    let mut revisions: Vec<Revision> =
        found.items.iter().filter_map(|secret| Revision::read(secret.metadata.labels.as_ref()?)).collect();
    revisions.sort();
    Ok(revisions)
}

/// Sees to it that the revision a rollback has made is marked for as long as it is locked: helm takes the labels away
/// whenever it writes the revision again, for example with each hook. To fail in this is no reason to fail in the
/// work. Until a revision is made, nothing is done.
pub(super) async fn keep(helm: &Helm<'_>, mut made: watch::Receiver<Option<u32>>) -> Infallible {
    let made = made.wait_for(Option::is_some).await.ok().and_then(|made| *made);
    let Some(revision) = made else { return std::future::pending().await };
    let name = format!("sh.helm.release.v1.{}.v{revision}", helm.release);
    let mark = Mark { pod: helm.pod.name.clone(), revision };
    loop {
        if let Err(error) = mark_if_locked(helm, &name, &mark).await {
            tracing::warn!(%error, "the rollback cannot be marked");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn mark_if_locked(helm: &Helm<'_>, name: &str, mark: &Mark) -> Result<(), kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(helm.pod.client(), &helm.pod.namespace);
    let found = secrets.get_metadata(name).await?;
    let found = found.metadata.labels.as_ref().and_then(Revision::read);
    if found.is_some_and(|it| it.is_locked() && it.pod.is_none()) {
        let labels = json!({"metadata": {"labels": {POD: mark.pod, REVISION: mark.revision.to_string()}}});
        secrets.patch_metadata(name, &PatchParams::default(), &Patch::Merge(labels)).await?;
    }
    Ok(())
}

/// Goes back to the last revision that was whole; a release that never was is removed.
async fn recover(helm: &Helm<'_>, revisions: &[Revision]) -> Result<(), Failure> {
    let whole = revisions.iter().rev().find(|it| matches!(it.status.as_str(), "deployed" | "superseded"));
    let timeout = format!("{}s", helm.args.wait().as_secs());
    let wait = ["--wait=watcher", "--timeout", &timeout];
    match whole {
        // To go back from here would put what is left behind one further back, where a rollback goes.
        _ if matches!(helm.args.command, Command::Uninstall | Command::Rollback) => Ok(()),
        Some(whole) => {
            let number = whole.number.to_string();
            let words = [&["rollback", helm.release.as_str(), &number][..], &wait].concat();
            helm.roll_back(&words).await.map(drop)
        }
        None => helm.must(&[&["uninstall", helm.release.as_str()][..], &wait].concat()).await.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::{Mark, Revision};

    fn labels(over: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = Mark { pod: "a-x7".into(), revision: 3 }.labels();
        let own = own.split(',').filter_map(|pair| pair.split_once('='));
        own.chain([("version", "3"), ("status", "pending-upgrade")])
            .chain(over.iter().copied())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[rstest]
    #[case::ours(&[], Some("a-x7"))]
    #[case::an_upgrade_by_somebody_else_keeps_our_labels(&[("version", "4")], None)]
    #[case::no_revision(&[("runner-revision", "")], None)]
    fn a_lock_is_ours_only_if_its_labels_speak_of_this_revision(
        #[case] over: &[(&str, &str)],
        #[case] pod: Option<&str>,
    ) {
        let revision = Revision::read(&labels(over)).unwrap();
        assert!(revision.is_locked());
        assert_eq!(revision.pod.as_deref(), pod);
    }
}
