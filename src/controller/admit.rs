//! Whether an execution can be run at all, and by what. Pure.
//!
//! Checks again what the API server's schema checks, since an object may be stored past it, and what the schema
//! cannot see: the namespace, and the runners there are.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use std::{sync::Arc, time::Duration};

use kube::core::ApiResource;

use super::{
    decide::{Patience, Refusal},
    execution::Execution,
};
use crate::{
    crd::RunnerExecutionSpec,
    duration,
    names::is_dns_subdomain,
    reason::Reason,
    runners::{Registry, Runner},
};

/// What it takes to run an execution.
#[derive(Clone)]
pub struct Plan {
    /// Who renders and interprets.
    pub runner: Arc<dyn Runner>,
    /// What kind of child it makes.
    pub kind: Arc<ApiResource>,
    /// The ServiceAccount to act as; a valid name.
    pub service_account: String,
    /// The timeout, if there is one.
    pub timeout: Option<Duration>,
}

/// The plan for an execution, or why there is none.
pub fn admit(execution: &Execution, registry: &Registry) -> Result<Plan, Refusal> {
    let spec = execution.spec.as_ref().map_err(|unread| {
        let problem = &unread.problem;
        let reason = if problem.path == "spec.args" { Reason::InvalidArgs } else { Reason::InvalidSpec };
        refuse(reason, problem.to_string())
    })?;
    let platform = &spec.context.platform;
    let invalid = |path: &str, what: String| refuse(Reason::InvalidSpec, format!("{path}: {what}"));
    if let Some(namespace) = platform.namespace.as_deref()
        && namespace != execution.namespace()
    {
        return Err(invalid(
            "spec.context.platform.namespace",
            format!(
                "must be the execution's own namespace, {:?}; create the execution where it is to run",
                execution.namespace()
            ),
        ));
    }
    if !is_dns_subdomain(&platform.service_account_name, 253) {
        return Err(invalid(
            "spec.context.platform.serviceAccountName",
            "must be the name of a ServiceAccount".into(),
        ));
    }
    if !is_dns_subdomain(execution.child_name(), 63) {
        return Err(invalid(
            "spec.context.name",
            "must be at most 63 lower-case letters, digits, '-' and '.'; it names what the runner creates"
                .into(),
        ));
    }
    check_references(spec).map_err(|(path, what)| invalid(&path, what.into()))?;
    let timeout = match spec.context.timeout.as_deref() {
        None => None,
        Some(text) => duration::parse(text).map_err(|e| invalid("spec.context.timeout", e.to_string()))?,
    };
    let runner = registry.get(&spec.runner).cloned().ok_or_else(|| {
        let names = registry.names().collect::<Vec<_>>().join(", ");
        if !is_dns_subdomain(&spec.runner, 63) {
            return invalid("spec.runner", format!("must be the name of a runner, such as: {names}"));
        }
        Refusal {
            reason: Reason::RunnerNotFound,
            message: format!(
                "No controller here serves this runner; spec.runner may be one of: {names}. Another controller may serve it."
            ),
            patience: Patience::Endless,
        }
    })?;
    let kind = Arc::new(runner.child());
    Ok(Plan { runner, kind, service_account: platform.service_account_name.clone(), timeout })
}

fn refuse(reason: Reason, message: String) -> Refusal {
    Refusal { reason, message, patience: Patience::None }
}

/// The names of other objects, which become part of the path of a request.
fn check_references(spec: &RunnerExecutionSpec) -> Result<(), (String, &'static str)> {
    if let Some(owner) = &spec.context.platform.owner_ref {
        let path = |field: &str| format!("spec.context.platform.ownerRef.{field}");
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        if !(group.is_empty() || is_dns_subdomain(group, 253)) || !is_dns_subdomain(version, 63) {
            return Err((path("apiVersion"), "must be a version such as v1, or a group and a version"));
        }
        if !is_path_segment(&owner.name) {
            return Err((path("name"), "must be the name of an object"));
        }
    }
    for (index, source) in spec.args_from.iter().enumerate() {
        if !is_dns_subdomain(&source.secret_key_ref.name, 253) {
            return Err((
                format!("spec.argsFrom[{index}].secretKeyRef.name"),
                "must be the name of a Secret",
            ));
        }
    }
    Ok(())
}

/// Whether a text can be nothing but one name in a path; kinds differ in what else they allow.
fn is_path_segment(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use super::admit;
    use crate::{
        controller::execution::Execution,
        reason::Reason,
        runners::{Registry, Settings},
    };
    use rstest::rstest;
    use serde_json::{Value, json};

    fn execution(change: impl FnOnce(&mut Value)) -> Execution {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "team-a", "uid": "u"},
            "spec": {"runner": "job", "context": {"platform": {"serviceAccountName": "deployer"}}},
        });
        change(&mut object);
        serde_json::from_value(serde_json::from_str(&object.to_string()).unwrap())
            .unwrap_or_else(|_| serde_json::from_str(&object.to_string()).unwrap())
    }

    #[rstest]
    #[case("/spec/context/platform/namespace", json!("kube-system"), Reason::InvalidSpec, "spec.context.platform.namespace")]
    #[case("/spec/context/platform/serviceAccountName", json!("a\r\nImpersonate-Group: system:masters"), Reason::InvalidSpec, "serviceAccountName")]
    #[case("/spec/context/platform/serviceAccountName", json!("../x"), Reason::InvalidSpec, "serviceAccountName")]
    #[case("/spec/context/name", json!("Ünïcode"), Reason::InvalidSpec, "spec.context.name")]
    #[case("/spec/context/timeout", json!("5s-3s"), Reason::InvalidSpec, "spec.context.timeout")]
    #[case("/spec/runner", json!("helm"), Reason::RunnerNotFound, "argo-workflow, job")]
    #[case("/spec/runner", json!("HELM"), Reason::InvalidSpec, "spec.runner")]
    #[case("/spec/runner", json!("../helm"), Reason::InvalidSpec, "spec.runner")]
    #[case("/spec/argsFrom", json!([{"secretKeyRef": {"name": "../configmaps/a", "key": "b"}}]), Reason::InvalidSpec, "spec.argsFrom[0].secretKeyRef.name")]
    #[case("/spec/context/platform/ownerRef", json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "../secrets/a", "uid": "u"}), Reason::InvalidSpec, "spec.context.platform.ownerRef.name")]
    #[case("/spec/context/platform/ownerRef", json!({"apiVersion": "../v1", "kind": "ConfigMap", "name": "a", "uid": "u"}), Reason::InvalidSpec, "spec.context.platform.ownerRef.apiVersion")]
    #[case("/spec/args", json!([]), Reason::InvalidArgs, "spec.args")]
    fn what_is_wrong_is_refused_by_the_name_of_its_field(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] reason: Reason,
        #[case] in_message: &str,
    ) {
        let execution = execution(|object| {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[field] = value;
        });
        let refusal = admit(&execution, &Registry::built_in(&Settings::default())).err().unwrap();
        assert_eq!(refusal.reason, reason);
        assert!(refusal.message.contains(in_message), "{}", refusal.message);
    }

    #[test]
    fn a_plain_execution_is_admitted() {
        let plan = admit(&execution(|_| ()), &Registry::built_in(&Settings::default())).ok().unwrap();
        assert_eq!(
            (plan.runner.name(), plan.service_account.as_str(), plan.timeout),
            ("job", "deployer", None)
        );
    }
}
