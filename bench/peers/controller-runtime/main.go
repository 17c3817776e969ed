// Command controller-runtime is a peer of the benchmark: a minimal controller in Go that makes exactly the same
// writes as the controller under test, on the same kinds, with the same bodies.
//
// With -tuned it is as good as its author could make it: many workers, a watch of the children's metadata only,
// selected by label, predicates that drop irrelevant changes, caches without managed fields, and no limit on
// the client. Without it, controller-runtime's defaults are kept: one worker, whole objects, every change.
// GOMEMLIMIT and GOGC are taken from the environment.
package main

import (
	"context"
	"flag"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

func main() {
	tuned := flag.Bool("tuned", false, "tune everything that can be tuned")
	workers := flag.Int("workers", 32, "how many executions are worked on at once, if tuned")
	flag.Parse()
	log.SetLogger(zap.New())
	if err := run(*tuned, *workers); err != nil {
		log.Log.Error(err, "the peer failed")
		os.Exit(1)
	}
}

func run(tuned bool, workers int) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.UserAgent = "peer-controller-runtime"
	scheme := runtime.NewScheme()
	register(scheme)
	options := ctrl.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}}
	if tuned {
		config.DisableCompression = true
		options.Cache = tunedCache()
	}
	manager, err := ctrl.NewManager(config, options)
	if err != nil {
		return err
	}
	reconciler := newReconciler(manager, config)
	if tuned {
		err = buildTuned(manager, reconciler, workers)
	} else {
		err = buildDefault(manager, reconciler)
	}
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func newReconciler(manager ctrl.Manager, config *rest.Config) *Reconciler {
	return &Reconciler{
		Client: manager.GetClient(),
		live:   manager.GetAPIReader(),
		children: &impersonators{
			config:  config,
			options: client.Options{Scheme: manager.GetScheme(), Mapper: manager.GetRESTMapper()},
		},
	}
}

// buildDefault keeps what controller-runtime does by itself.
func buildDefault(manager ctrl.Manager, reconciler *Reconciler) error {
	reconciler.childOf = func(ctx context.Context, key types.NamespacedName) (client.Object, error) {
		child := &Workflow{}
		return child, reconciler.Get(ctx, key, child)
	}
	return ctrl.NewControllerManagedBy(manager).
		For(&RunnerExecution{}).
		Owns(&Workflow{}).
		Complete(reconciler)
}

func buildTuned(manager ctrl.Manager, reconciler *Reconciler, workers int) error {
	reconciler.childOf = func(ctx context.Context, key types.NamespacedName) (client.Object, error) {
		child := &metav1.PartialObjectMetadata{}
		child.SetGroupVersionKind(workflowKind)
		return child, reconciler.Get(ctx, key, child)
	}
	forgetting := predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return true },
		UpdateFunc:  func(e event.UpdateEvent) bool { return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() },
		GenericFunc: func(event.GenericEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool {
			reconciler.written.forget(e.Object.GetUID())
			return false
		},
	}
	return ctrl.NewControllerManagedBy(manager).
		For(&RunnerExecution{}, builder.WithPredicates(forgetting)).
		Owns(&Workflow{}, builder.OnlyMetadata, builder.WithPredicates(predicate.NewPredicateFuncs(isCompleted))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconciler)
}

func isCompleted(child client.Object) bool {
	return child.GetLabels()[completedLabel] == "true"
}

// tunedCache keeps just what is used.
func tunedCache() cache.Options {
	ours, err := labels.NewRequirement(uidLabel, selection.Exists, nil)
	if err != nil {
		panic(err) // The label is a constant.
	}
	children := &metav1.PartialObjectMetadata{}
	children.SetGroupVersionKind(workflowKind)
	return cache.Options{
		DefaultTransform: strip,
		ByObject: map[client.Object]cache.ByObject{
			children: {Label: labels.NewSelector().Add(*ours), Transform: strip},
		},
	}
}

// strip drops managed fields, and the arguments of what has been started.
func strip(object any) (any, error) {
	if accessor, ok := object.(metav1.ObjectMetaAccessor); ok {
		accessor.GetObjectMeta().SetManagedFields(nil)
	}
	if execution, ok := object.(*RunnerExecution); ok && len(execution.Status.Resources) > 0 {
		execution.Spec.Args = runtime.RawExtension{}
		if execution.Status.CompletionTime != nil {
			execution.Status.Conditions, execution.Status.Output, execution.Status.Message = nil, nil, ""
		}
	}
	return object, nil
}
