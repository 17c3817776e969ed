#!/usr/bin/env bash
# The main job, for real: a cluster, the controller in it, a run of every runner, and what became of them.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
finish() {
  status=$?
  if [ "${KEEP:-}" = no ]; then
    say "Removing the cluster"
    "$DEVCLUSTER" down --dir "$CLUSTER"
  fi
  exit $status
}
trap finish EXIT

say "A real Kubernetes with Argo, built from source (about 20 min the first time, then about 20 s)"
"$DEVCLUSTER" build --level pods >/dev/null
"$DEVCLUSTER" up --dir "$CLUSTER" --level pods --image "$IMAGE=$BINARY,$("$DEVCLUSTER" path helm),$("$DEVCLUSTER" path tofu)"
export KUBECONFIG="$PWD/$CLUSTER/kubeconfig"
kubectl() { "$DEVCLUSTER" kubectl --dir "$CLUSTER" -- "$@"; }

say "Installing the controller: kubectl apply -k config/devcluster"
kubectl apply --server-side -k config/devcluster
kubectl -n runner-system rollout restart deployment/runner-controller >/dev/null
kubectl -n runner-system rollout status deployment/runner-controller --timeout=120s

kubectl delete --ignore-not-found --wait -k config/samples >/dev/null 2>&1 || true
if [ -n "${RUN:-}" ]; then
  say "Running the samples: $RUN"
  kubectl apply -f config/samples/tenant.yaml
  for name in $RUN; do kubectl apply -f "config/samples/$name.yaml"; done
else
  say "Running the samples: kubectl apply -k config/samples"
  kubectl apply -k config/samples
fi

say "kubectl get rex -n team-a --watch"
kubectl get rex -n team-a --watch & watcher=$!
result=0
kubectl wait -n team-a rex --all --for=condition=Finished --timeout=300s >/dev/null || result=$?
kubectl wait -n team-a rex --all --for=condition=Succeeded --timeout=5s >/dev/null || result=$?
sleep 1
kill $watcher 2>/dev/null || true
wait $watcher 2>/dev/null || true

say "What became of them"
kubectl get rex -A -o wide
printf '\nWhat they gave back:\n'
kubectl get rex -n team-a -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.status.output}{"\n"}{end}'

if [ "${KEEP:-}" != no ]; then
  say "Where to look next"
  cat <<NEXT
  export KUBECONFIG=$KUBECONFIG
  alias kubectl='$PWD/$DEVCLUSTER kubectl --dir $PWD/$CLUSTER --'
  kubectl describe rex -n team-a hello-workflow    # its events, in order
  kubectl explain rex.spec.context                 # the object, explained
  kubectl get workflows,jobs,pods -n team-a        # what the runners made
  kubectl apply -f config/samples/job.yaml         # again: a finished execution does not change
  make cluster-down                                # stop everything
NEXT
fi
exit $result
