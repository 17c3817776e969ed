#!/usr/bin/env bash
# The original's architecture, end to end: an Action is rendered, approved, run, told of, and deleted with everything.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
processes=()
finish() {
  status=$?
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  [ "${KEEP:-}" = no ] && "$DEVCLUSTER" down --dir "$CLUSTER"
  exit $status
}
trap finish EXIT
kubectl() { "$DEVCLUSTER" kubectl --dir "$CLUSTER" -- "$@"; }
show() { kubectl get actions,rex,workflows -n team-a; }

say "A real Kubernetes with Argo, built from source (about 15 min the first time, then about 20 s)"
"$DEVCLUSTER" up --dir "$CLUSTER" --level argo
export KUBECONFIG="$PWD/$CLUSTER/kubeconfig"
kubectl apply --server-side -k config/crd
for manifest in engine/config/crd.yaml engine/config/rbac.yaml config/samples/tenant.yaml; do
  kubectl apply --server-side -f "$manifest"
done
# The ServiceAccount of the run must be allowed to see the Action that is named as owner.
kubectl create role owner -n team-a --verb=get --resource=actions --dry-run=client -o yaml | kubectl apply -f -
kubectl create rolebinding owner -n team-a --role=owner --serviceaccount=team-a:deployer --dry-run=client -o yaml |
  kubectl apply -f -
kubectl wait --for=condition=Established crd/actions.core.projectvoltron.dev crd/runnerexecutions.core.projectvoltron.dev

say "The controller and the Engine, as processes of this machine (logs: $CLUSTER/logs)"
target/debug/runner-controller run --listen 127.0.0.1:0 >"$CLUSTER/logs/runner-controller.log" 2>&1 & processes+=($!)
target/debug/engine run >"$CLUSTER/logs/engine.log" 2>&1 & processes+=($!)

say "An Action, as the renderer leaves it: kubectl apply -f engine/config/action.yaml"
kubectl delete action hello -n team-a --ignore-not-found --wait >/dev/null
kubectl apply -n team-a -f engine/config/action.yaml
kubectl wait -n team-a action/hello --for=jsonpath='{.status.phase}'=ReadyToRun --timeout=60s
show

say "Approved: kubectl patch action hello --type=merge -p '{\"spec\":{\"run\":true}}'"
kubectl patch -n team-a action hello --type=merge -p '{"spec":{"run":true}}'
kubectl wait -n team-a action/hello --for=jsonpath='{.status.phase}'=Running --timeout=60s
show
kubectl wait -n team-a action/hello --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s
show
# In step: the Action has no other outcome than the work itself.
for object in rex workflow; do
  kubectl wait -n team-a "$object/hello" --for=jsonpath='{.status.phase}'=Succeeded --timeout=0s >/dev/null
done

say "Deleted, with everything: kubectl delete action hello"
kubectl delete -n team-a action hello
kubectl wait -n team-a rex/hello workflow/hello --for=delete --timeout=80s 2>/dev/null || true
show
[ -z "$(kubectl get actions,rex,workflows -n team-a -o name)" ]
