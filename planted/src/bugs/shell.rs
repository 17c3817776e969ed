//! Wrong ways to carry a decision out: the writes, and what is believed of their answers.

use super::Bug;
use crate::check::Check::{BadInputs, ControlPlane, Crash, Pure, Storm};

const API: &str = "src/controller/api.rs";
const CHILD: &str = "src/controller/child.rs";
const QUEUE: &str = "src/controller/queue.rs";
const RECONCILE: &str = "src/controller/reconcile.rs";
const STEP_CHILD: &str = "src/controller/step/child.rs";
const STEP_WRITE: &str = "src/controller/step/write.rs";
const TRIGGERS: &str = "src/controller/triggers.rs";

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "the child is applied instead of created, over whatever has its name",
        file: API,
        find: "self.write(of_kind(kind, Some(namespace)).create(&params, to_json(manifest)?)",
        replace: "let _ = params;\n        self.write(of_kind(kind, Some(namespace)).patch(manifest.pointer(\"/metadata/name\").and_then(Value::as_str).unwrap_or_default(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(manifest))",
        checks: &[ControlPlane("a_name_that_is_taken_by_a_foreign_object_fails_and_leaves_it_alone")],
    },
    Bug {
        name: "the API server chooses the child's name",
        file: CHILD,
        find: "\"name\": execution.child_name(),",
        replace: "\"generateName\": format!(\"{}-\", execution.child_name()),",
        checks: &[ControlPlane("a_started_job_is_recorded_owned_marked_and_made_by_the_service_account")],
    },
    Bug {
        name: "the child is not created suspended",
        file: CHILD,
        find: "spec.insert(\"suspend\".into(), Value::Bool(true));",
        replace: "spec.insert(\"suspend\".into(), Value::Bool(false));",
        checks: &[Crash("job succeeds | kill -9 applied")],
    },
    Bug {
        name: "a release or a stop names the child by its name only, not by its uid",
        file: CHILD,
        find: "\"uid\": uid,\n        \"labels\": { label: value },",
        replace: "\"labels\": { label: if uid.is_empty() { \"\" } else { value } },",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child is stopped and not marked so in the same patch",
        file: CHILD,
        find: "mark(uid, STOPPED_LABEL, word(how), now)",
        replace: "mark(uid, RELEASED_LABEL, word(how), now)",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child is believed by its label, whoever owns it",
        file: CHILD,
        find: " && o.uid == *execution)?",
        replace: ")?",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "the status tells of a child before one is created",
        file: STEP_CHILD,
        find: "match self.cx.api.create(&plan.kind,",
        replace: "let early = crate::crd::ResourceRef { kind: plan.kind.kind.clone(), name: execution.child_name().into(), ..Default::default() };\n        self.write(crate::controller::status::started(&execution, early, plan.timeout, Timestamp::now())).await?;\n        match self.cx.api.create(&plan.kind,",
        checks: &[ControlPlane("a_service_account_without_rights_is_told_what_it_lacks")],
    },
    Bug {
        name: "the child is created with the controller's own rights",
        file: STEP_CHILD,
        find: "let identity = identity(&execution, plan);",
        replace: "let identity = Identity::Controller;",
        checks: &[ControlPlane("a_started_job_is_recorded_owned_marked_and_made_by_the_service_account")],
    },
    Bug {
        name: "another execution's child of that name is adopted",
        file: STEP_CHILD,
        find: "entry.filter(|e| e.execution == self.execution.key())",
        replace: "entry.filter(|e| !e.uid.is_empty())",
        checks: &[ControlPlane("of_two_executions_that_want_the_same_job_only_the_first_gets_it")],
    },
    Bug {
        name: "a child that exists already is always somebody else's",
        file: STEP_CHILD,
        find: "Err(error) if error.code() == Some(409) => self.who_has_the_name(plan).await,\n            Err(error) => self.refused(error, \"create\", \"create the child\"",
        replace: "Err(error) if error.code() == Some(409) => Ok(Next::Again(Seen::Foreign)),\n            Err(error) => self.refused(error, \"create\", \"create the child\"",
        checks: &[Crash("job succeeds | kill -9 applied")],
    },
    Bug {
        name: "a child is deleted by its name, whatever it is by then",
        file: STEP_CHILD,
        find: "let only = Preconditions { uid: Some(uid), resource_version: version };",
        replace: "let _ = version;\n        let only = Preconditions::default();",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a dry run creates",
        file: API,
        find: "PostParams { dry_run: true,",
        replace: "PostParams { dry_run: false,",
        checks: &[ControlPlane("a_dry_run_shows_what_would_be_stored_and_stores_nothing")],
    },
    Bug {
        name: "a status write that was refused for a conflict counts as written",
        file: STEP_WRITE,
        find: "Ok(self.refresh().await?.map_or(Written::Gone, |()| Written::Conflict))",
        replace: "let meta = self.execution.metadata.clone();\n                self.update(|execution| execution.status = new, &meta);\n                Ok(Written::Done)",
        checks: &[Crash("job succeeds | 409"), Storm],
    },
    Bug {
        name: "a child that the watch does not show counts as gone",
        file: RECONCILE,
        find: "Ok(_) | Err(_) => Glimpsed::Seen(Seen::Unknown),",
        replace: "Ok(_) | Err(_) => Glimpsed::Seen(Seen::Absent { ended: None }),",
        checks: &[Crash("job succeeds | event held")],
    },
    Bug {
        name: "an execution that has finished is decided on again",
        file: RECONCILE,
        find: "    if execution.is_finished() {\n",
        replace: "    if execution.is_finished() && execution.metadata.deletion_timestamp.is_some() {\n",
        checks: &[ControlPlane("an_accepted_spec_is_frozen_and_applying_it_again_changes_nothing")],
    },
    Bug {
        name: "the timeout begins anew with each controller",
        file: "src/controller/mod.rs",
        find: "        let pass = async |key| {
            if let Some(execution) = cx.executions.get(key) {
",
        replace: "        let began = k8s_openapi::jiff::Timestamp::now();
        let pass = async |key| {
            if let Some(mut execution) = cx.executions.get(key) {
                let status = &mut execution.status;
                if let (Some(start), Some(deadline)) = (&status.start_time, &mut status.deadline) {
                    let timeout = deadline.0.duration_since(start.0);
                    deadline.0 = deadline.0.max(began.checked_add(timeout).unwrap_or(deadline.0));
                }
",
        checks: &[ControlPlane("the_timeout_runs_on_while_no_controller_does")],
    },
    Bug {
        name: "no pass comes when only time has passed",
        file: "src/controller/mod.rs",
        find: "        timers.due().map(|key| (key, Row::Begun)).boxed(),\n",
        replace: "",
        checks: &[ControlPlane("a_job_that_takes_too_long_is_stopped_at_its_deadline")],
    },
    Bug {
        name: "a time that a pass asked for outlives the next pass",
        file: "src/controller/timers.rs",
        find: "        waiting.clear(execution);\n        if let",
        replace: "        if let",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what has started is tried again without a pause once the grace is over",
        file: "src/controller/step/rest.rs",
        find: "delay.min(left.unwrap_or(delay))",
        replace: "delay.min(left.unwrap_or_default())",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a status with a word of another version is read as none",
        file: "src/controller/received.rs",
        find: "if RunnerExecutionStatus::deserialize(&alone).is_ok() {",
        replace: "if alone.is_empty() {",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what somebody else wrote after us is taken for our own write",
        file: "src/controller/memory.rs",
        find: "version.is_some() && it.metadata.resource_version.as_deref() == version",
        replace: "version.is_some() || it.metadata.resource_version.is_none()",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what is remembered of executions that went unheard is kept",
        file: "src/controller/memory.rs",
        find: "retain(|key, _| is_known(*key));",
        replace: "retain(|key, _| is_known(*key) || true);",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what went while nothing was heard is known for ever",
        file: "src/controller/cache.rs",
        find: "*list == self.lists",
        replace: "*list <= self.lists",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child of another namespace takes the place of one's own",
        file: "src/controller/cache.rs",
        find: "hash_one((execution, namespace, name))",
        replace: "hash_one((execution, name, namespace.is_empty()))",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what comes for an execution during a pass of it is forgotten",
        file: QUEUE,
        find: "inner.standing.insert(key, Standing::AtWorkAndWanted);",
        replace: "",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "an execution is in two passes at once",
        file: QUEUE,
        find: "        self.standing.insert(key, Standing::AtWork);\n",
        replace: "        self.standing.remove(&key);\n",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "watches are never begun anew",
        file: TRIGGERS,
        find: ".take_until(tokio::time::sleep(resync))",
        replace: ".take_until(tokio::time::sleep(resync.saturating_mul(1000)))",
        checks: &[Crash("job succeeds | event dropped")],
    },
    Bug {
        name: "an owner is believed though its uid is another",
        file: "src/controller/step/owner.rs",
        find: "if uid != Some(owner.uid.as_str()) {",
        replace: "if uid.is_none() {",
        checks: &[BadInputs],
    },
    Bug {
        name: "an expired execution leaves its child behind",
        file: API,
        find: "DeleteParams::background().preconditions(precondition)",
        replace: "DeleteParams { propagation_policy: Some(kube::core::params::PropagationPolicy::Orphan), ..DeleteParams::default() }.preconditions(precondition)",
        checks: &[ControlPlane("a_finished_execution_goes_after_its_time_to_live_and_takes_its_job_with_it")],
    },
];
