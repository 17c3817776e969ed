//! The runner `http`: a request, repeated until it is answered as wanted, then others until the work behind it is done.
//!
//! Input: [`args::Args`]. The requests are made by a pod of the run's ServiceAccount ([`crate::exec`]); the
//! controller itself fetches nothing. Here its arguments are checked, so that a mistake is told before anything is
//! created. Pure, no I/O.

use serde_json::{Value, json};

use self::args::{Args, Auth};
use super::{
    Rejection, Runner,
    exec::{Exec, Needs, Pods, Tool},
};

pub mod args;
pub mod condition;

/// Where a pod finds what it shows to prove who it is.
pub const AUTH_FOLDER: &str = "/var/run/runner/auth";

/// The runner, with pods that are made like that.
pub(super) fn runner(pods: &Pods) -> impl Runner + use<> {
    Exec::new(Http, pods)
}

struct Http;

impl Tool for Http {
    const NAME: &'static str = "http";
    // Whether a request would do what it is to do, nobody can tell without making it.
    const REHEARSES: bool = false;

    fn check(&self, args: &Value) -> Result<Needs, Rejection> {
        let args = Args::read(args)?;
        Ok(Needs { mounts: args.auth.iter().map(|auth| (AUTH_FOLDER, volume(auth))).collect() })
    }
}

/// The volume with the keys of an [`Auth`], under the names that [`crate::exec`] looks for.
fn volume(auth: &Auth) -> Value {
    match auth {
        Auth::Bearer { secret_key_ref } => json!({"secret": {
            "secretName": secret_key_ref.name,
            "items": [{"key": secret_key_ref.key, "path": "token"}],
        }}),
        Auth::Basic { secret_ref } => json!({"secret": {
            "secretName": secret_ref.name,
            "items": [{"key": "username", "path": "username"}, {"key": "password", "path": "password"}],
        }}),
    }
}

#[cfg(test)]
mod tests;
