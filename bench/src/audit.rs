//! Requests, counted from the API server's audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Deserialize;

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Who made it.
    pub user: String,
    /// As whom.
    pub impersonated: bool,
    /// With which program.
    pub agent: String,
    /// The verb.
    pub verb: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// The HTTP status.
    pub code: u16,
}

impl Kind {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it belongs to an execution, and not to the process: watches, discovery and leases do not.
    pub fn is_of_an_execution(&self) -> bool {
        !matches!(self.verb.as_str(), "watch" | "list")
            && ["runnerexecutions", "workflows", "jobs", "pods", "secrets", "events"]
                .iter()
                .any(|resource| self.resource.split('/').next() == Some(resource))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<Reference>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

/// How long the log is now, to count from here on later.
pub fn end(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len())
}

/// Counts a user's answered requests from that place on, but for those about objects of these names.
pub fn count(path: &Path, from: u64, user: &str, without: &BTreeSet<String>) -> Result<BTreeMap<Kind, u32>> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.seek(SeekFrom::Start(from))?;
    let mut counts = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        // The last line may be half written.
        let Ok(line) = serde_json::from_str::<Line>(&line?) else { continue };
        let is_watch_start = line.stage == "ResponseStarted";
        let is_watch_end = line.verb == "watch" && !is_watch_start;
        if line.user.username != user || is_watch_end {
            continue;
        }
        if line.object_ref.as_ref().is_some_and(|object| without.contains(&object.name)) {
            continue;
        }
        let resource = line.object_ref.map_or_else(
            || "(none)".to_owned(),
            |object| match object.subresource.as_str() {
                "" => object.resource,
                sub => format!("{}/{sub}", object.resource),
            },
        );
        let kind = Kind {
            user: line.user.username,
            impersonated: line.impersonated_user.is_some(),
            agent: line.user_agent.split([' ', '/']).next().unwrap_or_default().to_owned(),
            verb: line.verb,
            resource,
            code: line.response_status.and_then(|status| status.code).unwrap_or(0),
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    Ok(counts)
}
