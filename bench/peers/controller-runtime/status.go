package main

import (
	"encoding/json"
	"reflect"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// suspendedChild is the whole child of an execution.
func suspendedChild(execution *RunnerExecution) (*Workflow, error) {
	spec, err := execution.workflowSpec()
	if err != nil {
		return nil, err
	}
	isController, blocks := true, false
	return &Workflow{
		ObjectMeta: metav1.ObjectMeta{
			Name:        execution.childName(),
			Namespace:   execution.Namespace,
			Labels:      map[string]string{uidLabel: string(execution.UID), runnerLabel: execution.Spec.Runner},
			Annotations: map[string]string{generationNote: strconv.FormatInt(execution.Generation, 10)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion:         executionVersion.String(),
				Kind:               "RunnerExecution",
				Name:               execution.Name,
				UID:                execution.UID,
				Controller:         &isController,
				BlockOwnerDeletion: &blocks,
			}},
		},
		Spec: runtime.RawExtension{Raw: spec},
	}, nil
}

// started is the status once the child is recorded.
func started(execution *RunnerExecution, uid string, now time.Time) Status {
	next := execution.Status
	start := metav1.NewTime(now.Truncate(time.Second))
	next.StartTime = &start
	next.Resources = []ResourceRef{{
		APIVersion: workflowVersion.String(),
		Kind:       workflowKind.Kind,
		Namespace:  execution.Namespace,
		Name:       execution.childName(),
		UID:        uid,
	}}
	set(&next, execution.Generation, "Running", "Started Workflow "+execution.childName()+".", start)
	return next
}

// finished is the status with the outcome.
func finished(execution *RunnerExecution, workflow *Workflow, now time.Time) Status {
	next := execution.Status
	end := metav1.NewTime(now.Truncate(time.Second))
	next.CompletionTime = &end
	next.Progress = workflow.Status.Progress
	phase, message := "Succeeded", "The work succeeded."
	if workflow.Status.Phase != "Succeeded" {
		phase, message = "Failed", workflow.Status.Message
	}
	if parameters := workflow.Status.Outputs.Parameters; len(parameters) > 0 {
		next.Output = make(map[string]string, len(parameters))
		for _, parameter := range parameters {
			next.Output[parameter.Name] = parameter.Value
		}
	}
	set(&next, execution.Generation, phase, message, end)
	return next
}

// set makes phase, message and all conditions agree.
func set(status *Status, generation int64, phase, message string, now metav1.Time) {
	succeeded, ended := "Unknown", phase != "Running"
	if ended {
		succeeded = truth(phase == "Succeeded")
	}
	wanted := []metav1.Condition{
		{Type: "Accepted", Status: "True", Reason: "Accepted"},
		{Type: "Succeeded", Status: metav1.ConditionStatus(succeeded), Reason: phase, Message: message},
		{Type: "Finished", Status: metav1.ConditionStatus(truth(ended)), Reason: phase, Message: message},
		{Type: "Reconciling", Status: metav1.ConditionStatus(truth(!ended)), Reason: phase, Message: message},
		{Type: "Stalled", Status: metav1.ConditionStatus(truth(phase == "Failed")), Reason: phase, Message: message},
	}
	for i := range wanted {
		wanted[i].ObservedGeneration = generation
		wanted[i].LastTransitionTime = now
		for _, before := range status.Conditions {
			if before.Type == wanted[i].Type && before.Status == wanted[i].Status {
				wanted[i].LastTransitionTime = before.LastTransitionTime
			}
		}
	}
	status.Conditions = wanted
	status.ObservedGeneration = generation
	status.Phase, status.Reason, status.Message = phase, phase, message
}

func truth(holds bool) string {
	if holds {
		return "True"
	}
	return "False"
}

// statusPatch is the merge patch that changes just what differs, on exactly the version that was decided on.
func statusPatch(execution *RunnerExecution, next Status) ([]byte, error) {
	before, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&execution.Status)
	if err != nil {
		return nil, err
	}
	after, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&next)
	if err != nil {
		return nil, err
	}
	for key, value := range after {
		if reflect.DeepEqual(before[key], value) {
			delete(after, key)
		}
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": execution.UID, "resourceVersion": execution.ResourceVersion},
		"status":   after,
	})
}

// metadataOf names an object, so that the API server answers with its metadata only.
func metadataOf(object client.Object) *metav1.PartialObjectMetadata {
	partial := &metav1.PartialObjectMetadata{}
	partial.SetName(object.GetName())
	partial.SetNamespace(object.GetNamespace())
	switch object.(type) {
	case *RunnerExecution:
		partial.SetGroupVersionKind(executionVersion.WithKind("RunnerExecution"))
	default:
		partial.SetGroupVersionKind(workflowKind)
	}
	return partial
}
