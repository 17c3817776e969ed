//! One row of the table of bad inputs: what is given, and what must come of it. Plain data.

use anyhow::Result;
use futures::future::BoxFuture;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::common::{Env, execution};

/// One row of the reference's table.
pub(crate) struct Row {
    pub(crate) number: u8,
    pub(crate) what: &'static str,
    /// Where the reference asks for something else than the contract, and why the contract wins.
    pub(crate) differs: Option<&'static str>,
    pub(crate) proof: Proof,
}

/// How a row is tested.
pub(crate) enum Proof {
    /// Objects, and what must come of each.
    Cases(Vec<Case>),
    /// Steps, in a namespace of their own.
    Story(Story),
    /// Both.
    Both(Vec<Case>, Story),
    /// Not at all, because of this.
    NotApplicable(&'static str),
}

/// What somebody does.
pub(crate) type Story = for<'a> fn(&'a Env) -> BoxFuture<'a, Result<()>>;

/// One object and what must come of it.
pub(crate) struct Case {
    pub(crate) input: Input,
    pub(crate) expected: Expected,
    /// What must come of it once it is stored past the schema, where that is tried as well.
    pub(crate) stored: Option<Expected>,
}

/// One object, as the text that is sent.
pub(crate) struct Input {
    pub(crate) what: String,
    /// With [`NAME`] where the name belongs.
    body: String,
    /// Instead of one that is given.
    pub(crate) name: Option<String>,
    pub(crate) lenient: bool,
}

/// What must come of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// The API server takes it not at all, with these words.
    Refused(&'static str),
    /// It fails for good, for one of these reasons and with these words, and nothing was ever made.
    Failed(&'static [Reason], &'static str),
    /// It waits and says so, with these words, and nothing was ever made.
    Waits(Reason, &'static str),
    /// No status can be written for it; an event tells of it instead, and nothing was ever made.
    OnlyEvent(Reason),
    /// What it makes is released.
    Starts,
    /// So it is, and this holds of the execution and of what it made.
    StartsSo(fn(&Value, &Value) -> Result<()>),
    /// It is started and comes to this end.
    Ends(Phase, Reason),
    /// The namespace's own policy lets no pod of it in, and it says so.
    NoPod(&'static str),
}

const NAME: &str = "NAME-OF-THE-CASE";

/// A row with objects.
pub(crate) fn row(number: u8, what: &'static str, cases: impl IntoIterator<Item = Case>) -> Row {
    Row { number, what, differs: None, proof: Proof::Cases(cases.into_iter().collect()) }
}

/// A row with steps.
pub(crate) fn story(number: u8, what: &'static str, steps: Story) -> Row {
    Row { number, what, differs: None, proof: Proof::Story(steps) }
}

/// A row that concerns nothing that exists.
pub(crate) fn not_applicable(number: u8, what: &'static str, why: &'static str) -> Row {
    Row { number, what, differs: None, proof: Proof::NotApplicable(why) }
}

impl Row {
    /// The contract wins over the reference, because of this.
    pub(crate) fn differs(self, why: &'static str) -> Self {
        Self { differs: Some(why), ..self }
    }

    /// Steps in addition to the objects.
    pub(crate) fn and(self, steps: Story) -> Self {
        match self.proof {
            Proof::Cases(cases) => Self { proof: Proof::Both(cases, steps), ..self },
            Proof::Story(_) | Proof::Both(..) | Proof::NotApplicable(_) => self,
        }
    }

    pub(crate) fn cases(&self) -> &[Case] {
        match &self.proof {
            Proof::Cases(cases) | Proof::Both(cases, _) => cases,
            Proof::Story(_) | Proof::NotApplicable(_) => &[],
        }
    }

    pub(crate) fn story(&self) -> Option<Story> {
        match &self.proof {
            Proof::Story(story) | Proof::Both(_, story) => Some(*story),
            Proof::Cases(_) | Proof::NotApplicable(_) => None,
        }
    }
}

impl Input {
    /// The object's text under that name.
    pub(crate) fn body(&self, name: &str) -> String {
        self.body.replace(NAME, self.name.as_deref().unwrap_or(name))
    }

    /// Under that name.
    pub(crate) fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// From a client that does not mind unknown fields.
    pub(crate) fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// What must come of it.
    pub(crate) fn is(self, expected: Expected) -> Case {
        Case { input: self, expected, stored: None }
    }

    /// The API server must refuse it; stored past the schema, it must come to this.
    pub(crate) fn refused_and_stored(self, words: &'static str, stored: Expected) -> Case {
        Case { input: self, expected: Expected::Refused(words), stored: Some(stored) }
    }
}

/// Every one of these values in that field of the spec, each an object of its own.
pub(crate) fn each<'a>(
    path: &'a str,
    values: impl IntoIterator<Item = Value> + 'a,
) -> impl Iterator<Item = Input> + 'a {
    values.into_iter().map(move |value| field(path, value))
}

/// A job with that value in one field of its spec, by JSON pointer.
pub(crate) fn field(path: &str, value: Value) -> Input {
    let what = format!("{path}={value}");
    with(what, "job", endless(), |spec| set(spec, path, value))
}

/// A job without one field of its spec.
pub(crate) fn without(path: &str) -> Input {
    with(format!("without {path}"), "job", endless(), |spec| {
        let (parent, field) = path.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field);
    })
}

/// A job with these arguments.
pub(crate) fn job(args: Value) -> Input {
    with(args.to_string(), "job", args, |_| ())
}

/// A Workflow with this spec.
pub(crate) fn workflow(spec: Value) -> Input {
    with(spec.to_string(), "argo-workflow", json!({"workflow": spec}), |_| ())
}

/// A run of that runner whose arguments are this text, for what no parser on this side can hold.
pub(crate) fn raw_args(runner: &str, text: &str) -> Input {
    let mut input = with(text.to_owned(), runner, json!("RAW-ARGS"), |_| ());
    input.body = input.body.replace("\"RAW-ARGS\"", text);
    input
}

/// A job whose arguments come from that key of a Secret as well.
pub(crate) fn args_from(secret: &str, key: &str) -> Input {
    let source = json!([{"secretKeyRef": {"name": secret, "key": key}}]);
    with(format!("from {secret}/{key}"), "job", endless(), |spec| spec["argsFrom"] = source)
}

/// A whole object.
pub(crate) fn with(what: String, runner: &str, args: Value, change: impl FnOnce(&mut Value)) -> Input {
    whole(what, execution(NAME, runner, args, change))
}

/// The same, whose metadata may be changed as well.
pub(crate) fn whole(what: String, object: Value) -> Input {
    let what = what.chars().filter(|c| !c.is_control()).take(60).collect();
    Input { what, body: object.to_string(), name: None, lenient: false }
}

/// A job as a whole object, for changes outside of its spec.
pub(crate) fn plain() -> Value {
    execution(NAME, "job", endless(), |_| ())
}

/// A job that never ends by itself here, since no node runs it.
pub(crate) fn endless() -> Value {
    json!({"image": "busybox:1", "command": ["sleep", "1000"]})
}

/// Sets a field that may be new.
pub(crate) fn set(spec: &mut Value, path: &str, value: Value) {
    let (parent, field) = path.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
}
