//! The child's kind as Argo installs it by default: anything goes, no status subresource.

use serde_json::{Value, json};

/// Workflow, like the minimal CRD of Argo Workflows 3.7: `spec` and `status` are opaque, and both are written
/// through the main resource.
pub fn workflow() -> Value {
    let opaque = || json!({"type": "object", "x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "workflows.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Workflow", "listKind": "WorkflowList", "plural": "workflows", "singular": "workflow", "shortNames": ["wf"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {},
                "additionalPrinterColumns": [
                    {"name": "Status", "type": "string", "jsonPath": ".status.phase"},
                    {"name": "Age", "type": "date", "format": "date-time", "jsonPath": ".status.startedAt"},
                    {"name": "Message", "type": "string", "jsonPath": ".status.message"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["metadata", "spec"],
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                        "spec": opaque(), "status": opaque(),
                    },
                }},
            }],
        },
    })
}
