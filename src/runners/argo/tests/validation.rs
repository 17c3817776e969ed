//! What is wrong with a WorkflowSpec, and where. That nothing is reported without need is tested on Argo's
//! examples, see [`super::examples`].

use rstest::rstest;
use serde_json::{Value, json};

use super::problems;

/// A spec of these templates, the first of which is the entrypoint, along with a template `leaf` to call.
fn templates(templates: Value) -> Value {
    let mut list = templates.as_array().unwrap().clone();
    let entrypoint = list[0]["name"].clone();
    list.push(json!({"name": "leaf", "container": {"image": "x"}}));
    json!({"entrypoint": entrypoint, "templates": list})
}

fn with(mut spec: Value, key: &str, value: Value) -> Value {
    spec[key] = value;
    spec
}

fn leaf() -> Value {
    json!({"entrypoint": "leaf", "templates": [{"name": "leaf", "container": {"image": "x"}}]})
}

fn dag(tasks: Value) -> Value {
    templates(json!([{"name": "main", "dag": {"tasks": tasks}}]))
}

fn steps(steps: Value) -> Value {
    templates(json!([{"name": "main", "steps": steps}]))
}

/// Exactly this problem is found, given without `spec.args.workflow`.
fn assert_only(spec: &Value, expected: &str) {
    let found = problems(spec);
    assert_eq!(found.len(), 1, "{found:#?}");
    let problem = found[0].strip_prefix("spec.args.workflow").unwrap();
    assert!(problem.starts_with(expected), "{problem}\nexpected {expected}");
}

#[rstest]
#[case::empty(json!({}), ".templates: write at least one template")]
#[case::no_entrypoint(json!({"templates": leaf()["templates"]}), ".entrypoint: write the name of the template to begin with; there are `leaf`")]
#[case::unknown_entrypoint(with(leaf(), "entrypoint", json!("laef")), ".entrypoint: there is no template `laef`; did you mean `leaf`?")]
#[case::unknown_exit(with(leaf(), "onExit", json!("x")), ".onExit: there is no template `x`; there are `leaf`")]
#[case::hook(with(leaf(), "hooks", json!({"exit": {"template": "leav"}})), ".hooks.exit.template: there is no template `leav`; did you mean `leaf`?")]
#[case::hook_of_nothing(with(leaf(), "hooks", json!({"exit": {}})), ".hooks.exit: say what to run, in one of: template, templateRef")]
#[case::hook_without_condition(with(leaf(), "hooks", json!({"up": {"template": "leaf"}})), ".hooks.up.expression: write when the hook runs")]
#[case::shutdown(with(leaf(), "shutdown", json!("Stop")), ".shutdown: remove it")]
#[case::suspend(with(leaf(), "suspend", json!("yes")), ".suspend: this must be true or false")]
#[case::ttl(with(leaf(), "ttlStrategy", json!(3)), ".ttlStrategy: this must be an object")]
#[case::case(with(leaf(), "Entrypoint", json!("leaf")), ".Entrypoint: field names are case-sensitive: write `entrypoint`")]
#[case::own_label(with(leaf(), "workflowMetadata", json!({"labels": {"workflows.argoproj.io/completed": "true"}})),
    ".workflowMetadata.labels.workflows.argoproj.io/completed: remove it")]
#[case::our_label(with(leaf(), "workflowMetadata", json!({"labelsFrom": {"core.projectvoltron.dev/x": {"expression": "1"}}})),
    ".workflowMetadata.labelsFrom.core.projectvoltron.dev/x: remove it")]
#[case::templates_no_list(json!({"entrypoint": "x", "templates": {}}), ".templates: this must be a list")]
#[case::argument_without_value(with(leaf(), "arguments", json!({"parameters": [{"name": "a"}]})), ".arguments.parameters[0]: write a `value`")]
#[case::argument_not_in_enum(with(leaf(), "arguments", json!({"parameters": [{"name": "a", "value": "SECRET", "enum": ["b"]}]})),
    ".arguments.parameters[0].value: the value is not one of those in `enum`")]
#[case::argument_twice(with(leaf(), "arguments", json!({"parameters": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]})),
    ".arguments.parameters[1].name: `a` stands twice")]
#[case::argument_name(with(leaf(), "arguments", json!({"parameters": [{"name": "a b", "value": "1"}]})), ".arguments.parameters[0].name: `a b` is no valid name")]
#[case::stored_without_name(json!({"workflowTemplateRef": {}}), ".workflowTemplateRef.name: write the name of the WorkflowTemplate")]
#[case::stored_and_own(with(leaf(), "workflowTemplateRef", json!({"name": "x"})), ".templates: remove either")]
fn a_spec_is_checked_as_a_whole(#[case] spec: Value, #[case] expected: &str) {
    let found = problems(&spec);
    assert!(found.iter().all(|problem| !problem.contains("SECRET")));
    assert!(
        found.iter().any(|problem| problem.strip_prefix("spec.args.workflow").unwrap().starts_with(expected)),
        "{found:#?}"
    );
    // A spec without templates or with one misspelt is found wanting in two places.
    assert!(found.len() <= 2, "{found:#?}");
}

#[rstest]
#[case::no_type(json!([{"name": "a"}]), ".templates[0]: say what the template does, in one of: container")]
#[case::empty_type(json!([{"name": "a", "suspend": null}]), ".templates[0]: `suspend` is empty, which counts as absent: write `suspend: {}`")]
#[case::two_types(json!([{"name": "a", "suspend": {}, "container": {"image": "x"}}]), ".templates[0]: a template does one thing: keep one of container, suspend")]
#[case::twice(json!([{"name": "a", "suspend": {}}, {"name": "a", "suspend": {}}]), ".templates[1].name: two templates are called `a`")]
#[case::bad_name(json!([{"name": "a_b", "suspend": {}}]), ".templates[0].name: `a_b` is no valid name")]
#[case::image(json!([{"name": "a", "script": {"source": "x"}}]), ".templates[0].script.image: write the image")]
#[case::action(json!([{"name": "a", "resource": {}}]), ".templates[0].resource.action: write one of")]
#[case::manifest(json!([{"name": "a", "resource": {"action": "create"}}]), ".templates[0].resource.manifest: write the manifest")]
#[case::containers(json!([{"name": "a", "containerSet": {"containers": []}}]), ".templates[0].containerSet.containers: write at least one")]
#[case::artifact_path(json!([{"name": "a", "container": {"image": "x"}, "outputs": {"artifacts": [{"name": "o"}]}}]),
    ".templates[0].outputs.artifacts[0].path: write the file's path")]
#[case::output_source(json!([{"name": "a", "container": {"image": "x"}, "outputs": {"parameters": [{"name": "o"}]}}]),
    ".templates[0].outputs.parameters[0]: write where the value comes from")]
#[case::entry_input(json!([{"name": "a", "inputs": {"parameters": [{"name": "p"}]}, "container": {"image": "x"}}]),
    ".arguments.parameters: the template `a` needs the parameter `p`: add it")]
#[case::unknown_input(json!([{"name": "a", "inputs": {"parameters": [{"name": "path", "value": "1"}]}, "container": {"image": "{{inputs.parameters.paht}}"}}]),
    ".templates[0].container.image: {{inputs.parameters.paht}} refers to an input parameter that the template does not declare; did you mean `path`?")]
#[case::unknown_artifact(json!([{"name": "a", "container": {"image": "x", "args": ["{{ inputs.artifacts.a.path }}"]}}]),
    ".templates[0].container.args[0]: {{inputs.artifacts.a.path}} refers to an input artifact")]
#[case::unknown_global(json!([{"name": "a", "container": {"image": "{{workflow.parameters.x}}"}}]),
    ".templates[0].container.image: {{workflow.parameters.x}} is not among spec.args.workflow.arguments.parameters; there are none")]
#[case::unknown_global_output(json!([{"name": "a", "container": {"image": "{{workflow.outputs.parameters.x}}"}}]),
    ".templates[0].container.image: {{workflow.outputs.parameters.x}} is not among outputs with a globalName")]
#[case::step_in_leaf(json!([{"name": "a", "container": {"image": "{{steps.b.outputs.result}}"}}]),
    ".templates[0].container.image: {{steps.b...}} means nothing here: only the template with the steps sees them")]
fn a_template_is_checked(#[case] list: Value, #[case] expected: &str) {
    assert_only(&templates(list), expected);
}

const AT: &str = ".templates[0].steps[0][0]";

#[rstest]
#[case::flat(json!([{"name": "a", "template": "leaf"}]), ".templates[0].steps[0]: this must be a list of steps")]
#[case::nameless(json!([[{"template": "leaf"}]]), ".templates[0].steps[0][0].name: every step needs a name")]
#[case::twice(json!([[{"name": "a", "template": "leaf"}], [{"name": "a", "template": "leaf"}]]), ".templates[0].steps[1][0].name: two steps are called `a`")]
#[case::nothing(json!([[{"name": "a"}]]), ".templates[0].steps[0][0]: say what to run, in one of: template, templateRef, inline")]
#[case::both(json!([[{"name": "a", "template": "leaf", "templateRef": {"name": "x", "template": "y"}}]]), ".templates[0].steps[0][0]: it says more than once what to run")]
#[case::unknown(json!([[{"name": "a", "template": "laef"}]]), ".templates[0].steps[0][0].template: there is no template `laef`; did you mean `leaf`?")]
#[case::reference(json!([[{"name": "a", "templateRef": {"name": "x"}}]]), ".templates[0].steps[0][0].templateRef.template: write the name of the template within it")]
#[case::exit(json!([[{"name": "a", "template": "leaf", "onExit": "x"}]]), ".templates[0].steps[0][0].onExit: there is no template `x`")]
#[case::hook(json!([[{"name": "a", "template": "leaf", "hooks": {"exit": {"template": "x"}}}]]), ".templates[0].steps[0][0].hooks.exit.template: there is no template `x`")]
#[case::unknown_step(json!([[{"name": "a", "template": "leaf", "when": "{{steps.b.status}} == x"}]]), ".templates[0].steps[0][0].when: {{steps.b...}} refers to a step that the template does not have")]
#[case::later(json!([[{"name": "a", "template": "leaf", "when": "{{steps.b.status}} == x"}], [{"name": "b", "template": "leaf"}]]),
    ".templates[0].steps[0][0].when: {{steps.b...}} refers to a step that comes later")]
#[case::tasks(json!([[{"name": "a", "template": "leaf", "when": "{{tasks.b.status}} == x"}]]), ".templates[0].steps[0][0].when: {{tasks.b...}} means nothing in this template: write {{steps.…}}")]
#[case::output(json!([[{"name": "a", "template": "leaf"}], [{"name": "b", "template": "leaf", "when": "{{steps.a.outputs.parameters.x}} == 1"}]]),
    ".templates[0].steps[1][0].when: {{steps.a.outputs.parameters.x}} refers to an output that the template `leaf` does not declare")]
#[case::no_output(json!([[{"name": "a", "template": "leaf"}], [{"name": "b", "template": "leaf", "when": "{{steps.a.outputs.reslut}} == 1"}]]),
    ".templates[0].steps[1][0].when: {{steps.a.outputs.reslut...}} means nothing; outputs have artifacts, exitCode, parameters, result")]
#[case::value(json!([[{"name": "a", "template": "leaf", "arguments": {"parameters": [{"name": "p"}]}}]]), ".templates[0].steps[0][0].arguments.parameters[0]: write a `value`")]
#[case::artifact(json!([[{"name": "a", "template": "leaf", "arguments": {"artifacts": [{"name": "p"}]}}]]), ".templates[0].steps[0][0].arguments.artifacts[0]: say where")]
#[case::inline(json!([[{"name": "a", "inline": {}}]]), ".templates[0].steps[0][0].inline: say what the template does")]
#[case::inline_input(json!([[{"name": "a", "inline": {"inputs": {"parameters": [{"name": "p"}]}, "suspend": {}}}]]), ".templates[0].steps[0][0].arguments.parameters: the template `(inline)` needs the parameter `p`")]
fn steps_are_checked(#[case] list: Value, #[case] expected: &str) {
    assert_only(&steps(list), expected);
}

#[rstest]
#[case::empty(json!([]), ".templates[0].dag.tasks: write at least one task")]
#[case::twice(json!([{"name": "a", "template": "leaf"}, {"name": "a", "template": "leaf"}]), ".templates[0].dag.tasks[1].name: two tasks are called `a`")]
#[case::depends(json!([{"name": "a", "template": "leaf", "depends": "b.Succeeded"}]), ".templates[0].dag.tasks[0].depends: there is no task `b`; there are `a`")]
#[case::dependencies(json!([{"name": "alpha", "template": "leaf"}, {"name": "b", "template": "leaf", "dependencies": ["alhpa"]}]),
    ".templates[0].dag.tasks[1].dependencies: there is no task `alhpa`; did you mean `alpha`?")]
#[case::result(json!([{"name": "a", "template": "leaf"}, {"name": "b", "template": "leaf", "depends": "a.Suceeded"}]),
    ".templates[0].dag.tasks[1].depends: a task has no result `Suceeded`; did you mean `Succeeded`?")]
#[case::small_result(json!([{"name": "a", "template": "leaf"}, {"name": "b", "template": "leaf", "depends": "a.succeeded"}]),
    ".templates[0].dag.tasks[1].depends: there is no task `succeeded`; results begin with a capital letter")]
#[case::items(json!([{"name": "a", "template": "leaf"}, {"name": "b", "template": "leaf", "depends": "a.AllFailed"}]),
    ".templates[0].dag.tasks[1].depends: `a` has no items, so it has no result `AllFailed`")]
#[case::itself(json!([{"name": "a", "template": "leaf", "depends": "a"}]), ".templates[0].dag.tasks: these tasks wait for each other: `a` → `a`")]
#[case::circle(json!([{"name": "a", "template": "leaf", "depends": "c"}, {"name": "b", "template": "leaf", "depends": "a"}, {"name": "c", "template": "leaf", "depends": "b"}]),
    ".templates[0].dag.tasks: these tasks wait for each other: `a` → `c` → `b` → `a`")]
#[case::mixed(json!([{"name": "a", "template": "leaf"}, {"name": "b", "template": "leaf", "depends": "a"}, {"name": "c", "template": "leaf", "dependencies": ["a"]}]),
    ".templates[0].dag.tasks[2].dependencies: another task uses `depends`")]
#[case::continue_on(json!([{"name": "a", "template": "leaf", "continueOn": {"failed": true}}, {"name": "b", "template": "leaf", "depends": "a"}]),
    ".templates[0].dag.tasks[0].continueOn: this does not go together with `depends`")]
#[case::digit(json!([{"name": "1", "template": "leaf"}, {"name": "b", "template": "leaf", "depends": "1"}]), ".templates[0].dag.tasks[0].name: a task that depends on others")]
#[case::not_awaited(json!([{"name": "a", "template": "leaf"}, {"name": "b", "template": "leaf", "arguments": {"parameters": [{"name": "p", "value": "{{tasks.a.outputs.result}}"}]}}]),
    ".templates[0].dag.tasks[1].arguments.parameters[0].value: the value comes from the task `a`: add `a` to this task's `depends`")]
#[case::unknown_task(json!([{"name": "a", "template": "leaf", "when": "{{tasks.b.status}} == x"}]), ".templates[0].dag.tasks[0].when: {{tasks.b...}} refers to a task that the template does not have")]
fn tasks_are_checked(#[case] tasks: Value, #[case] expected: &str) {
    assert_only(&dag(tasks), expected);
}

#[test]
fn a_missing_argument_is_found_and_a_similar_one_is_named() {
    let takes = json!({"name": "takes", "inputs": {"parameters": [{"name": "message"}, {"name": "free", "default": "x"}], "artifacts": [{"name": "file", "path": "/f"}]},
                       "container": {"image": "x"}});
    let call = json!({"name": "a", "template": "takes", "arguments": {"parameters": [{"name": "mesage", "value": "SECRET"}]}});
    let found = problems(&templates(json!([{"name": "main", "steps": [[call]]}, takes])));
    let at = format!("spec.args.workflow{AT}.arguments");
    assert_eq!(
        found,
        [
            format!(
                "{at}.parameters: the template `takes` needs the parameter `message`: add it; you pass one with a similar name: did you mean `mesage`?"
            ),
            format!("{at}.artifacts: the template `takes` needs the artifact `file`: add it"),
        ]
    );
}

#[test]
fn an_exit_hook_without_arguments_gets_those_of_its_step() {
    let takes =
        json!({"name": "takes", "inputs": {"parameters": [{"name": "p"}]}, "container": {"image": "x"}});
    let call = |arguments: Value| {
        let call = json!({"name": "a", "template": "leaf", "arguments": arguments, "hooks": {"exit": {"template": "takes"}}});
        problems(&templates(json!([{"name": "main", "steps": [[call]]}, takes])))
    };
    assert!(call(json!({"parameters": [{"name": "p", "value": "1"}]})).is_empty());
    assert_eq!(call(json!({})).len(), 1);
}

#[rstest]
#[case::name_known_later(steps(json!([[{"name": "a", "template": "{{item}}", "withItems": ["leaf"]}]])))]
#[case::expression(steps(json!([[{"name": "a", "template": "leaf", "when": "{{=steps.nothing.x == 1}}"}]])))]
#[case::own_output_in_hook(steps(json!([[{"name": "a", "template": "leaf", "hooks": {"exit": {"template": "leaf", "arguments": {"parameters": [{"name": "p", "value": "{{steps.a.outputs.result}}"}]}}}}]])))]
#[case::stored(steps(json!([[{"name": "a", "templateRef": {"name": "x", "template": "y"}}], [{"name": "b", "template": "leaf", "when": "{{steps.a.outputs.parameters.any}} {{workflow.outputs.parameters.any}}"}]])))]
#[case::inline_sees_around(steps(json!([[{"name": "a", "template": "leaf"}], [{"name": "b", "inline": {"container": {"image": "{{steps.a.outputs.result}}"}}}]])))]
#[case::depends_known_later(dag(json!([{"name": "a", "template": "leaf", "depends": "{{inputs.parameters.x}}"}])).clone())]
#[case::stored_workflow(json!({"workflowTemplateRef": {"name": "x"}, "entrypoint": "any", "arguments": {"parameters": [{"name": "p"}]}}))]
#[case::stored_workflow_merges(json!({"workflowTemplateRef": {"name": "x"}, "arguments": {"parameters": [{"name": "p"}, {"name": "p"}]}}))]
#[case::input_that_is_replaced(templates(json!([{"name": "main", "steps": [[{"name": "a", "template": "b", "arguments": {"parameters": [{"name": "p", "value": "1"}]}}]]},
    {"name": "b", "inputs": {"parameters": [{"name": "p", "value": "{{workflow.parameters.none}}"}]}, "container": {"image": "x"}}])))]
#[case::names_known_later(steps(json!([[{"name": "{{inputs.parameters.x}}", "template": "leaf"}, {"name": "{{inputs.parameters.x}}", "template": "leaf"}]])))]
#[case::unknown_fields(with(leaf(), "someFieldOfTheFuture", json!({"x": 1})))]
#[case::other_words(templates(json!([{"name": "a", "container": {"image": "{{foo.bar}} {{ x }} {{item}} {{pod.name}} {{workflow.creationTimestamp.Y}} {{"}}])))]
fn what_argo_might_accept_is_left_to_argo(#[case] spec: Value) {
    let found = problems(&spec);
    let found: Vec<&String> =
        found.iter().filter(|problem| !problem.contains("{{inputs.parameters.x}}")).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn problems_are_limited_in_number() {
    let steps: Vec<Value> =
        (0..500).map(|i| json!([{"name": format!("s{i}"), "template": "nothing"}])).collect();
    assert_eq!(problems(&templates(json!([{"name": "main", "steps": steps}]))).len(), 100);
}
