//! `kubectl rex describe`: what happened, why, and what was made. The reads are here; what is shown is pure.

use std::collections::BTreeSet;

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use runner_controller::{client::ClientError, crd::RunnerExecution, submit::Failure};

use crate::{cli::Scope, scope::Opened, terminal};

#[cfg(test)]
pub(crate) mod recorded;
mod timeline;
mod tree;
mod view;

/// All that is known of an execution.
pub(crate) struct Known {
    pub(crate) execution: RunnerExecution,
    /// Everything of the namespace that may belong to it.
    pub(crate) objects: Vec<DynamicObject>,
    /// The events of the namespace.
    pub(crate) events: Vec<Event>,
    /// What could not be read, and why.
    pub(crate) unread: Vec<String>,
}

/// The kinds that a run may be made of, from the outside to the inside.
fn kinds() -> Vec<ApiResource> {
    [
        ("core.projectvoltron.dev", "v1alpha1", "RunnerExecution", "runnerexecutions"),
        ("argoproj.io", "v1alpha1", "Workflow", "workflows"),
        ("batch", "v1", "Job", "jobs"),
        ("", "v1", "Pod", "pods"),
    ]
    .map(|(group, version, kind, plural)| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    })
    .into()
}

pub(crate) async fn describe(scope: &Scope, name: &str) -> Result<(), Failure> {
    let opened = scope.open().await?;
    let execution = opened.executions().get(name).await?;
    let known = read(&opened, execution).await;
    let width = terminal::size().map(|(columns, _)| columns);
    terminal::print(&view::text(&known, Timestamp::now(), width, terminal::colour()));
    Ok(())
}

/// Reads what may belong to the execution. What cannot be read is told, and the rest is shown all the same.
async fn read(opened: &Opened, execution: RunnerExecution) -> Known {
    let mut known = Known { execution, objects: Vec::new(), events: Vec::new(), unread: Vec::new() };
    let mut kinds = kinds();
    // What a runner of somebody else's has made is of a kind of its own.
    let made: Vec<ApiResource> = known.execution.status.iter().flat_map(|s| &s.resources).map(of).collect();
    let present: BTreeSet<String> = kinds.iter().map(|kind| kind.plural.clone()).collect();
    kinds.extend(made.into_iter().filter(|kind| !present.contains(&kind.plural)));
    for kind in kinds {
        let api: Api<DynamicObject> = Api::namespaced_with(opened.client.clone(), &opened.namespace, &kind);
        match api.list(&ListParams::default()).await {
            Ok(list) => known.objects.extend(list.items.into_iter().map(|mut object| {
                object.types.get_or_insert_with(|| kube::core::TypeMeta {
                    api_version: kind.api_version.clone(),
                    kind: kind.kind.clone(),
                });
                object
            })),
            // A kind that is not installed has no objects.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let error = ClientError::of(error, "list", &opened.namespace);
                known.unread.push(format!("{}: {error}", kind.plural));
            }
        }
    }
    match opened.api::<Event>().list(&ListParams::default()).await {
        Ok(list) => known.events = list.items,
        Err(error) => {
            known.unread.push(format!("events: {}", ClientError::of(error, "list", &opened.namespace)));
        }
    }
    known
}

/// The kind of what a runner made; its plural as Kubernetes forms it.
fn of(made: &runner_controller::crd::ResourceRef) -> ApiResource {
    let (group, version) = made.api_version.split_once('/').unwrap_or(("", &made.api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &made.kind))
}

/// The pods of an execution, in the order of their making.
pub(crate) async fn pods_of(opened: &Opened, execution: &RunnerExecution) -> Vec<DynamicObject> {
    let known = read(opened, execution.clone()).await;
    let mut pods: Vec<DynamicObject> = tree::members(&known)
        .into_iter()
        .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "Pod"))
        .cloned()
        .collect();
    pods.sort_by_key(|pod| (pod.creation_timestamp().map(|time| time.0), pod.name_any()));
    pods
}
