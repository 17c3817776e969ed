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
        // Not through links: they may lead out of the module, or in circles.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if let Some(found) = find_local_exec(&path) {
                return Some(found);
            }
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_source = [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().any(|end| name.ends_with(end));
        let text = if is_source { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        if runs_programs(&text) {
            return Some(name);
        }
    }
    None
}

/// Whether a source names what runs programs; labels may stand there without quotes, and JSON with escapes.
fn runs_programs(text: &str) -> bool {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let json = json.map(|json| json.to_string());
    let text = json.as_deref().unwrap_or(text);
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '{' | '"'));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let labelled =
        words.windows(2).any(|pair| matches!(pair, ["provisioner", "local-exec"] | ["data", "external"]));
    labelled || ["\"local-exec\"", "\"external\""].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{find_local_exec, runs_programs};

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
        std::fs::write(below.join("b.tf"), "").unwrap();
        std::os::unix::fs::symlink(folder.path(), below.join("link")).unwrap();
        assert_eq!(find_local_exec(folder.path()), None, "through a link in a circle");
    }

    #[rstest]
    #[case::quoted("provisioner \"local-exec\" {}", true)]
    #[case::unquoted("provisioner local-exec {}", true)]
    #[case::data("data external x {}", true)]
    #[case::escaped(r#"{"resource":{"a":{"b":{"provisioner":{"local\u002dexec":{}}}}}}"#, true)]
    #[case::told_of(
        "# local-exec is not used, nor external data\nresource \"terraform_data\" \"a\" {}",
        false
    )]
    fn what_runs_programs_is_found_however_it_is_written(#[case] text: &str, #[case] runs: bool) {
        assert_eq!(runs_programs(text), runs);
    }
}
