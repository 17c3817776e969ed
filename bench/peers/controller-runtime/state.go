package main

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// overlay remembers our own last write of each execution until the cache has caught up with it: a pass on an
// older version would only be refused.
type overlay struct {
	mutex   sync.Mutex
	written map[types.UID]*RunnerExecution
}

func (o *overlay) put(execution *RunnerExecution) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.written == nil {
		o.written = map[types.UID]*RunnerExecution{}
	}
	o.written[execution.UID] = execution
}

// latest is the newer of what the cache shows and what we wrote.
func (o *overlay) latest(cached *RunnerExecution) *RunnerExecution {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	written := o.written[cached.UID]
	if written == nil {
		return cached
	}
	if version(written) > version(cached) {
		return written
	}
	delete(o.written, cached.UID)
	return cached
}

func (o *overlay) forget(uid types.UID) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	delete(o.written, uid)
}

// impersonators holds one client for each ServiceAccount.
type impersonators struct {
	config  *rest.Config
	options client.Options
	clients sync.Map
}

func (i *impersonators) of(execution *RunnerExecution) (client.Client, error) {
	user := "system:serviceaccount:" + execution.Namespace + ":" + execution.Spec.Context.Platform.ServiceAccountName
	if found, ok := i.clients.Load(user); ok {
		return found.(client.Client), nil
	}
	config := rest.CopyConfig(i.config)
	config.Impersonate.UserName = user
	made, err := client.New(config, i.options)
	if err != nil {
		return nil, err
	}
	kept, _ := i.clients.LoadOrStore(user, made)
	return kept.(client.Client), nil
}
