//! The order of a dag's tasks: `depends`, `dependencies` and `target`.
//!
//! In: the tasks as they are written. Out: problems. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    document::{Echo, Findings, Path, get, instead, items, text},
    variables::is_name,
};

/// What can be asked of a task in `depends`.
const RESULTS: [&str; 8] =
    ["Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed"];
/// Those that only tasks with items have.
const RESULTS_OF_ITEMS: [&str; 2] = ["AnySucceeded", "AllFailed"];

/// How many steps the search for indirect dependencies may take in one dag: enough for 1,400 tasks in a row of which
/// each takes a value from the first. A dag as large as an object can be would keep the controller for a minute.
const MOST_STEPS: usize = 1_000_000;

/// The tasks by name, each with the names it waits for.
struct Graph<'a> {
    tasks: BTreeMap<&'a str, &'a Value>,
    waits_for: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// A task, and perhaps its result, in a `depends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dependency<'a> {
    task: &'a str,
    result: Option<&'a str>,
}

/// Everything that is wrong with the order of tasks.
pub(super) fn check(dag: &Value, tasks: &[(&Value, Path)], at: &Path, findings: &mut Findings) {
    let mut graph = Graph { tasks: BTreeMap::new(), waits_for: BTreeMap::new() };
    for (task, _) in tasks {
        if let Some(name) = text(task, "name") {
            graph.tasks.entry(name).or_insert(task);
            graph.waits_for.entry(name).or_insert_with(|| dependencies(task).map(|on| on.task).collect());
        }
    }
    check_style(tasks, findings);
    for (task, at) in tasks {
        check_dependencies(task, &graph, at, findings);
    }
    check_target(dag, &graph, at, findings);
    if let Some(circle) = graph.circle() {
        findings.add(&at.field("tasks"), || {
            let names: Vec<String> = circle.iter().map(|name| format!("`{}`", Echo(name))).collect();
            format!("these tasks wait for each other: {}", names.join(" → "))
        });
        return;
    }
    let mut steps = MOST_STEPS;
    for (task, at) in tasks {
        check_arguments(task, &graph, &mut steps, at, findings);
    }
}

/// `depends` and the older `dependencies` do not mix.
fn check_style(tasks: &[(&Value, Path)], findings: &mut Findings) {
    let newer = tasks.iter().any(|(task, _)| text(task, "depends").is_some());
    for (task, at) in tasks {
        let older = !items(task, "dependencies").is_empty();
        if newer && older {
            findings.add(&at.field("dependencies"), || {
                "another task uses `depends`, which does not go together with `dependencies`: write `depends` here too"
                    .to_owned()
            });
        }
        if newer && get(task, "continueOn").is_some() {
            findings.add(&at.field("continueOn"), || {
                "this does not go together with `depends`: let the next task depend on `….Failed` or `….Errored`"
                    .to_owned()
            });
        }
        if (newer || older)
            && text(task, "name").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()))
        {
            findings.add(&at.field("name"), || {
                "a task that depends on others, or others on it, must not begin with a digit".to_owned()
            });
        }
    }
}

fn check_dependencies(task: &Value, graph: &Graph<'_>, at: &Path, findings: &mut Findings) {
    let field = if text(task, "depends").is_some() { "depends" } else { "dependencies" };
    for Dependency { task: name, result } in dependencies(task) {
        let at = at.field(field);
        let Some(other) = graph.tasks.get(name) else {
            findings.add(&at, || {
                let advice = if RESULTS.iter().any(|result| result.eq_ignore_ascii_case(name)) {
                    "results begin with a capital letter, such as `.Succeeded`".to_owned()
                } else {
                    instead(name, graph.tasks.keys().copied())
                };
                format!("there is no task `{}`; {advice}", Echo(name))
            });
            continue;
        };
        let Some(result) = result else { continue };
        if !RESULTS.contains(&result) {
            findings.add(&at, || {
                format!("a task has no result `{}`; {}", Echo(result), instead(result, RESULTS.into_iter()))
            });
        } else if RESULTS_OF_ITEMS.contains(&result)
            && ["withItems", "withParam", "withSequence"].iter().all(|key| get(other, key).is_none())
        {
            findings.add(&at, || {
                format!(
                    "`{}` has no items, so it has no result `{result}`: write `.Succeeded` or `.Failed`",
                    Echo(name)
                )
            });
        }
    }
}

fn check_target(dag: &Value, graph: &Graph<'_>, at: &Path, findings: &mut Findings) {
    let target = text(dag, "target").unwrap_or_default();
    if target.contains("{{") {
        return;
    }
    for name in target.split(' ').filter(|name| !name.is_empty()) {
        if !graph.tasks.contains_key(name) {
            findings.add(&at.field("target"), || {
                format!("there is no task `{}`; {}", Echo(name), instead(name, graph.tasks.keys().copied()))
            });
        }
    }
}

/// A task that takes a value from another must wait for it. Where that takes too many steps to tell, Argo tells it.
fn check_arguments(task: &Value, graph: &Graph<'_>, steps: &mut usize, at: &Path, findings: &mut Findings) {
    let arguments = get(task, "arguments").unwrap_or(&Value::Null);
    let name = text(task, "name").unwrap_or_default();
    let mut before = None;
    for (list, field) in [("parameters", "value"), ("artifacts", "from")] {
        for (i, argument) in items(arguments, list).iter().enumerate() {
            let source = text(argument, field).and_then(|value| value.strip_prefix("{{tasks."));
            let Some(source) = source.and_then(|rest| rest.split('.').next()) else { continue };
            if !is_name(source) || !graph.tasks.contains_key(source) || graph.waits_itself(name, source) {
                continue;
            }
            let Some(before) = before.get_or_insert_with(|| graph.before(name, steps)) else { return };
            if !before.contains(source) {
                findings.add(&at.field("arguments").field(list).index(i).field(field), || {
                    format!(
                        "the value comes from the task `{0}`: add `{0}` to this task's `depends`",
                        Echo(source)
                    )
                });
            }
        }
    }
}

impl<'a> Graph<'a> {
    fn waits_for(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.waits_for.get(name).into_iter().flatten().copied()
    }

    /// Whether a task waits for another, and not only for one that does.
    fn waits_itself(&self, name: &str, other: &str) -> bool {
        self.waits_for.get(name).is_some_and(|names| names.contains(other))
    }

    /// All tasks that are over before that one begins, unless that takes more steps than are left.
    fn before(&self, name: &str, steps: &mut usize) -> Option<BTreeSet<&'a str>> {
        let mut before = BTreeSet::new();
        let mut open: Vec<&str> = self.waits_for(name).collect();
        while let Some(name) = open.pop() {
            *steps = steps.checked_sub(1)?;
            if before.insert(name) {
                open.extend(self.waits_for(name));
            }
        }
        Some(before)
    }

    /// Some tasks that wait for each other, the first one again at the end.
    fn circle(&self) -> Option<Vec<&'a str>> {
        let mut done = BTreeSet::new();
        for start in self.waits_for.keys() {
            let mut path: Vec<&'a str> = Vec::new();
            let mut on_path = BTreeSet::new();
            let mut open = vec![(*start, 0_usize)];
            while let Some((name, depth)) = open.pop() {
                for left in path.split_off(depth.min(path.len())) {
                    on_path.remove(left);
                }
                if on_path.contains(name) {
                    return Some(path.into_iter().skip_while(|it| *it != name).chain([name]).collect());
                }
                if !done.insert(name) {
                    continue;
                }
                path.push(name);
                on_path.insert(name);
                open.extend(self.waits_for(name).map(|next| (next, depth + 1)));
            }
        }
        None
    }
}

/// What a task waits for. Nothing if that is only known later.
fn dependencies(task: &Value) -> impl Iterator<Item = Dependency<'_>> {
    let newer = text(task, "depends").filter(|depends| !depends.contains("{{"));
    let older = if text(task, "depends").is_some() { &[] } else { items(task, "dependencies") };
    newer
        .into_iter()
        .flat_map(parse)
        .chain(older.iter().filter_map(Value::as_str).map(|task| Dependency { task, result: None }))
}

/// Reads a `depends` as Argo does: names, each with a result if a dot and a capitalised word follow. Everything
/// else is left to the expression that Argo makes of it.
fn parse(depends: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut rest = depends;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (_, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(from.len());
        let (task, after) = from.split_at(end);
        let result = after.strip_prefix('.').map(|word| {
            let end = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
            word.split_at(end)
        });
        match result {
            Some((result, after))
                if result.len() > 1 && result.starts_with(|c: char| c.is_ascii_uppercase()) =>
            {
                found.push(Dependency { task, result: Some(result) });
                rest = after;
            }
            _ => {
                found.push(Dependency { task, result: None });
                rest = after;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Dependency, parse};
    use rstest::rstest;

    #[rstest]
    #[case("a", &[("a", None)])]
    #[case("a-1.Succeeded && (b || !c.Failed)", &[("a-1", Some("Succeeded")), ("b", None), ("c", Some("Failed"))])]
    #[case("a.succeeded", &[("a", None), ("succeeded", None)])]
    #[case("", &[])]
    #[case(" . ä && ", &[])]
    fn depends_is_read_as_argo_reads_it(#[case] depends: &str, #[case] expected: &[(&str, Option<&str>)]) {
        let expected: Vec<_> =
            expected.iter().map(|(task, result)| Dependency { task, result: *result }).collect();
        assert_eq!(parse(depends), expected);
    }
}
