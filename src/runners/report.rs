//! What a pod of this project tells the controller: by annotations of its own Job, which it patches with the rights
//! of the run's ServiceAccount (the very right by which the controller releases that Job). They outlive the pod, and
//! a watch shows them. Pure.
//!
//! [`crate::exec`] writes them, [`super::exec`] reads them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{crd::OutputRef, reason::Reason};

/// How far the work is, such as `3/7`.
pub const PROGRESS: &str = "core.projectvoltron.dev/progress";
/// The [`Report`], once the work has come to its end.
pub const RESULT: &str = "core.projectvoltron.dev/result";

/// What became of the work, in its own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Report {
    /// It did what it was to do.
    Succeeded {
        /// One sentence, may be empty.
        #[serde(default)]
        message: String,
        /// What it gives back, if that is small and not secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        /// Where what it gives back is, otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_ref: Option<OutputRef>,
    },
    /// It did not.
    Failed {
        /// Why, in one word.
        reason: Reason,
        /// Why, by the name of what failed, and what to do.
        message: String,
    },
}

/// The report on a Job, if there is a readable one.
pub fn read(job: &Value) -> Option<Report> {
    serde_json::from_str(annotation(job, RESULT)?).ok()
}

/// How far the work of a Job is, by its own word.
pub fn progress(job: &Value) -> Option<String> {
    annotation(job, PROGRESS).map(str::to_owned)
}

fn annotation<'a>(job: &'a Value, key: &str) -> Option<&'a str> {
    job.pointer("/metadata/annotations")?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{Report, read};
    use crate::reason::Reason;

    #[test]
    fn what_is_written_is_read() {
        for report in [
            Report::Succeeded { message: "done".into(), output: Some(json!({"a": 1})), output_ref: None },
            Report::Failed { reason: Reason::RequestFailed, message: "it was refused".into() },
        ] {
            let text = serde_json::to_string(&report).unwrap();
            let job = json!({"metadata": {"annotations": {"core.projectvoltron.dev/result": text}}});
            assert_eq!(read(&job), Some(report));
        }
    }

    proptest! {
        #[test]
        fn any_other_text_is_no_report(text in any::<String>()) {
            let job = json!({"metadata": {"annotations": {"core.projectvoltron.dev/result": text}}});
            prop_assert_eq!(read(&job), None);
        }
    }
}
