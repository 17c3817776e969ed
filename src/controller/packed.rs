//! An execution as it is kept between passes: as one compressed text, of 280 bytes for one that runs. Decoded it takes five
//! times as much, mostly room for what it does not have. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::Deserialize;

use super::{
    conditions::Conditions,
    execution::{Execution, Unread},
};
use crate::crd::{RunnerExecutionSpec, RunnerExecutionStatus};

/// What most texts consist of, in about their order: it need not be repeated in any of them. Not all of it need be right,
/// but what is missing here takes its room in each.
const MOSTLY: &[u8] = br#"[{"creationTimestamp":"20","deletionTimestamp":"20","generation":1,"name":"","namespace":"default","ownerReferences":[{"apiVersion":"core.projectvoltron.dev/v1alpha1","blockOwnerDeletion":false,"controller":true,"kind":"Action","name":"","uid":""}],"resourceVersion":"1","uid":""},{"Err":{"problem":{"path":"spec","what":""},"rudiments":{"runner":"","managedBy":"","ttlSecondsAfterFinished":1}}},{"Ok":{"runner":"terraform","runner":"http","runner":"helm","runner":"job","runner":"argo-workflow","context":{"name":"","dryRun":true,"dryRun":false,"timeout":"1h","platform":{"namespace":"","serviceAccountName":"","ownerRef":{"apiVersion":"core.projectvoltron.dev/v1alpha1","kind":"Action","name":"","uid":""}}},"args":{},"argsFrom":[{"secretRef":{"name":"","key":""}}],"suspend":true,"cancel":true,"suspend":false,"cancel":false,"ttlSecondsAfterFinished":3600,"managedBy":""}},{"observedGeneration":1,"phase":"Pending","reason":"Pending","phase":"Failed","reason":"Failed","phase":"Succeeded","reason":"Succeeded","phase":"Running","reason":"Running","message":"Started Job .","message":"Started Workflow .","startTime":"20","completionTime":"20","deadline":"20","resources":[{"apiVersion":"batch/v1","kind":"Job","namespace":"default","apiVersion":"argoproj.io/v1alpha1","kind":"Workflow","namespace":"default","name":"","uid":""}],"progress":"0/1","output":{},"outputRef":{"name":""}},{"kept":[],"fingerprint":1},{"kept":[[0,0,1,1],[1,2,8,1],[2,1,8,1],[3,0,8,1],[4,1,8,1]],"fingerprint":1},]"#;

/// An execution, packed.
pub struct Packed(Box<[u8]>);

/// The parts of an execution in their order in the text.
type Parts =
    (ObjectMeta, Result<Box<RunnerExecutionSpec>, Box<Unread>>, RunnerExecutionStatus, Conditions, usize);

impl Packed {
    /// Packs it.
    pub fn of(execution: &Execution) -> Self {
        let Execution { metadata, spec, status, conditions, bulk } = execution;
        let text = serde_json::to_vec(&(metadata, spec, status, conditions, bulk)).unwrap_or_default();
        Self(compress_prepend_size_with_dict(&text, MOSTLY).into())
    }

    /// What was packed. `None` does not happen: what came as JSON can be told as JSON, and read again.
    pub fn unpack(&self) -> Option<Execution> {
        let text = decompress_size_prepended_with_dict(&self.0, MOSTLY).unwrap_or_default();
        let mut json = serde_json::Deserializer::from_slice(&text);
        // It was within the limit when it came, and lies some levels deeper here.
        json.disable_recursion_limit();
        match Parts::deserialize(&mut json) {
            Ok((metadata, spec, status, conditions, bulk)) => {
                Some(Execution { metadata, spec, status, conditions, bulk })
            }
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                tracing::error!(line, column, "a packed execution is not understood");
                None
            }
        }
    }
}

/// It may hold arguments.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Execution, Packed};

    #[test]
    fn what_all_executions_have_in_common_takes_no_room_in_each() {
        let text = include_str!("../../benches/recorded/running.json");
        let running: Execution = serde_json::from_str(text).unwrap();
        let packed = Packed::of(&running);
        assert!(packed.0.len() < 320, "{packed:?}");
    }
}
