package main

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The kinds, as slim as a careful Go author would write them: what the controller does not look into stays raw.
var (
	executionVersion = schema.GroupVersion{Group: "core.projectvoltron.dev", Version: "v1alpha1"}
	workflowVersion  = schema.GroupVersion{Group: "argoproj.io", Version: "v1alpha1"}
	workflowKind     = workflowVersion.WithKind("Workflow")
)

// RunnerExecution is the execution.
type RunnerExecution struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

// Spec is what to run.
type Spec struct {
	Runner  string               `json:"runner"`
	Context ExecutionContext     `json:"context"`
	Args    runtime.RawExtension `json:"args,omitempty"`
}

// ExecutionContext is where and as whom to run it.
type ExecutionContext struct {
	Name     string   `json:"name,omitempty"`
	Platform Platform `json:"platform"`
}

// Platform names the ServiceAccount of the run.
type Platform struct {
	ServiceAccountName string `json:"serviceAccountName"`
}

// Status is what became of it.
type Status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Phase              string             `json:"phase,omitempty"`
	Reason             string             `json:"reason,omitempty"`
	Message            string             `json:"message,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	StartTime          *metav1.Time       `json:"startTime,omitempty"`
	CompletionTime     *metav1.Time       `json:"completionTime,omitempty"`
	Resources          []ResourceRef      `json:"resources,omitempty"`
	Progress           string             `json:"progress,omitempty"`
	Output             map[string]string  `json:"output,omitempty"`
}

// ResourceRef is an object that the execution made.
type ResourceRef struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

// RunnerExecutionList is a list of executions.
type RunnerExecutionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RunnerExecution `json:"items"`
}

// Workflow is the child.
type Workflow struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              runtime.RawExtension `json:"spec"`
	Status            WorkflowStatus       `json:"status,omitempty"`
}

// WorkflowStatus is the part of a Workflow's status that becomes the execution's.
type WorkflowStatus struct {
	Phase    string `json:"phase,omitempty"`
	Message  string `json:"message,omitempty"`
	Progress string `json:"progress,omitempty"`
	Outputs  struct {
		Parameters []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"parameters,omitempty"`
	} `json:"outputs,omitempty"`
}

// WorkflowList is a list of Workflows.
type WorkflowList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Workflow `json:"items"`
}

// register makes the kinds known.
func register(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(executionVersion, &RunnerExecution{}, &RunnerExecutionList{})
	scheme.AddKnownTypes(workflowVersion, &Workflow{}, &WorkflowList{})
	metav1.AddToGroupVersion(scheme, executionVersion)
	metav1.AddToGroupVersion(scheme, workflowVersion)
}

func (in *RunnerExecution) deepCopy() RunnerExecution {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Spec.Args.DeepCopyInto(&out.Spec.Args)
	out.Status.Conditions = append([]metav1.Condition(nil), in.Status.Conditions...)
	out.Status.StartTime = in.Status.StartTime.DeepCopy()
	out.Status.CompletionTime = in.Status.CompletionTime.DeepCopy()
	out.Status.Resources = append([]ResourceRef(nil), in.Status.Resources...)
	if in.Status.Output != nil {
		out.Status.Output = make(map[string]string, len(in.Status.Output))
		for key, value := range in.Status.Output {
			out.Status.Output[key] = value
		}
	}
	return out
}

// DeepCopyObject implements runtime.Object.
func (in *RunnerExecution) DeepCopyObject() runtime.Object {
	out := in.deepCopy()
	return &out
}

// DeepCopyObject implements runtime.Object.
func (in *RunnerExecutionList) DeepCopyObject() runtime.Object {
	out := &RunnerExecutionList{TypeMeta: in.TypeMeta, ListMeta: *in.ListMeta.DeepCopy()}
	for i := range in.Items {
		out.Items = append(out.Items, in.Items[i].deepCopy())
	}
	return out
}

func (in *Workflow) deepCopy() Workflow {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Spec.DeepCopyInto(&out.Spec)
	out.Status.Outputs.Parameters = append(out.Status.Outputs.Parameters[:0:0], in.Status.Outputs.Parameters...)
	return out
}

// DeepCopyObject implements runtime.Object.
func (in *Workflow) DeepCopyObject() runtime.Object {
	out := in.deepCopy()
	return &out
}

// DeepCopyObject implements runtime.Object.
func (in *WorkflowList) DeepCopyObject() runtime.Object {
	out := &WorkflowList{TypeMeta: in.TypeMeta, ListMeta: *in.ListMeta.DeepCopy()}
	for i := range in.Items {
		out.Items = append(out.Items, in.Items[i].deepCopy())
	}
	return out
}

// childName is the name of what the execution makes.
func (in *RunnerExecution) childName() string {
	if in.Spec.Context.Name != "" {
		return in.Spec.Context.Name
	}
	return in.Name
}

// workflowSpec renders args.workflow: suspended, and under the ServiceAccount of the run.
func (in *RunnerExecution) workflowSpec() ([]byte, error) {
	var args struct {
		Workflow map[string]json.RawMessage `json:"workflow"`
	}
	if err := json.Unmarshal(in.Spec.Args.Raw, &args); err != nil {
		return nil, err
	}
	account, err := json.Marshal(in.Spec.Context.Platform.ServiceAccountName)
	if err != nil {
		return nil, err
	}
	args.Workflow["suspend"] = json.RawMessage("true")
	args.Workflow["serviceAccountName"] = account
	return json.Marshal(args.Workflow)
}
