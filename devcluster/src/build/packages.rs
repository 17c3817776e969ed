//! What comes from Debian, not from source: containerd with its shim and `ctr`, runc, static busybox.
//! I/O: looks for the programs; installs the packages of missing ones with apt-get (root).

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::elf::check_static;
use super::run;
use crate::progress::Step;

/// Where Debian keeps what its maintainer scripts ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Debian's programs, by path.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    pub(crate) containerd: PathBuf,
    pub(crate) runc: PathBuf,
    pub(crate) busybox: PathBuf,
}

/// Finds the programs, installing what is missing. Blocks.
pub(crate) fn ensure() -> Result<Packages> {
    if let Ok(packages) = find() {
        return Ok(packages);
    }
    let missing = [("containerd", "containerd"), ("runc", "runc"), ("busybox", "busybox-static")];
    let names: Vec<&str> =
        missing.iter().filter(|(program, _)| locate(program).is_err()).map(|(_, package)| *package).collect();
    let step = Step::announce(format!("installing {}", names.join(", ")), "Debian's packages, about 30 s");
    install(&names).with_context(|| {
        format!("cannot install {}; install them yourself, then try again", names.join(", "))
    })?;
    step.done();
    find()
}

fn find() -> Result<Packages> {
    for program in ["containerd-shim-runc-v2", "ctr"] {
        locate(program)?;
    }
    Ok(Packages { containerd: locate("containerd")?, runc: locate("runc")?, busybox: locate("busybox")? })
}

fn locate(program: &str) -> Result<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let path = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    let path = path.with_context(|| format!("{program} is not installed"))?;
    if program == "busybox" {
        check_static(&path)?;
    }
    Ok(path)
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-y").args(arguments);
        run(&mut command)
    };
    apt(&["update"])?;
    let policy = forbid_services()?;
    let arguments = [&["install", "--no-install-recommends"], packages].concat();
    let outcome = apt(&arguments);
    if policy == Policy::Ours {
        fs::remove_file(POLICY).with_context(|| format!("cannot remove {POLICY}"))?;
    }
    outcome.map(drop)
}

#[derive(PartialEq, Eq)]
enum Policy {
    Ours,
    Theirs,
}

/// Debian starts a service as soon as it is installed; this machine's containerd is none of our business.
fn forbid_services() -> Result<Policy> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
    match file {
        Ok(_) => {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
            Ok(Policy::Ours)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Policy::Theirs),
        Err(error) => bail!("cannot make {POLICY}: {error}"),
    }
}
