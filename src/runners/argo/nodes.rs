//! The steps of a Workflow as Argo recorded them (`status.nodes`): which one failed first, which one waits.
//!
//! In: a Workflow as JSON, of any shape. Out: a step's name, pod and message. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::document::{get, items, text};

/// Where the naming of pods is recorded, since Argo's operator chooses it.
const POD_NAMES: &str = "workflows.argoproj.io/pod-name-format";

/// What Argo says of a step whose own steps failed.
const CHILD: &str = "child '";

/// All steps of a Workflow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nodes<'a> {
    workflow: &'a Value,
    by_id: Option<&'a Map<String, Value>>,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    id: &'a str,
    value: &'a Value,
}

impl<'a> Nodes<'a> {
    pub(super) fn of(workflow: &'a Value) -> Self {
        Self { workflow, by_id: workflow.pointer("/status/nodes").and_then(Value::as_object) }
    }

    /// Whether Argo keeps the steps in a form that cannot be read here: compressed, or in its own database.
    pub(super) fn are_elsewhere(self) -> bool {
        let status = get(self.workflow, "status").unwrap_or(&Value::Null);
        self.by_id.is_none_or(Map::is_empty)
            && ["compressedNodes", "offloadNodeStatusVersion"].iter().any(|key| text(status, key).is_some())
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Node<'a>> {
        self.by_id.into_iter().flatten().map(|(id, value)| Node { id, value })
    }

    fn get(self, id: &str) -> Option<Node<'a>> {
        self.by_id?.get_key_value(id).map(|(id, value)| Node { id, value })
    }

    /// The step that made the Workflow fail, as deep as it can be followed.
    ///
    /// Begins at the entrypoint, or at the exit handler if only that failed. Argo names the child that made a
    /// `steps` template fail; elsewhere the one that failed first is taken. Attempts of a step that was retried
    /// do not count, save the last one of a step that failed for good.
    pub(super) fn cause(self) -> Option<Node<'a>> {
        let mut cause = self.failed_root()?;
        let mut seen = BTreeSet::new();
        while seen.insert(cause.id) {
            match self.failed_within(cause).filter(|next| !seen.contains(next.id)) {
                Some(next) => cause = next,
                None => break,
            }
        }
        Some(cause)
    }

    fn failed_root(self) -> Option<Node<'a>> {
        let name = self.name();
        let entry = self.get(name).filter(|node| node.has_failed());
        let exit = || {
            let name = format!("{name}.onExit");
            self.iter().find(|node| node.name() == name && node.has_failed())
        };
        let any = || first(self.iter().filter(|node| node.has_failed() && node.boundary().is_none()));
        entry.or_else(exit).or_else(any)
    }

    fn failed_within(self, node: Node<'a>) -> Option<Node<'a>> {
        let children = || node.children().filter_map(|id| self.get(id)).filter(|child| child.has_failed());
        match node.kind() {
            "Retry" => children().last(),
            "Steps" | "StepGroup" | "DAG" | "TaskGroup" => self.blamed(node).or_else(|| {
                let attempts = self.attempts();
                let within =
                    self.iter().filter(|other| other.boundary() == Some(node.id) && other.has_failed());
                first(
                    within
                        .chain(children())
                        .filter(|other| !attempts.contains(other.id) && other.id != node.id),
                )
            }),
            _ => None,
        }
    }

    /// The child that Argo blames in the node's own message.
    fn blamed(self, node: Node<'a>) -> Option<Node<'a>> {
        let (_, rest) = node.message()?.split_once(CHILD)?;
        self.get(rest.split('\'').next()?).filter(|child| child.has_failed() && child.id != node.id)
    }

    /// The single attempts of all steps that may be retried.
    fn attempts(self) -> BTreeSet<&'a str> {
        self.iter().filter(|node| node.kind() == "Retry").flat_map(Node::children).collect()
    }

    /// The Workflow's name.
    pub(super) fn name(self) -> &'a str {
        self.workflow.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The name of a step's pod, where Argo's rule for it is known.
    pub(super) fn pod(self, node: Node<'a>) -> Option<String> {
        let version = self.workflow.pointer("/metadata/annotations").and_then(|all| text(all, POD_NAMES))?;
        match (node.kind(), version) {
            ("Pod", "v1") => Some(node.id.to_owned()),
            ("Pod", "v2") => Some(pod_name(self.name(), node.name(), node.template())),
            _ => None,
        }
    }
}

/// The one that ended first; of those that ended at the same time, rather a step than a group of steps.
fn first<'a>(nodes: impl Iterator<Item = Node<'a>>) -> Option<Node<'a>> {
    nodes.min_by_key(|node| (node.finished_at().unwrap_or("~"), node.is_group(), node.id))
}

/// Argo's `GeneratePodName`: the Workflow's and the template's name, cut, and a hash of the step's.
fn pod_name(workflow: &str, node: &str, template: Option<&str>) -> String {
    const LONGEST_PREFIX: usize = 242;
    if workflow == node {
        return workflow.to_owned();
    }
    let mut prefix =
        template.map_or_else(|| workflow.to_owned(), |template| format!("{workflow}-{template}"));
    prefix.truncate(prefix.floor_char_boundary(LONGEST_PREFIX));
    format!("{prefix}-{}", fnv_1a(node))
}

fn fnv_1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl<'a> Node<'a> {
    /// What a person calls it.
    pub(super) fn display_name(self) -> &'a str {
        text(self.value, "displayName").unwrap_or_else(|| self.name())
    }

    pub(super) fn message(self) -> Option<&'a str> {
        text(self.value, "message")
    }

    pub(super) fn started_at(self) -> Option<&'a str> {
        text(self.value, "startedAt")
    }

    pub(super) fn kind(self) -> &'a str {
        text(self.value, "type").unwrap_or_default()
    }

    pub(super) fn phase(self) -> &'a str {
        text(self.value, "phase").unwrap_or_default()
    }

    /// Whether something of it goes on by itself. A daemon only waits for the steps that use it.
    pub(super) fn is_working(self) -> bool {
        self.phase() == "Running"
            && matches!(self.kind(), "Pod" | "HTTP" | "Plugin")
            && get(self.value, "daemoned").and_then(Value::as_bool) != Some(true)
    }

    fn name(self) -> &'a str {
        text(self.value, "name").unwrap_or(self.id)
    }

    fn boundary(self) -> Option<&'a str> {
        text(self.value, "boundaryID")
    }

    fn finished_at(self) -> Option<&'a str> {
        text(self.value, "finishedAt")
    }

    fn children(self) -> impl Iterator<Item = &'a str> {
        items(self.value, "children").iter().filter_map(Value::as_str)
    }

    fn has_failed(self) -> bool {
        matches!(self.phase(), "Failed" | "Error")
    }

    fn is_group(self) -> bool {
        matches!(self.kind(), "Steps" | "StepGroup" | "DAG" | "TaskGroup" | "Retry")
    }

    fn template(self) -> Option<&'a str> {
        match get(self.value, "templateRef") {
            Some(reference) => text(reference, "template"),
            None => text(self.value, "templateName"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fnv_1a, pod_name};

    /// Argo makes the ids of steps by the same hash; this one is recorded in tests/fixtures/argo/steps-failed.json.
    #[test]
    fn the_hash_is_argos() {
        assert_eq!(fnv_1a("steps-9fkqc[1].fail"), 3_224_593_506);
    }

    #[test]
    fn a_pod_is_named_as_argo_names_it() {
        assert_eq!(pod_name("w", "w", Some("main")), "w");
        assert_eq!(
            pod_name("steps-9fkqc", "steps-9fkqc[1].fail", Some("fail")),
            "steps-9fkqc-fail-3224593506"
        );
        assert_eq!(pod_name("steps-9fkqc", "steps-9fkqc[1].fail", None), "steps-9fkqc-3224593506");
        assert_eq!(pod_name(&"w".repeat(300), "x", None).len(), 242 + 1 + fnv_1a("x").to_string().len());
    }
}
