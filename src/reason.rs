//! The closed list of reasons: one CamelCase word, the same in `.status.reason`, in conditions, in events
//! and in metrics. Pure data, no I/O.

use serde::{Deserialize, Deserializer, Serialize};

/// Declares the enum together with its word, so that neither can be forgotten.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why an execution is where it is. Users may match on these words; none is ever renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

reasons! {
    /// Nothing has looked at the execution yet. The API server itself fills this in (CRD default).
    Pending,
    /// The execution was accepted; the next condition says how it goes on.
    Accepted,
    /// No controller here serves `spec.runner`; somebody else's may.
    RunnerNotFound,
    /// The runner is known, but its kind is not installed in the cluster.
    RunnerUnavailable,
    /// `spec.suspend` holds the start back.
    Suspended,
    /// An object of the wanted name is still being deleted; the start waits for it.
    NameInUse,
    /// The API server does not take requests at the moment; it is tried again.
    Retrying,
    /// The namespace's quota holds the start back; it is tried again.
    QuotaExceeded,
    /// The work is under way.
    Running,

    /// The work succeeded.
    Succeeded,
    /// The API server would accept what a dry run rendered.
    DryRunSucceeded,

    /// A field of the execution is wrong; the message names it.
    InvalidSpec,
    /// `spec.args` is not what the runner understands; the message names the path.
    InvalidArgs,
    /// The API server or an admission policy refused the rendered object.
    Rejected,
    /// The ServiceAccount may not do what the run needs.
    Forbidden,
    /// `spec.context.platform.serviceAccountName` does not exist.
    ServiceAccountNotFound,
    /// A Secret of `spec.argsFrom`, or its key, does not exist.
    SecretNotFound,
    /// `spec.context.platform.ownerRef` points at nothing, or at another object than it says.
    OwnerNotFound,
    /// An object of the wanted name exists and belongs to somebody else.
    AlreadyExists,
    /// What the execution had started disappeared before its result was known.
    ResourceLost,

    /// `spec.context.timeout` ran out and the work was stopped.
    TimedOut,
    /// `spec.cancel` was set, or the execution was deleted, and the work was stopped.
    Cancelled,

    /// Helm could not do what it was to do; the message has its words.
    HelmFailed,
    /// Somebody else works on the release, or may.
    ReleaseInUse,
    /// OpenTofu could not do what it was to do; the message has its words.
    TerraformFailed,
    /// Somebody else works on the state, or may.
    StateInUse,
    /// A request of the runner `http` was not answered as it must be.
    RequestFailed,
    /// The Workflow ended as Failed.
    WorkflowFailed,
    /// The Workflow ended as Error: Argo could not run it.
    WorkflowError,
    /// The Job ended as failed.
    JobFailed,
    /// A container exited with another code than 0.
    ContainerFailed,
    /// A container was killed for using more memory than its limit.
    OOMKilled,
    /// A container's image cannot be pulled.
    ImagePullFailed,
    /// A container cannot be created, for example for a missing ConfigMap.
    ContainerConfigError,
    /// No node can take the pod.
    Unschedulable,
    /// Pods cannot be created at all, for example for a missing ServiceAccount or a quota.
    PodCreationFailed,
    /// The pod was removed under the work, for example evicted.
    PodLost,
    /// The controller itself failed on this object; the message says what to report.
    InternalError,
}

impl Reason {
    /// Whether a person need not worry; everything else is told by events of type Warning.
    pub const fn is_calm(self) -> bool {
        matches!(
            self,
            Self::Pending
                | Self::Accepted
                | Self::Suspended
                | Self::NameInUse
                | Self::Running
                | Self::Succeeded
                | Self::DryRunSucceeded
                | Self::Cancelled
        )
    }
}

/// Reads a word of another version's list as none: that the rest of a status is not understood would be worse.
pub(crate) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let word: Option<String> = Option::deserialize(deserializer)?;
    Ok(word.and_then(|word| Reason::ALL.iter().find(|reason| reason.as_str() == word).copied()))
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_survives_serialization_as_its_word() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
