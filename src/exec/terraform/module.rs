//! The module's files, and what is added to them. I/O: writes below `/tmp`; unpacks by `tar`.

use std::{fs, path::Path, process::Command};

use super::state::Place;
use crate::{
    exec::Failure,
    reason::Reason,
    runners::terraform::{ARCHIVE, MODULE_FOLDER, args::Args},
};

/// Where the module lies.
pub(super) const FOLDER: &str = "/tmp/module";
/// By its name it overrides what the module itself says of its backend.
const BACKEND: &str = "runner_backend_override.tf.json";

/// Lays out the module, unless it comes from an address.
pub(super) fn lay_out(args: &Args) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Reason::InternalError, format!("the module cannot be laid out ({error})"))
    };
    fs::create_dir_all(FOLDER).map_err(failed)?;
    for (name, text) in &args.module.files {
        fs::write(Path::new(FOLDER).join(name), text).map_err(failed)?;
    }
    if args.module.from.is_some() {
        let archive = Path::new(MODULE_FOLDER).join(ARCHIVE);
        let unpacked =
            Command::new("tar").arg("-xzf").arg(archive).args(["-C", FOLDER]).output().map_err(failed)?;
        if !unpacked.status.success() {
            let what = "spec.args.module.from: is no archive that tar can unpack; make it by tar -czf, with the module's files at its top";
            return Err(Failure::new(Reason::InvalidArgs, what));
        }
    }
    Ok(())
}

/// Has the state kept in that place, whatever the module says.
pub(super) fn set_backend(place: &Place) -> Result<(), Failure> {
    fs::write(Path::new(FOLDER).join(BACKEND), place.backend().to_string())
        .map_err(|error| Failure::new(Reason::InternalError, format!("the backend cannot be set ({error})")))
}

/// Refuses a module that would run programs of its own within the pod.
pub(super) fn refuse_local_exec() -> Result<(), Failure> {
    match find_local_exec(Path::new(FOLDER)) {
        None => Ok(()),
        Some(file) => {
            let what = format!(
                "spec.args.module: {file} runs programs within the pod (local-exec, or the external provider); set \
                 spec.args.allowLocalExec to true if it may"
            );
            Err(Failure::new(Reason::InvalidArgs, what))
        }
    }
}

/// The first file that does, by name; modules that were fetched lie below the folder as well.
fn find_local_exec(folder: &Path) -> Option<String> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_local_exec(&path) {
                return Some(found);
            }
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_source = [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().any(|end| name.ends_with(end));
        let text = if is_source { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        if ["\"local-exec\"", "\"external\""].iter().any(|word| text.contains(word)) {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find_local_exec;

    #[test]
    fn programs_of_the_module_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join(".terraform/modules/a");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(folder.path().join("README.md"), "\"local-exec\"").unwrap();
        std::fs::write(folder.path().join("main.tf"), "resource \"terraform_data\" \"a\" {}").unwrap();
        assert_eq!(find_local_exec(folder.path()), None);
        std::fs::write(below.join("b.tf"), "provisioner \"local-exec\" {}").unwrap();
        assert_eq!(find_local_exec(folder.path()).as_deref(), Some("b.tf"));
    }
}
