//! What the benchmark reads of a watch line; everything else in it is skipped without being built.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;

/// One event of a watch.
#[derive(Debug, Deserialize)]
pub struct Line<'a> {
    /// ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The object.
    #[serde(borrow)]
    pub object: Object<'a>,
}

/// An object of any of the watched kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Object<'a> {
    /// Its metadata.
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    /// A part of its spec.
    pub spec: Spec,
    /// A part of its status.
    #[serde(borrow)]
    pub status: Status<'a>,
}

/// Metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "they are called what they are")]
pub struct Metadata<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    #[serde(borrow)]
    pub resource_version: Cow<'a, str>,
    #[serde(borrow)]
    pub labels: HashMap<Cow<'a, str>, Cow<'a, str>>,
}

/// `spec`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "they are called what they are")]
pub struct Spec {
    pub suspend: Option<bool>,
}

/// `status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "they are called what they are")]
pub struct Status<'a> {
    #[serde(borrow)]
    pub phase: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub start_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub completion_time: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` if it is no event of an object.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

impl Object<'_> {
    /// Whether Argo marked it as ended.
    pub fn is_completed_workflow(&self) -> bool {
        self.metadata.labels.get("workflows.argoproj.io/completed").is_some_and(|value| value == "true")
    }

    /// Whether it is the annotation-only end of the initial events of a watch.
    pub fn is_succeeded(&self) -> bool {
        self.status.phase.as_deref() == Some("Succeeded")
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn reads_what_matters_and_skips_the_rest() {
        let text = br#"{"type":"MODIFIED","object":{"kind":"W","metadata":{"name":"x1","uid":"u","managedFields":[{"a":{"b":1}}],"labels":{"workflows.argoproj.io/completed":"true"}},"spec":{"suspend":false,"templates":[{"x":"\"y"}]},"status":{"phase":"Succeeded","nodes":{}}}}"#;
        let line = Line::read(text).unwrap();
        assert_eq!((line.kind.as_ref(), line.object.spec.suspend), ("MODIFIED", Some(false)));
        assert!(line.object.is_completed_workflow() && line.object.is_succeeded());
        assert_eq!(line.object.metadata.name, "x1");
    }
}
