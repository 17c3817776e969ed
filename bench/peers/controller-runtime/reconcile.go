package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	uidLabel       = "core.projectvoltron.dev/execution-uid"
	runnerLabel    = "core.projectvoltron.dev/runner"
	releasedLabel  = "core.projectvoltron.dev/released"
	generationNote = "core.projectvoltron.dev/generation"
	completedLabel = "workflows.argoproj.io/completed"
)

// Reconciler does per execution what the controller under test does: create the child suspended, record it,
// release it; once the child has ended, read it and record the outcome.
type Reconciler struct {
	client.Client
	// live reads past the cache.
	live client.Reader
	// children writes as a run's ServiceAccount.
	children *impersonators
	// written holds our own last write until the cache shows it.
	written overlay
	// released holds the uids of children that we released and that have not ended.
	released sync.Map
	// childOf reads what the cache holds of a child.
	childOf func(context.Context, types.NamespacedName) (client.Object, error)
}

// Reconcile is one pass over one execution.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	cached := &RunnerExecution{}
	if err := r.Get(ctx, request.NamespacedName, cached); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	execution := r.written.latest(cached)
	var err error
	switch {
	case execution.Status.CompletionTime != nil:
	case len(execution.Status.Resources) == 0:
		err = r.start(ctx, execution)
	default:
		err = r.follow(ctx, execution)
	}
	return reconcile.Result{}, err
}

func (r *Reconciler) start(ctx context.Context, execution *RunnerExecution) error {
	children, err := r.children.of(execution)
	if err != nil {
		return err
	}
	child, err := suspendedChild(execution)
	if err != nil {
		return err
	}
	if err := children.Create(ctx, child); apierrors.IsAlreadyExists(err) {
		if err := r.live.Get(ctx, client.ObjectKeyFromObject(child), child); err != nil {
			return err
		}
		if child.Labels[uidLabel] != string(execution.UID) {
			return fmt.Errorf("%s is somebody else's", child.Name)
		}
	} else if err != nil {
		return err
	}
	execution = execution.DeepCopyObject().(*RunnerExecution)
	if err := r.record(ctx, execution, started(execution, string(child.UID), time.Now())); err != nil {
		return err
	}
	return r.release(ctx, children, child)
}

func (r *Reconciler) release(ctx context.Context, children client.Client, child client.Object) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"labels":{%q:"true"}},"spec":{"suspend":false}}`, child.GetUID(), releasedLabel)
	if err := children.Patch(ctx, metadataOf(child), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.released.Store(child.GetUID(), true)
	return nil
}

func (r *Reconciler) follow(ctx context.Context, execution *RunnerExecution) error {
	key := types.NamespacedName{Namespace: execution.Namespace, Name: execution.childName()}
	child, err := r.childOf(ctx, key)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	if string(child.GetUID()) != execution.Status.Resources[0].UID {
		return nil
	}
	labels := child.GetLabels()
	if labels[completedLabel] != "true" {
		if _, done := r.released.Load(child.GetUID()); done || labels[releasedLabel] != "" {
			return nil
		}
		children, err := r.children.of(execution)
		if err != nil {
			return err
		}
		return r.release(ctx, children, child)
	}
	workflow := &Workflow{}
	if err := r.live.Get(ctx, key, workflow); err != nil {
		return client.IgnoreNotFound(err)
	}
	execution = execution.DeepCopyObject().(*RunnerExecution)
	if err := r.record(ctx, execution, finished(execution, workflow, time.Now())); err != nil {
		return err
	}
	r.released.Delete(child.GetUID())
	return nil
}

// record writes the status on exactly the version that was decided on, and remembers it.
func (r *Reconciler) record(ctx context.Context, execution *RunnerExecution, next Status) error {
	patch, err := statusPatch(execution, next)
	if err != nil {
		return err
	}
	answer := metadataOf(execution)
	if err := r.Status().Patch(ctx, answer, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return client.IgnoreNotFound(err)
	}
	execution.Status = next
	execution.ResourceVersion = answer.ResourceVersion
	r.written.put(execution)
	return nil
}

func version(object client.Object) uint64 {
	number, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return number
}
