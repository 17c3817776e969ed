//! Every request that the controller makes, watches apart. All I/O of a reconcile is in here.
//!
//! Each call is made once, with a deadline: what to do about a failure is the reconcile's to decide. Writes ask
//! for metadata only in return, since nothing else of the answer is used.

use std::time::{Duration, Instant};

use http::{HeaderValue, Request, header};
use k8s_openapi::{
    api::core::v1::{Event, Pod, Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client, Resource,
    core::{
        ApiResource, DynamicObject, GroupVersionKind, ObjectList, PartialObjectMeta, Status,
        params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
        request::Request as Builder,
    },
    discovery::{self, Scope},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use super::{
    child::Watched,
    execution::Execution,
    impersonate::{self, Identity},
    pace,
    received::Received,
    whole::Whole,
};
use crate::crd::OwnerRef;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Who writes, in managed fields.
const FIELD_MANAGER: &str = "runner-controller";
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Why a call brought nothing. Its text never holds what was sent.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server said no.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// No answer came in time: the outcome is unknown.
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
    /// The call broke: the outcome is unknown.
    #[error("the API server cannot be reached: {0}")]
    Transport(String),
}

impl CallError {
    /// The HTTP status, if there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            Self::Timeout | Self::Transport(_) => None,
        }
    }

    /// How long the server asks to wait, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(status) => status
                .details
                .as_ref()
                .map(|d| d.retry_after_seconds)
                .filter(|s| *s > 0)
                .map(|s| Duration::from_secs(s.into())),
            Self::Timeout | Self::Transport(_) => None,
        }
    }
}

impl From<kube::Error> for CallError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are failures of the transport")]
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status(status),
            // A decode error would repeat the answer's content.
            kube::Error::SerdeError(_) => Self::Transport("its answer is not understood".into()),
            other => Self::Transport(other.to_string()),
        }
    }
}

/// The API server, as a reconcile uses it.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Calls through that client, which must not retry by itself.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The execution as it is now; `None` if there is none of that uid.
    pub async fn execution(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Execution>, CallError> {
        let request = executions(namespace).get(name, &GetParams::default());
        let found: Option<Execution> = optional(self.call(request, Identity::Controller, false).await)?;
        Ok(found.filter(|execution| execution.uid() == uid))
    }

    /// Patches the status; the patch names the version it is for. Returns the new version.
    pub async fn patch_status(
        &self,
        execution: &Execution,
        patch: &RawValue,
    ) -> Result<ObjectMeta, CallError> {
        let request = executions(execution.namespace()).patch_subresource(
            "status",
            execution.name(),
            &by_us(),
            &Patch::Merge(patch),
        );
        self.write(request, Identity::Controller).await
    }

    /// Sets the owner references of the execution.
    pub async fn set_owners(&self, execution: &Execution, owners: &Value) -> Result<ObjectMeta, CallError> {
        let patch = json!({"metadata": {
            "uid": execution.uid(), "resourceVersion": execution.metadata.resource_version, "ownerReferences": owners,
        }});
        let request =
            executions(execution.namespace()).patch(execution.name(), &by_us(), &Patch::Merge(&patch));
        self.write(request, Identity::Controller).await
    }

    /// Deletes exactly this version of the execution, and in the background what it made.
    pub async fn delete_execution(&self, execution: &Execution) -> Result<(), CallError> {
        let precondition = Preconditions {
            uid: execution.metadata.uid.clone(),
            resource_version: execution.metadata.resource_version.clone(),
        };
        let params = DeleteParams::background().preconditions(precondition);
        let request = executions(execution.namespace()).delete(execution.name(), &params);
        optional(self.call::<Value>(request, Identity::Controller, false).await).map(|_| ())
    }

    /// Creates a child and returns its metadata.
    pub async fn create(
        &self,
        kind: &ApiResource,
        identity: Identity<'_>,
        namespace: &str,
        manifest: &Value,
    ) -> Result<ObjectMeta, CallError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.write(of_kind(kind, Some(namespace)).create(&params, to_json(manifest)?), identity).await
    }

    /// What the server would store as that child, but for managed fields.
    pub async fn dry_run(
        &self,
        kind: &ApiResource,
        identity: Identity<'_>,
        namespace: &str,
        manifest: &Value,
    ) -> Result<Value, CallError> {
        let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
        let request = of_kind(kind, Some(namespace)).create(&params, to_json(manifest)?);
        self.whole(request, identity).await
    }

    /// An object, whole but for its managed fields, with the rights of `identity`.
    pub async fn get(
        &self,
        kind: &ApiResource,
        identity: Identity<'_>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, CallError> {
        optional(self.whole(of_kind(kind, namespace).get(name, &GetParams::default()), identity).await)
    }

    /// Merge-patches exactly the child of that uid.
    pub async fn patch(
        &self,
        kind: &ApiResource,
        identity: Identity<'_>,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<ObjectMeta, CallError> {
        self.write(of_kind(kind, Some(namespace)).patch(name, &by_us(), &Patch::Merge(patch)), identity).await
    }

    /// Deletes exactly the child of that uid and, if given, of that version.
    pub async fn delete(
        &self,
        kind: &ApiResource,
        identity: Identity<'_>,
        namespace: &str,
        name: &str,
        only: Preconditions,
    ) -> Result<(), CallError> {
        let params = DeleteParams::background().preconditions(only);
        optional(
            self.call::<Value>(of_kind(kind, Some(namespace)).delete(name, &params), identity, false).await,
        )
        .map(|_| ())
    }

    /// The pods that a Job made.
    pub async fn pods(&self, namespace: &str, job_uid: &str) -> Result<Vec<Pod>, CallError> {
        let params =
            ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={job_uid}")).limit(50);
        let request = Builder::new(Pod::url_path(&(), Some(namespace))).list(&params);
        self.call::<ObjectList<Pod>>(request, Identity::Controller, false).await.map(|list| list.items)
    }

    /// The events about an object.
    pub async fn events(&self, namespace: &str, uid: &str) -> Result<Vec<Event>, CallError> {
        let params = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(50);
        let request = Builder::new(Event::url_path(&(), Some(namespace))).list(&params);
        self.call::<ObjectList<Event>>(request, Identity::Controller, false).await.map(|list| list.items)
    }

    /// Writes an event.
    pub async fn create_event(&self, namespace: &str, event: &Event) -> Result<(), CallError> {
        let request = Builder::new(Event::url_path(&(), Some(namespace)))
            .create(&PostParams::default(), to_json(event)?);
        self.write(request, Identity::Controller).await.map(|_| ())
    }

    /// A Secret, with the rights of the ServiceAccount.
    pub async fn secret(
        &self,
        identity: Identity<'_>,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Secret>, CallError> {
        let request = Builder::new(Secret::url_path(&(), Some(namespace))).get(name, &GetParams::default());
        optional(self.call(request, identity, false).await)
    }

    /// Whether a ServiceAccount exists.
    pub async fn service_account_exists(&self, namespace: &str, name: &str) -> Result<bool, CallError> {
        let request =
            Builder::new(ServiceAccount::url_path(&(), Some(namespace))).get(name, &GetParams::default());
        optional(self.call::<PartialObjectMeta<ServiceAccount>>(request, Identity::Controller, true).await)
            .map(|a| a.is_some())
    }

    /// The owner that a reference names, with the rights of the ServiceAccount; `None` if there is no such kind
    /// or object.
    pub async fn owner(
        &self,
        identity: Identity<'_>,
        namespace: &str,
        owner: &OwnerRef,
    ) -> Result<Option<Value>, CallError> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let kind = GroupVersionKind::gvk(group, version, &owner.kind);
        let found = tokio::time::timeout(CALL_TIMEOUT, discovery::pinned_kind(&self.client, &kind))
            .await
            .map_err(|_| CallError::Timeout)?;
        let (resource, capabilities) = match found {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => return Ok(None),
            Err(error) => return optional::<Value>(Err(error.into())),
        };
        let namespace = (capabilities.scope == Scope::Namespaced).then_some(namespace);
        self.get(&resource, identity, namespace, &owner.name).await
    }

    async fn whole(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
        identity: Identity<'_>,
    ) -> Result<Value, CallError> {
        self.call::<Whole>(request, identity, false).await.map(|object| object.0)
    }

    async fn write(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
        identity: Identity<'_>,
    ) -> Result<ObjectMeta, CallError> {
        self.call::<Watched<true>>(request, identity, true).await.map(|object| object.metadata)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
        identity: Identity<'_>,
        metadata_only: bool,
    ) -> Result<T, CallError> {
        let malformed = |_| CallError::Transport("the request cannot be built".to_owned());
        let mut request =
            request.map_err(|_| CallError::Transport("the request cannot be built".to_owned()))?;
        impersonate::apply(&mut request, identity).map_err(malformed)?;
        if metadata_only {
            request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(METADATA_ONLY));
        }
        let asked = Instant::now();
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.client.request_text(request)).await;
        pace::answered(asked.elapsed());
        match answer {
            Ok(Ok(text)) => serde_json::from_str(&text)
                .map_err(|_| CallError::Transport("its answer is not understood".into())),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(CallError::Timeout),
        }
    }
}

fn executions(namespace: &str) -> Builder {
    Builder::new(Received::url_path(&(), Some(namespace)))
}

fn of_kind(kind: &ApiResource, namespace: Option<&str>) -> Builder {
    Builder::new(DynamicObject::url_path(kind, namespace))
}

fn by_us() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

fn to_json(body: &impl Serialize) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(body).map_err(|_| CallError::Transport("the request cannot be written as JSON".into()))
}

/// Turns "not found" into nothing.
fn optional<T>(result: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
