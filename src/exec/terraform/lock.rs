//! Whether somebody works on the state. OpenTofu's lock is a Lease, and nothing takes it away from a pod that was
//! killed.
//!
//! The lock says whose it is, and tofu is told to say there which pod it works in. A lock of ours is opened only once
//! that pod is gone; anybody else's never is. I/O: reads that Lease and that pod; runs tofu.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde::Deserialize;

use super::{Tofu, quiet, state};
use crate::{
    exec::{Failure, pod::refused},
    reason::Reason,
};

/// Where tofu writes who holds the lock.
const INFO: &str = "app.terraform.io/lock-info";

/// A lock, as tofu writes it down.
#[derive(Deserialize, Debug, PartialEq)]
struct Lock {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Who")]
    who: String,
}

impl Lock {
    /// The lock that is held, if one is.
    fn read(lease: &Lease) -> Option<Self> {
        let holder = lease.spec.as_ref()?.holder_identity.clone()?;
        let info = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(INFO));
        let told = info.and_then(|info| serde_json::from_str(info).ok());
        Some(told.unwrap_or(Self { id: holder, who: String::new() }))
    }

    /// The pod of ours that took it.
    fn pod(&self) -> Option<&str> {
        self.who.strip_prefix("pod/")?.split('@').next()
    }
}

/// Opens a lock of ours that a pod left which is gone.
pub(super) async fn open(tofu: &Tofu<'_>) -> Result<(), Failure> {
    let name = format!("lock-{}", state::secret(&tofu.args));
    let leases: Api<Lease> = Api::namespaced(tofu.pod.client(), &tofu.pod.namespace);
    let lease = leases
        .get_opt(&name)
        .await
        .map_err(|error| refused("get leases", Reason::TerraformFailed, &error))?;
    let Some(lock) = lease.as_ref().and_then(Lock::read) else { return Ok(()) };
    let in_use = |by: &str, advice: &str| {
        let module = &tofu.args.module.name;
        Failure::new(Reason::StateInUse, format!("the state of {module} is locked by {by}; {advice}"))
    };
    let Some(pod) = lock.pod() else {
        let advice = format!("wait until that is over; if it never will be: tofu force-unlock {}", lock.id);
        return Err(in_use("somebody else", &advice));
    };
    if tofu.pod.is_alive(pod, Reason::TerraformFailed).await? {
        return Err(in_use(&format!("pod {pod}"), "wait until that has ended, then try again"));
    }
    if tofu.dry_run {
        return Err(in_use(&format!("pod {pod}, which is gone"), "a run that is not dry opens it first"));
    }
    tracing::info!(pod, "opening a lock that a pod left which is gone");
    tofu.must(&["force-unlock", "-force", &lock.id], quiet).await.map(drop)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::Lock;

    #[rstest]
    #[case(&json!({"ID": "7", "Who": "pod/a-x7@node", "Created": "2026-01-01T00:00:00Z"}).to_string(), Some("a-x7"))]
    #[case(&json!({"ID": "7", "Who": "alice@laptop"}).to_string(), None)]
    #[case("nothing to read", None)]
    fn a_lock_is_ours_only_if_it_names_a_pod(#[case] info: &str, #[case] pod: Option<&str>) {
        let lease = json!({"metadata": {"annotations": {"app.terraform.io/lock-info": info}}, "spec": {"holderIdentity": "7"}});
        let lock = Lock::read(&serde_json::from_value(lease).unwrap()).unwrap();
        assert_eq!((lock.id.as_str(), lock.pod()), ("7", pod));
    }

    #[test]
    fn a_lease_without_a_holder_is_no_lock() {
        assert_eq!(Lock::read(&serde_json::from_value(json!({"spec": {}})).unwrap()), None);
    }
}
