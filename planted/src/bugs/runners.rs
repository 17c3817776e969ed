//! Wrong works of a tool.

use super::Bug;
use crate::check::Check::{Argo, Pure};

const ARGO: &str = "src/runners/argo.rs";

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "a Workflow may vanish by its own time to live before its result is read",
        file: ARGO,
        find: "spec.remove(\"ttlStrategy\")",
        replace: "spec.get(\"ttlStrategy\").cloned()",
        checks: &[Pure("runners::argo")],
    },
    Bug {
        name: "a Workflow runs as the ServiceAccount that its spec names",
        file: ARGO,
        find: "service_account::force(&mut spec, run.service_account);",
        replace: "",
        checks: &[Pure("runners::argo")],
    },
    Bug {
        name: "a Workflow's phase counts as its end though Argo has not completed it",
        file: ARGO,
        find: "(Some(\"Failed\" | \"Error\"), Some(\"true\"))",
        replace: "(Some(\"Failed\" | \"Error\"), _)",
        checks: &[Pure("runners::argo")],
    },
    Bug {
        name: "a cancelled Workflow is terminated without its exit handlers",
        file: ARGO,
        find: "Stop::Cancel => \"Stop\",",
        replace: "Stop::Cancel => \"Terminate\",",
        checks: &[Pure("runners::argo"), Argo("a_cancelled_workflow_has_really_stopped")],
    },
    Bug {
        name: "a Job counts as failed while its pods still run",
        file: "src/runners/job/outcome.rs",
        find: "    if holds(status, \"Failed\").is_some() {\n",
        replace: "    if holds(status, \"Failed\").or_else(|| holds(status, \"FailureTarget\")).is_some() {\n",
        checks: &[Pure("runners::job")],
    },
];
