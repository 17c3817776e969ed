//! Argo's own examples: none may be refused, and each must be once a single reference in it is broken.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{argo_source, problems};

/// Examples that are refused, and why that is right.
const REFUSED: [(&str, &str); 1] = [(
    "pod-spec-from-previous-step.yaml",
    "fills its podSpecPatch with what a step printed, by which that step could change the ServiceAccount",
)];

/// All WorkflowSpecs among the examples, by file.
fn examples(source: &Path) -> Vec<(String, Value)> {
    let mut files = Vec::new();
    collect(&source.join("examples"), &mut files);
    files.sort();
    let mut specs = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let manifest = Value::deserialize(document).unwrap();
            if manifest["kind"] == "Workflow" && manifest["spec"].is_object() {
                specs.push((name.clone(), manifest["spec"].clone()));
            }
        }
    }
    specs
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}

#[test]
fn none_of_argos_examples_is_refused() {
    let Some(source) = argo_source() else { return };
    let specs = examples(&source);
    assert!(specs.len() > 150, "only {} examples found", specs.len());
    let mut refused = 0;
    for (file, spec) in &specs {
        let problems = problems(spec);
        if REFUSED.iter().any(|(name, _)| name == file) {
            assert!(!problems.is_empty(), "{file} is accepted: remove it from the exceptions");
            refused += 1;
        } else {
            assert!(problems.is_empty(), "{file}: {problems:#?}");
        }
    }
    println!("{} examples accepted, {refused} refused for good reason", specs.len() - refused);
}

#[test]
fn a_single_broken_reference_in_an_example_is_found() {
    let Some(source) = argo_source() else { return };
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for (file, spec) in examples(&source) {
        if REFUSED.iter().any(|(name, _)| *name == file) {
            continue;
        }
        for (kind, what, mutant) in mutants(&spec) {
            let (found, all) = counts.entry(kind).or_default();
            *all += 1;
            if problems(&mutant).is_empty() {
                missed.push(format!("{file}: {kind} {what}"));
            } else {
                *found += 1;
            }
        }
    }
    for (kind, (found, all)) in &counts {
        println!("{kind}: {found} of {all} found");
    }
    assert!(counts.values().map(|(_, all)| all).sum::<usize>() > 500, "{counts:?}");
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Every way to break one reference of a spec: what was done, to what, and the outcome.
fn mutants(spec: &Value) -> Vec<(&'static str, String, Value)> {
    let mut mutants = Vec::new();
    let whole = text_beside_inputs(spec);
    for (i, template) in spec["templates"].as_array().into_iter().flatten().enumerate() {
        let name = template["name"].as_str().unwrap_or_default();
        let at = format!("/templates/{i}");
        if is_called(spec, name) {
            mutants.push(renamed("template renamed", spec, &format!("{at}/name")));
        }
        for kind in
            ["container", "script", "steps", "dag", "suspend", "resource", "http", "data", "containerSet"]
        {
            if !template[kind].is_null() {
                mutants.push(dropped("type dropped", spec, &at, kind));
            }
        }
        for (j, input) in template["inputs"]["parameters"].as_array().into_iter().flatten().enumerate() {
            let used = format!("{{{{inputs.parameters.{}}}}}", input["name"].as_str().unwrap_or_default());
            let within = text_beside_inputs(&json!({"templates": [template]}));
            if within.contains(&used) {
                mutants.push(renamed("input renamed", spec, &format!("{at}/inputs/parameters/{j}/name")));
            }
        }
        for call in calls(template, &at) {
            mutants.extend(mutants_of_call(spec, template, &call));
        }
    }
    for (i, argument) in spec["arguments"]["parameters"].as_array().into_iter().flatten().enumerate() {
        if whole.contains(&format!(
            "{{{{workflow.parameters.{}}}}}",
            argument["name"].as_str().unwrap_or_default()
        )) {
            mutants.push(renamed("argument renamed", spec, &format!("/arguments/parameters/{i}/name")));
        }
    }
    mutants
}

/// The text of all templates, without their inputs: what stands there may be replaced by whoever calls them.
fn text_beside_inputs(spec: &Value) -> String {
    let templates = spec["templates"].as_array().into_iter().flatten();
    let fields = templates.flat_map(|template| template.as_object().unwrap());
    fields.filter(|(key, _)| *key != "inputs").map(|(_, value)| value.to_string()).collect()
}

fn mutants_of_call(spec: &Value, template: &Value, at: &str) -> Vec<(&'static str, String, Value)> {
    let mut mutants = Vec::new();
    let call = spec.pointer(at).unwrap();
    if call["template"].is_string() {
        mutants.push(renamed("call of nothing", spec, &format!("{at}/template")));
    }
    let name = call["name"].as_str().unwrap_or_default();
    let used =
        ["steps", "tasks"].iter().any(|word| template.to_string().contains(&format!("{{{{{word}.{name}.")));
    if used {
        mutants.push(renamed("step renamed", spec, &format!("{at}/name")));
    }
    for (j, _) in call["dependencies"].as_array().into_iter().flatten().enumerate() {
        mutants.push(renamed("dependency renamed", spec, &format!("{at}/dependencies/{j}")));
    }
    if call["depends"].as_str().is_some_and(|depends| depends.chars().all(char::is_alphanumeric)) {
        mutants.push(renamed("depends on nothing", spec, &format!("{at}/depends")));
    }
    let target = spec["templates"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|template| template["name"] == call["template"]);
    for (j, argument) in call["arguments"]["parameters"].as_array().into_iter().flatten().enumerate() {
        let inputs = target
            .into_iter()
            .flat_map(|target| target["inputs"]["parameters"].as_array().into_iter().flatten());
        let needed = inputs
            .filter(|input| input["name"] == argument["name"])
            .any(|input| ["value", "default", "valueFrom"].iter().all(|key| input[key].is_null()));
        if needed {
            let mut mutant = spec.clone();
            mutant
                .pointer_mut(&format!("{at}/arguments/parameters"))
                .unwrap()
                .as_array_mut()
                .unwrap()
                .remove(j);
            mutants.push(("argument dropped", format!("{at} {}", argument["name"]), mutant));
        }
    }
    mutants
}

fn calls(template: &Value, at: &str) -> Vec<String> {
    let mut calls = Vec::new();
    for (i, group) in template["steps"].as_array().into_iter().flatten().enumerate() {
        calls.extend((0..group.as_array().map_or(0, Vec::len)).map(|j| format!("{at}/steps/{i}/{j}")));
    }
    calls.extend(
        (0..template["dag"]["tasks"].as_array().map_or(0, Vec::len)).map(|i| format!("{at}/dag/tasks/{i}")),
    );
    calls
}

fn is_called(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            (["template", "entrypoint", "onExit"].contains(&key.as_str()) && value == name)
                || (key != "templateRef" && is_called(value, name))
        }),
        Value::Array(items) => items.iter().any(|item| is_called(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn renamed(kind: &'static str, spec: &Value, at: &str) -> (&'static str, String, Value) {
    let mut mutant = spec.clone();
    let name = mutant.pointer_mut(at).unwrap();
    *name = json!(format!("{}-zzz", name.as_str().unwrap()));
    (kind, at.to_owned(), mutant)
}

fn dropped(kind: &'static str, spec: &Value, at: &str, key: &str) -> (&'static str, String, Value) {
    let mut mutant = spec.clone();
    mutant.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(key);
    (kind, format!("{at}/{key}"), mutant)
}
