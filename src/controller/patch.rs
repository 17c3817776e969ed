//! The merge patch that a status is written with: what differs, on exactly the version that was decided on. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::{RawValue, to_raw_value};

use super::execution::Execution;
use crate::crd::RunnerExecutionStatus;

/// The JSON merge patch from an execution's status to a new one; `None` if nothing differs.
pub fn patch(execution: &Execution, new: &RunnerExecutionStatus) -> Option<Box<RawValue>> {
    // That neither can be told as JSON does not happen: all of it came as such, or is text and numbers.
    let status = to_raw_value(&Changes { old: execution, new }).ok().filter(|it| it.get() != "{}")?;
    let ObjectMeta { uid, resource_version, .. } = &execution.metadata;
    to_raw_value(&Patch { metadata: Version { uid, resource_version }, status: &status }).ok()
}

#[derive(Serialize)]
struct Patch<'a> {
    metadata: Version<'a>,
    status: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version<'a> {
    uid: &'a Option<String>,
    resource_version: &'a Option<String>,
}

/// The fields that differ, with null for one that is gone. To compare what both look like in JSON takes twice as long.
struct Changes<'a> {
    old: &'a Execution,
    new: &'a RunnerExecutionStatus,
}

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let old = &self.old.status;
        // All of them, so that no new one is forgotten.
        let RunnerExecutionStatus {
            observed_generation,
            phase,
            reason,
            message,
            conditions,
            start_time,
            completion_time,
            deadline,
            resources,
            progress,
            output,
            output_ref,
            dry_run,
        } = self.new;
        let mut fields = serializer.serialize_map(None)?;
        change(&mut fields, "observedGeneration", &old.observed_generation, observed_generation)?;
        change(&mut fields, "phase", &old.phase, phase)?;
        change(&mut fields, "reason", &old.reason, reason)?;
        change(&mut fields, "message", &old.message, message)?;
        if !conditions.is_empty() && !self.old.conditions.are(conditions) {
            fields.serialize_entry("conditions", conditions)?;
        }
        change(&mut fields, "startTime", &old.start_time, start_time)?;
        change(&mut fields, "completionTime", &old.completion_time, completion_time)?;
        change(&mut fields, "deadline", &old.deadline, deadline)?;
        change(&mut fields, "resources", &old.resources, resources)?;
        change(&mut fields, "progress", &old.progress, progress)?;
        change(&mut fields, "output", &old.output, output)?;
        change(&mut fields, "outputRef", &old.output_ref, output_ref)?;
        change(&mut fields, "dryRun", &old.dry_run, dry_run)?;
        fields.end()
    }
}

fn change<M: SerializeMap, T: PartialEq + Serialize>(
    fields: &mut M,
    name: &str,
    old: &T,
    new: &T,
) -> Result<(), M::Error> {
    if old == new { Ok(()) } else { fields.serialize_entry(name, new) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Execution, RunnerExecutionStatus};

    fn execution(status: &Value) -> Execution {
        let metadata = json!({"name": "a", "uid": "u", "resourceVersion": "7"});
        serde_json::from_str(&json!({"metadata": metadata, "spec": {}, "status": status}).to_string())
            .unwrap()
    }

    fn patch(old: &Value, new: &Value) -> Option<Value> {
        let new: RunnerExecutionStatus = serde_json::from_value(new.clone()).unwrap();
        Some(serde_json::from_str(super::patch(&execution(old), &new)?.get()).unwrap())
    }

    /// A status of something that runs with something in each field but the time of its end.
    fn full() -> Value {
        let time = "2026-01-01T00:00:00Z";
        let resource =
            json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "n", "name": "a", "uid": "c"});
        let condition = json!({
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": time,
        });
        json!({
            "observedGeneration": 3, "phase": "Running", "reason": "Running", "message": "Started.",
            "conditions": [condition], "startTime": time, "deadline": time,
            "resources": [resource], "progress": "1/2", "output": {"a": 1}, "outputRef": {"name": "a", "digest": "d"},
            "dryRun": {"rendered": {}},
        })
    }

    #[test]
    fn a_patch_holds_only_what_differs_and_is_left_out_where_nothing_does() {
        let full = full();
        assert_eq!(patch(&full, &full), None);
        for field in full.as_object().unwrap().keys().filter(|field| *field != "conditions") {
            let mut without = full.clone();
            let was = without.as_object_mut().unwrap().remove(field).unwrap();
            let patched = |old, new| patch(old, new).unwrap()["status"].clone();
            assert_eq!(patched(&without, &full), json!({ field: was }));
            let gone = if field == "resources" { json!([]) } else { Value::Null };
            assert_eq!(patched(&full, &without), json!({ field: gone }));
        }
    }

    #[test]
    fn a_patch_is_for_one_version_of_one_object_and_sends_every_field_by_the_name_it_is_read_by() {
        let mut full = full();
        full["completionTime"] = "2026-01-01T00:00:00Z".into();
        let patch = patch(&json!({}), &full).unwrap();
        assert_eq!(patch["metadata"], json!({"resourceVersion": "7", "uid": "u"}));
        assert_eq!(patch["status"], full);
    }
}
