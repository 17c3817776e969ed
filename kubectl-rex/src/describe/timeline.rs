//! What happened to an execution, in order: its own times, and the events about it and what it made. Pure.

use std::collections::BTreeSet;

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use kube::ResourceExt;
use runner_controller::progress::plain;

use super::{Known, tree};
use crate::logs::ARGOS_OWN;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// When.
    pub(super) at: Timestamp,
    /// The order within the same second: creation, then by the names of the events, which end with the full time.
    order: String,
    /// To what; empty for the execution itself.
    pub(super) object: String,
    /// In a word, and in a sentence.
    pub(super) what: String,
    /// How often.
    pub(super) times: i32,
}

/// Everything that happened, the first thing first.
pub(super) fn entries(known: &Known) -> Vec<Entry> {
    let own = known.execution.uid().unwrap_or_default();
    let members = tree::members(known);
    let mut uids: BTreeSet<String> = members.iter().filter_map(|object| object.uid()).collect();
    uids.extend(known.execution.status.iter().flat_map(|s| &s.resources).map(|made| made.uid.clone()));
    let pods = made_pods(known, &uids);
    let mut entries: Vec<Entry> = known
        .events
        .iter()
        .filter_map(|event| {
            let uid = event.involved_object.uid.as_deref()?;
            let object = match uid {
                _ if uid == own => String::new(),
                _ if (uids.contains(uid) || is_of(event, &pods)) && matters(event) => named(event),
                _ => return None,
            };
            let name = event.metadata.name.as_deref().unwrap_or_default();
            let order = name.rsplit('.').next().unwrap_or_default().to_owned();
            Some(Entry {
                at: time(event)?,
                order,
                object,
                what: words(event),
                times: event.count.unwrap_or(1),
            })
        })
        .collect();
    if let Some(created) = known.execution.creation_timestamp() {
        entries.push(own_entry(created.0, String::new(), "Created".to_owned()));
    }
    // Events may have expired or been dropped; the status is the truth.
    let status = known.execution.status.clone().unwrap_or_default();
    let told = |word: &str| entries.iter().any(|e| e.object.is_empty() && e.what.starts_with(word));
    if let (Some(end), Some(reason)) = (&status.completion_time, status.reason)
        && !told(reason.as_str())
    {
        let what = format!("{reason}: {}", plain(&status.message.clone().unwrap_or_default()));
        entries.push(own_entry(end.0, "~".to_owned(), what));
    }
    entries.sort();
    entries
}

/// The pods that were made, by name: a pod that is gone again is known only from the event of its making.
fn made_pods<'a>(known: &'a Known, makers: &BTreeSet<String>) -> BTreeSet<&'a str> {
    let is_made = |event: &&Event| {
        event.reason.as_deref() == Some("SuccessfulCreate")
            && event.involved_object.uid.as_ref().is_some_and(|uid| makers.contains(uid))
    };
    let messages = known.events.iter().filter(is_made).filter_map(|event| event.message.as_deref());
    messages.filter_map(|message| message.strip_prefix("Created pod: ")).collect()
}

fn is_of(event: &Event, pods: &BTreeSet<&str>) -> bool {
    event.involved_object.kind.as_deref() == Some("Pod")
        && event.involved_object.name.as_deref().is_some_and(|name| pods.contains(name))
}

fn own_entry(at: Timestamp, order: String, what: String) -> Entry {
    Entry { at, order, object: String::new(), what, times: 1 }
}

/// Of what was made only warnings are told, and the start of what does the work: a pod alone has a dozen events.
fn matters(event: &Event) -> bool {
    let message = event.message.as_deref().unwrap_or_default();
    let starts = event.reason.as_deref() == Some("Started")
        && !ARGOS_OWN.iter().any(|name| message.ends_with(&format!("container {name}")));
    starts || event.type_.as_deref() == Some("Warning")
}

fn named(event: &Event) -> String {
    let object = &event.involved_object;
    let (kind, name) =
        (object.kind.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    plain(&format!("{kind}/{name}"))
}

fn time(event: &Event) -> Option<Timestamp> {
    let first = event.first_timestamp.as_ref().map(|time| time.0);
    first.or_else(|| event.event_time.as_ref().map(|time| time.0))
}

fn words(event: &Event) -> String {
    let reason = event.reason.as_deref().unwrap_or_default();
    plain(&format!("{reason}: {}", event.message.as_deref().unwrap_or_default()))
}
