//! Wrong decisions.

use super::Bug;
use crate::check::Check::{Argo, ControlPlane, Crash, Pure};

const DECIDE: &str = "src/controller/decide.rs";

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "a child is released before it is recorded",
        file: DECIDE,
        find: "Seen::Child(child) => Step::Record(child.uid.clone()),",
        replace: "Seen::Child(child) => if child.released { Step::Record(child.uid.clone()) } else { Step::Release(child.uid.clone()) },",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "whatever child is there is taken for the recorded one",
        file: DECIDE,
        find: "Seen::Child(child) if child.uid == *recorded =>",
        replace: "Seen::Child(child) if !child.uid.is_empty() =>",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "the child of whoever lost the race to record is released too",
        file: DECIDE,
        find: "Seen::Child(child) => Step::Discard(child.uid.clone()),",
        replace: "Seen::Child(child) => Step::Release(child.uid.clone()),",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child that vanished counts as a success",
        file: DECIDE,
        find: "(_, None) => Ending::Lost,",
        replace: "(_, None) => Ending::Glimpsed { succeeded: true },",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what was held back is restored before the result is recorded",
        file: DECIDE,
        find: "    if let Some(halt) = halt_due {\n        return Step::RecordHalt(halt);",
        replace: "    if child.held_back && child.released {\n        return Step::RestoreHeldBack(child.uid.clone());\n    }\n    if let Some(halt) = halt_due {\n        return Step::RecordHalt(halt);",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child of an older spec is recorded and released",
        file: DECIDE,
        find: "(!child.current || state.cancel",
        replace: "(state.cancel",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a recorded child that vanished is made again",
        file: DECIDE,
        find: "=> Step::Finish(gone(seen, halt)),",
        replace: "=> if halt.is_some() { Step::Finish(gone(seen, halt)) } else { Step::Create },",
        checks: &[ControlPlane("a_job_that_is_deleted_by_hand_is_lost_and_not_made_again")],
    },
    Bug {
        name: "a cancel is ignored once the work runs",
        file: DECIDE,
        find: "let halt_due = if state.cancel || state.deleting {",
        replace: "let halt_due = if state.deleting {",
        checks: &[ControlPlane("a_cancelled_job_is_stopped_and_kept")],
    },
    Bug {
        name: "a running child is deleted instead of stopped",
        file: DECIDE,
        find: "    if !child.released {\n        return Step::Discard(",
        replace: "    if child.released || child.observation.is_none() {\n        return Step::Discard(",
        checks: &[ControlPlane("a_cancelled_job_is_stopped_and_kept")],
    },
    Bug {
        name: "a suspended execution is started",
        file: DECIDE,
        find: "    if state.suspend {\n",
        replace: "    if state.suspend && state.dry_run {\n",
        checks: &[ControlPlane("a_suspended_execution_makes_nothing_until_it_is_released")],
    },
    Bug {
        name: "a glimpse of the end is taken for the whole result",
        file: DECIDE,
        find: "Glance::Ended { .. } if child.observation.is_none() => return Step::Look,",
        replace: "Glance::Ended { succeeded } if child.observation.is_none() => return Step::Finish(Ending::Glimpsed { succeeded }),",
        checks: &[
            Argo("a_workflow_succeeds_and_gives_back_progress_and_outputs"),
            Crash("job fails | kill -9 after"),
        ],
    },
];
