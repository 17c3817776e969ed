//! Wrong records and memories.

use super::Bug;
use crate::check::Check::Pure;

const ADMIT: &str = "src/controller/admit.rs";
const ERROR: &str = "src/controller/error.rs";
const MEMORY: &str = "src/controller/memory.rs";
const STATUS: &str = "src/controller/status.rs";

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "a status is written whatever the version is by then",
        file: "src/controller/patch.rs",
        find: "Version { uid, resource_version }, status",
        replace: "Version { uid, resource_version: &None }, status",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a refusal on the way forgets why the work is being stopped",
        file: STATUS,
        find: "recorded_halt(&status).map_or(refusal.reason, halt_reason)",
        replace: "refusal.reason",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a dry run shows arguments that come from a Secret",
        file: STATUS,
        find: "if execution.has_secret_args() {",
        replace: "if execution.spec.is_err() {",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "each refusal begins its grace anew",
        file: MEMORY,
        find: "p.first_refusal.get_or_insert(now);",
        replace: "p.first_refusal = Some(now);",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what fails is tried again at the same pace for ever",
        file: MEMORY,
        find: ".saturating_mul(1 << exponent)",
        replace: ".saturating_mul(1 << (exponent * 0))",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "the first refusal after an outage is waited out for as long as that took",
        file: MEMORY,
        find: "(Some(Failing::Unanswered), Failing::Answered) => 0,",
        replace: "(Some(Failing::Unanswered), Failing::Answered) => self.failures,",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child that ended just before our write of it is taken for an echo of that",
        file: MEMORY,
        find: "!known.is_same_but_for_version(seen)",
        replace: "known.version < seen.version",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a child of which nothing is ever heard is never looked at",
        file: "src/controller/step/rest.rs",
        find: "memory.look_due(key, entry.glance, Timestamp::now());",
        replace: "let _ = entry;",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "all children that stand still are looked at in full at once",
        file: "src/controller/looks.rs",
        find: "let turn = now.max(*free);",
        replace: "let turn = now;",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "what the API server refuses for good is tried for ever",
        file: ERROR,
        find: "(Reason::Rejected, format!(\"The API server refused it: {told}\"), Patience::None)",
        replace: "(Reason::Rejected, format!(\"The API server refused it: {told}\"), Patience::Endless)",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "an execution may run in another namespace than its own",
        file: ADMIT,
        find: "&& namespace != execution.namespace()",
        replace: "&& namespace.is_empty()",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "a ServiceAccount's name may hold a line break, and so another header",
        file: ADMIT,
        find: "if !is_dns_subdomain(&platform.service_account_name, 253) {",
        replace: "if platform.service_account_name.is_empty() {",
        checks: &[Pure("controller::")],
    },
    Bug {
        name: "one execution that nests too deep breaks the reading of all",
        file: "src/controller/received.rs",
        find: "if shape.depth > MAX_DEPTH + 1 {",
        replace: "if shape.depth > 1_000_000 {",
        checks: &[Pure("controller::")],
    },
];
