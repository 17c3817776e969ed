//! The `RunnerExecution` as the controller holds it, kept small. Pure.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{conditions::Conditions, key::Key, received::version_of};
use crate::{
    crd::{MANAGED_BY, Phase, ResourceRef, RunnerExecutionSpec, RunnerExecutionStatus, conditions},
    runners::Problem,
};

/// One execution, as last seen. `Debug` shows no argument.
#[derive(Clone)]
pub struct Execution {
    /// Its metadata, without labels, annotations and managed fields.
    pub metadata: ObjectMeta,
    /// Its spec, unless something is wrong with it.
    pub spec: Result<Box<RunnerExecutionSpec>, Box<Unread>>,
    /// Its status without the conditions and without what is unreadable.
    pub status: RunnerExecutionStatus,
    /// What is kept of its conditions.
    pub conditions: Conditions,
    /// How much work each write of it makes, by the size of its spec.
    pub bulk: usize,
}

/// A spec that is not understood as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// What is wrong with it.
    pub problem: Problem,
    rudiments: Rudiments,
}

/// What counts even of such a spec: whose it is, and when it may go.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rudiments {
    #[serde(deserialize_with = "if_understood")]
    runner: String,
    #[serde(deserialize_with = "if_understood")]
    managed_by: Option<String>,
    #[serde(deserialize_with = "if_understood")]
    ttl_seconds_after_finished: Option<i32>,
}

/// A value, or nothing where it is of another form.
fn if_understood<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(text.get()).unwrap_or_default())
}

impl Unread {
    /// What can be told of the spec that this text holds.
    pub(super) fn of(problem: Problem, text: &str) -> Self {
        Self { problem, rudiments: serde_json::from_str(text).unwrap_or_default() }
    }
}

impl Execution {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// By what the controller's tables name it.
    pub fn key(&self) -> Key {
        Key::of(self.uid())
    }

    /// The version that was read.
    pub fn version(&self) -> u64 {
        version_of(&self.metadata)
    }

    /// Whether its outcome is recorded, be it in a word of another version's.
    pub fn is_finished(&self) -> bool {
        self.status.phase.map_or_else(|| self.status.completion_time.is_some(), Phase::is_final)
    }

    /// Whether it has begun, as far as is recorded, and not ended.
    pub fn is_under_way(&self) -> bool {
        self.recorded_child().is_some() && !self.is_finished()
    }

    /// Whether a controller has begun with it or accepted it.
    pub fn is_taken_up(&self) -> bool {
        let is_accepted = self.conditions.is_true(conditions::ACCEPTED);
        self.recorded_child().is_some() || self.is_finished() || is_accepted
    }

    /// Whether another controller is responsible for it.
    pub fn is_managed_elsewhere(&self) -> bool {
        let managed_by = match &self.spec {
            Ok(spec) => &spec.managed_by,
            Err(unread) => &unread.rudiments.managed_by,
        };
        managed_by.as_ref().is_some_and(|by| by != MANAGED_BY)
    }

    /// The name of its runner, or nothing.
    pub fn runner(&self) -> &str {
        match &self.spec {
            Ok(spec) => &spec.runner,
            Err(unread) => &unread.rudiments.runner,
        }
    }

    /// The name of what the runner creates.
    pub fn child_name(&self) -> &str {
        self.spec.as_ref().ok().and_then(|s| s.context.name.as_deref()).unwrap_or_else(|| self.name())
    }

    /// Whether some of its arguments come from Secrets, so that what repeats arguments may be told nowhere.
    pub fn has_secret_args(&self) -> bool {
        self.spec.as_ref().is_ok_and(|spec| !spec.args_from.is_empty())
    }

    /// The recorded child.
    pub fn recorded_child(&self) -> Option<&ResourceRef> {
        self.status.resources.first().filter(|r| !r.uid.is_empty())
    }

    /// When its child is to be stopped, once it has begun.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.status.deadline.as_ref().map(|deadline| deadline.0)
    }

    /// When it is to be deleted, once it has finished.
    pub fn expires(&self) -> Option<Timestamp> {
        let ttl = match &self.spec {
            Ok(spec) => spec.ttl_seconds_after_finished,
            Err(unread) => unread.rudiments.ttl_seconds_after_finished,
        }?;
        let end = self.status.completion_time.as_ref()?.0;
        end.checked_add(std::time::Duration::from_secs(u64::try_from(ttl).unwrap_or(0))).ok()
    }

    /// Takes over a status that was written; without conditions, they stayed as they were.
    pub fn set_status(&mut self, mut status: RunnerExecutionStatus) {
        let conditions = std::mem::take(&mut status.conditions);
        if !conditions.is_empty() {
            self.conditions = Conditions::of(&conditions);
        }
        self.status = status;
        self.forget_what_is_done();
    }

    /// Drops what is needed only to create the child once there is one, and of what is finished, as most that a controller
    /// holds is, all that is needed no more.
    pub(super) fn forget_what_is_done(&mut self) {
        let is_finished = self.is_finished();
        if (is_finished || self.recorded_child().is_some())
            && let Ok(spec) = &mut self.spec
        {
            spec.args = Value::Null;
        }
        if is_finished {
            if let Ok(spec) = &mut self.spec {
                spec.args_from = Vec::new();
            }
            self.status.output = None;
            self.status.dry_run = None;
            self.status.message = None;
            self.conditions = Conditions::default();
        }
    }
}

impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Execution({}/{} {})", self.namespace(), self.name(), self.uid())
    }
}
