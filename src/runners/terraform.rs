//! The runner `terraform`: plans, applies and destroys a module, by the OpenTofu program.
//!
//! Input: [`args::Args`]. The program works in a pod of the run's ServiceAccount ([`crate::exec`]); its state is in a
//! Secret of the run's namespace, so that a later run finds it. Here its arguments are checked. Pure, no I/O.

use serde_json::Value;

use self::args::Args;
use super::{
    Rejection, Runner,
    exec::{Exec, Needs, Pods, Tool},
};

pub mod args;

/// Where a pod finds a module that comes from a ConfigMap or a Secret.
pub const MODULE_FOLDER: &str = "/var/run/runner/module";
/// The archive in there.
pub const ARCHIVE: &str = "module.tgz";

/// The runner, with pods that are made like that.
pub(super) fn runner(pods: &Pods) -> impl Runner + use<> {
    Exec::new(Terraform, pods)
}

struct Terraform;

impl Tool for Terraform {
    const NAME: &'static str = "terraform";
    // A plan is made by the program alone.
    const REHEARSES: bool = true;

    fn check(&self, args: &Value) -> Result<Needs, Rejection> {
        let args = Args::read(args)?;
        let archive = args.module.from.iter().map(|source| (MODULE_FOLDER, source.volume(ARCHIVE)));
        Ok(Needs { mounts: archive.collect() })
    }
}

#[cfg(test)]
mod tests;
