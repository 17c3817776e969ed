// Package v1alpha1 holds the API of runner-controller for an Engine that is written in Go.
//
// types.go is generated from the schema; see the README.
package v1alpha1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is that of RunnerExecution.
var GroupVersion = schema.GroupVersion{Group: "core.projectvoltron.dev", Version: "v1alpha1"}

// AddToScheme makes the types known to a client.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &RunnerExecution{}, &RunnerExecutionList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// RunnerExecution runs one action once and tells what became of it.
type RunnerExecution struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RunnerExecutionSpec   `json:"spec"`
	Status RunnerExecutionStatus `json:"status,omitempty"`
}

// RunnerExecutionList is what a list brings.
type RunnerExecutionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RunnerExecution `json:"items"`
}

// DeepCopyObject copies by way of JSON, in which all of the object travels anyway.
func (in *RunnerExecution) DeepCopyObject() runtime.Object {
	out := &RunnerExecution{}
	copyInto(in, out)
	return out
}

// DeepCopyObject copies by way of JSON.
func (in *RunnerExecutionList) DeepCopyObject() runtime.Object {
	out := &RunnerExecutionList{}
	copyInto(in, out)
	return out
}

func copyInto(in, out any) {
	text, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		// It came from JSON, or was made of the types above.
		panic(err)
	}
}
