//! What a template that runs something itself must say for Argo to accept it.
//!
//! In: the template as it is written, and the spec's `templateDefaults`. Out: problems. Pure.

use serde_json::Value;

use super::document::{Findings, Path, get, items, text};

/// Reports what is missing; `defaults` are the fields that templates need not repeat.
pub(super) fn check(template: &Value, defaults: Option<&Value>, at: &Path, findings: &mut Findings) {
    for kind in ["container", "script"] {
        let has_image = |owner: &Value| get(owner, kind).is_some_and(|part| text(part, "image").is_some());
        if get(template, kind).is_some() && !has_image(template) && !defaults.is_some_and(has_image) {
            findings.add(&at.field(kind).field("image"), || "write the image to run".to_owned());
        }
    }
    if let Some(resource) = get(template, "resource") {
        check_resource(resource, &at.field("resource"), findings);
    }
    if let Some(set) = get(template, "containerSet") {
        check_containers(set, &at.field("containerSet"), findings);
    }
    check_artifact_paths(template, at, findings);
}

fn check_resource(resource: &Value, at: &Path, findings: &mut Findings) {
    let action = text(resource, "action");
    if action.is_none() {
        findings.add(&at.field("action"), || {
            "write one of: get, create, apply, delete, replace, patch".to_owned()
        });
    }
    let needs_none = action.is_none_or(|action| ["get", "delete"].contains(&action) || action.contains("{{"));
    let inline = text(resource, "manifest").is_some();
    match (inline, get(resource, "manifestFrom").is_some()) {
        (false, false) if !needs_none => {
            findings.add(&at.field("manifest"), || {
                "write the manifest, or where it is in `manifestFrom`".to_owned()
            });
        }
        (true, true) if !needs_none => {
            findings.add(at, || "keep one of `manifest` and `manifestFrom`".to_owned());
        }
        _ => {}
    }
}

fn check_containers(set: &Value, at: &Path, findings: &mut Findings) {
    let containers = findings.list(set, "containers", at);
    if containers.is_empty() {
        findings.add(&at.field("containers"), || "write at least one container".to_owned());
    }
    for (i, container) in containers.iter().enumerate() {
        if text(container, "name").is_none() {
            findings.add(&at.field("containers").index(i).field("name"), || {
                "every container needs a name".to_owned()
            });
        }
    }
}

/// Artifacts are files in a container, so each needs a path there.
fn check_artifact_paths(template: &Value, at: &Path, findings: &mut Findings) {
    let in_container = ["container", "containerSet", "script", "resource", "data"];
    if !in_container.iter().any(|kind| get(template, kind).is_some()) {
        return;
    }
    for owner in ["inputs", "outputs"] {
        let artifacts = get(template, owner).map_or(&[][..], |owner| items(owner, "artifacts"));
        for (i, artifact) in artifacts.iter().enumerate() {
            if text(artifact, "path").is_none() {
                findings.add(&at.field(owner).field("artifacts").index(i).field("path"), || {
                    "write the file's path in the container".to_owned()
                });
            }
        }
    }
}
