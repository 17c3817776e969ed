//! The arguments of the runner `terraform`, as a person writes them and as the pod carries them out. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    names::{is_dns_label, is_key, is_word},
    runners::{
        Problem, Rejection,
        exec::{
            Source,
            read::{problem, read},
        },
    },
};

const MAX_FILES: usize = 64;

/// What to do with which module.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Args {
    /// What to do; apply unless given.
    #[serde(default)]
    pub command: Command,
    /// The module.
    pub module: Module,
    /// The module's input variables.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// Environment variables, for example a provider's credentials.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Let the module run programs within the pod: `local-exec` and the `external` provider.
    #[serde(default)]
    pub allow_local_exec: bool,
    /// What comes back.
    #[serde(default)]
    pub output: Wanted,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Make it so.
    #[default]
    Apply,
    /// Remove what was made.
    Destroy,
    /// Tell what apply would do.
    Plan,
}

/// A module: exactly one of its sources is given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Module {
    /// Its name, and that of its state: whoever gives the same name in the same namespace works on the same things.
    pub name: String,
    /// The files themselves, by name.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// An archive (tar, gzip) in a ConfigMap or a Secret.
    #[serde(default)]
    pub from: Option<Source>,
    /// An address as in a module block's `source`, for example `git::https://…`.
    #[serde(default)]
    pub source: Option<String>,
}

/// What comes back.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// A Go template over the module's outputs, by name; its text must be YAML. Comes back as `additional`.
    #[serde(default)]
    pub go_template: Option<Value>,
    /// The state and the variables come back as well, as `tfstate` in the original's form. Since a state holds whatever
    /// the module knows, all outputs go into a Secret then.
    #[serde(default)]
    pub tfstate: bool,
}

impl Args {
    /// Reads and checks arguments.
    ///
    /// # Errors
    /// Everything that is wrong, by field and without values.
    pub fn read(args: &Value) -> Result<Self, Rejection> {
        read(args, Self::check)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let mut add = |field: &str, what: &str| problems.push(problem(field, what));
        self.module.check(&mut add);
        let named = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        if !self.variables.keys().all(|name| named(name)) {
            add("variables", "each name must be of letters, digits, _ and -, and begin with a letter");
        }
        // What would lead the program elsewhere than its pod does.
        let ours = |name: &str| name.starts_with("TF_") || matches!(name, "PATH" | "HOME" | "USER");
        if !self.env.keys().all(|name| named(name) && !ours(name)) {
            add(
                "env",
                "each name must be of letters, digits and _, and none may be PATH, HOME, USER or begin with TF_",
            );
        }
        let apply = self.command == Command::Apply;
        for (field, set) in [
            ("output.goTemplate", self.output.go_template.is_some()),
            ("output.tfstate", self.output.tfstate),
        ] {
            if set && !apply {
                add(field, "goes with apply");
            }
        }
    }
}

impl Module {
    fn check(&self, add: &mut impl FnMut(&str, &str)) {
        if !is_dns_label(&self.name, 63) {
            add(
                "module.name",
                "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
            );
        }
        let given = [!self.files.is_empty(), self.from.is_some(), self.source.is_some()]
            .iter()
            .filter(|it| **it)
            .count();
        if given != 1 {
            add("module", "needs exactly one of files, from and source");
        }
        let file = |name: &str| !name.starts_with('.') && is_key(name, 253);
        if self.files.len() > MAX_FILES || !self.files.keys().all(|name| file(name)) {
            add("module.files", "must be at most 64 files, each named by letters, digits, _, - and .");
        }
        if self.from.as_ref().is_some_and(|source| !source.is_plain()) {
            add("module.from", "must name a ConfigMap or Secret of the same namespace, and a key of it");
        }
        if !self.source.as_deref().is_none_or(|address| is_word(address, 1024)) {
            add(
                "module.source",
                "must be an address, for example git::https://example.org/modules.git//db?ref=v1",
            );
        }
    }
}
