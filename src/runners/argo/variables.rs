//! The `{{...}}` in a template, and whether they can mean anything.
//!
//! In: texts of a template, and the names that are in reach of them. Out: problems, only for what Argo is sure
//! to refuse. Pure. Expressions (`{{=...}}`) are left to Argo, and so is everything of an unknown shape.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::Value;

use super::{
    document::{Echo, Findings, Path, instead, items, text},
    signature::Signature,
};

/// Splits a text at its `{{...}}`: the texts around them (one more than tags) and what stands within. `None` if
/// a `{{` is never closed. Pairs them as Argo does: each `{{` with the next `}}`.
pub(super) fn split_tags(whole: &str) -> Option<(Vec<&str>, Vec<&str>)> {
    let (mut texts, mut tags) = (Vec::new(), Vec::new());
    let mut rest = whole;
    while let Some((before, after)) = rest.split_once("{{") {
        let (tag, after) = after.split_once("}}")?;
        texts.push(before);
        tags.push(tag);
        rest = after;
    }
    texts.push(rest);
    Some((texts, tags))
}

/// What a step or task gives.
const OUTPUTS: [&str; 4] = ["artifacts", "exitCode", "parameters", "result"];

/// Names that are the same everywhere in a Workflow.
#[derive(Debug, Default)]
pub(super) struct Globals<'a> {
    /// `{{workflow.parameters.X}}`.
    pub(super) parameters: BTreeSet<&'a str>,
    /// `{{workflow.outputs.parameters.X}}`; `None` if they cannot all be known from the spec.
    pub(super) output_parameters: Option<BTreeSet<&'a str>>,
    /// `{{workflow.outputs.artifacts.X}}`; `None` if they cannot all be known from the spec.
    pub(super) output_artifacts: Option<BTreeSet<&'a str>>,
}

/// What kind of a template a text stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Steps,
    Dag,
    /// Whatever runs something itself.
    Leaf,
}

impl Kind {
    /// The first word of a reference to another step or task.
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Steps => Some("steps"),
            Self::Dag => Some("tasks"),
            Self::Leaf => None,
        }
    }
}

/// A step or task that others of its template can refer to.
#[derive(Clone, Debug)]
pub(super) struct Sibling<'a> {
    /// Of the template it runs, where that stands in the spec.
    pub(super) target: Option<Rc<Signature<'a>>>,
    /// Its position; in a dag all are 0, the order does not matter there.
    pub(super) rank: usize,
}

/// The names within reach of a text.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a, 'p> {
    pub(super) globals: &'p Globals<'a>,
    pub(super) kind: Kind,
    pub(super) parameters: BTreeSet<&'a str>,
    pub(super) artifacts: BTreeSet<&'a str>,
    pub(super) siblings: BTreeMap<&'a str, Sibling<'a>>,
    /// Siblings of a higher rank than this come later and cannot be referred to.
    pub(super) up_to: usize,
    /// The scope around an inline template: Argo fills in its names there too.
    pub(super) around: Option<&'p Self>,
}

impl<'a, 'p> Scope<'a, 'p> {
    /// The scope of a template, so far without steps or tasks.
    pub(super) fn of(
        template: &'a Value,
        kind: Kind,
        globals: &'p Globals<'a>,
        around: Option<&'p Self>,
    ) -> Self {
        let inputs = template.get("inputs").unwrap_or(&Value::Null);
        Self {
            globals,
            kind,
            parameters: names(inputs, "parameters").collect(),
            artifacts: names(inputs, "artifacts").collect(),
            siblings: BTreeMap::new(),
            up_to: usize::MAX,
            around,
        }
    }

    /// Reports every reference in a text that leads nowhere.
    pub(super) fn check(&self, whole: &str, at: &Path, findings: &mut Findings) {
        let Some((_, tags)) = split_tags(whole) else { return };
        for tag in tags {
            // What to write instead takes long to find among many names.
            if findings.is_full() {
                return;
            }
            let segments: Vec<&str> = tag.trim().split('.').collect();
            if segments.iter().all(|segment| is_name(segment))
                && let Err(what) = self.judge(&segments)
            {
                findings.add(at, || what);
            }
        }
    }

    fn judge(&self, segments: &[&str]) -> Result<(), String> {
        match segments {
            ["inputs", "parameters", name] => {
                self.known("input parameter", segments, name, |scope| &scope.parameters)
            }
            ["inputs", "artifacts", name] | ["inputs", "artifacts", name, "path"] => {
                self.known("input artifact", segments, name, |scope| &scope.artifacts)
            }
            ["workflow", "parameters", name] if *name != "json" => known_globally(
                "spec.args.workflow.arguments.parameters",
                segments,
                name,
                Some(&self.globals.parameters),
            ),
            ["workflow", "outputs", "parameters", name] => known_globally(
                "outputs with a globalName",
                segments,
                name,
                self.globals.output_parameters.as_ref(),
            ),
            ["workflow", "outputs", "artifacts", name] => known_globally(
                "outputs with a globalName",
                segments,
                name,
                self.globals.output_artifacts.as_ref(),
            ),
            // `{{steps.name}}` and `{{tasks.name}}` are variables of their own, and Argo compares only the
            // beginning.
            [word @ ("steps" | "tasks"), name, rest @ ..] if !name.starts_with("name") => {
                self.judge_sibling(word, name, rest)
            }
            _ => Ok(()),
        }
    }

    fn known(
        &self,
        what: &str,
        segments: &[&str],
        name: &str,
        names: for<'s> fn(&'s Self) -> &'s BTreeSet<&'a str>,
    ) -> Result<(), String> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if names(here).contains(name) {
                return Ok(());
            }
            scope = here.around;
        }
        let tag = segments.join(".");
        let advice = instead(name, names(self).iter().copied());
        Err(format!(
            "{{{{{}}}}} refers to an {what} that the template does not declare; {advice}",
            Echo(&tag)
        ))
    }

    fn judge_sibling(&self, word: &str, name: &str, rest: &[&str]) -> Result<(), String> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if here.kind.word() == Some(word)
                && let Some(sibling) = here.siblings.get(name)
            {
                return here.judge_found(word, name, sibling, rest);
            }
            scope = here.around;
        }
        let one = word.trim_end_matches('s');
        match self.kind.word() {
            Some(here) if here == word => Err(format!(
                "{{{{{word}.{}...}}}} refers to a {one} that the template does not have; {}",
                Echo(name),
                instead(name, self.siblings.keys().copied())
            )),
            Some(here) => Err(format!(
                "{{{{{word}.{}...}}}} means nothing in this template: write {{{{{here}.…}}}} here",
                Echo(name)
            )),
            None => Err(format!(
                "{{{{{word}.{}...}}}} means nothing here: only the template with the {word} sees them, pass the \
                 value on as an input parameter",
                Echo(name)
            )),
        }
    }

    fn judge_found(
        &self,
        word: &str,
        name: &str,
        sibling: &Sibling<'_>,
        rest: &[&str],
    ) -> Result<(), String> {
        if sibling.rank > self.up_to {
            return Err(format!(
                "{{{{{word}.{}...}}}} refers to a step that comes later: move it before",
                Echo(name)
            ));
        }
        if let ["outputs", what, ..] = rest
            && !OUTPUTS.contains(what)
        {
            return Err(format!(
                "{{{{{word}.{}.outputs.{}...}}}} means nothing; outputs have {}",
                Echo(name),
                Echo(what),
                OUTPUTS.join(", ")
            ));
        }
        let (Some(target), ["outputs", what, output]) = (&sibling.target, rest) else { return Ok(()) };
        let ports = match *what {
            "parameters" => &target.parameters,
            "artifacts" => &target.artifacts,
            _ => return Ok(()),
        };
        if ports.outputs.contains(output) {
            return Ok(());
        }
        Err(format!(
            "{{{{{word}.{}.outputs.{what}.{}}}}} refers to an output that the template `{}` does not declare; {}",
            Echo(name),
            Echo(output),
            Echo(target.name),
            instead(output, ports.outputs.iter().copied())
        ))
    }
}

fn known_globally(
    whereabouts: &str,
    segments: &[&str],
    name: &str,
    names: Option<&BTreeSet<&str>>,
) -> Result<(), String> {
    let Some(names) = names else { return Ok(()) };
    if names.contains(name) {
        return Ok(());
    }
    let tag = segments.join(".");
    let advice = instead(name, names.iter().copied());
    Err(format!("{{{{{}}}}} is not among {whereabouts}; {advice}", Echo(&tag)))
}

/// The names in a list of parameters or artifacts.
pub(super) fn names<'a>(owner: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    items(owner, key).iter().filter_map(|item| text(item, "name"))
}

/// What Argo allows as the name of a parameter or artifact.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
