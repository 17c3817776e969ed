//! The copy of the project that bugs are planted in, with a target directory of its own: what depends on nothing of
//! the project is taken over from the project's, and is not built anew.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::bugs::Bug;

/// A copy of everything that git knows of or would take.
pub(crate) struct Tree {
    dir: PathBuf,
}

/// A bug that is planted, until this is dropped.
pub(crate) struct Planted {
    file: PathBuf,
    right: String,
    removed: bool,
}

impl Tree {
    /// Makes or refreshes the copy; files that did not change keep their times, so that little is built anew.
    pub(crate) fn copy(project: &Path, target: &Path) -> Result<Self> {
        let tree = Self { dir: target.join("planted") };
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(project)
            .output()
            .context("cannot run git")?;
        ensure!(listed.status.success(), "git: {}", String::from_utf8_lossy(&listed.stderr));
        let mut wanted = BTreeSet::new();
        for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            let from = project.join(name);
            // Deleted, though git still lists it.
            if from.is_file() {
                refresh(&from, &tree.root().join(name)).with_context(|| format!("cannot copy {name}"))?;
                wanted.insert(tree.root().join(name));
            }
        }
        prune(&tree.root(), &wanted)?;
        if !tree.target().exists() {
            take_over(&target.join("debug"), &tree.target().join("debug"))?;
        }
        Ok(tree)
    }

    /// The root of the copied workspace.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// Where it is built.
    pub(crate) fn target(&self) -> PathBuf {
        self.dir.join("target")
    }

    /// What the last command said.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Plants a bug. Fails unless the text that it changes stands in its file exactly once.
    pub(crate) fn plant(&self, bug: &Bug) -> Result<Planted> {
        let file = self.root().join(bug.file);
        let right = fs::read_to_string(&file).with_context(|| format!("{}: {}", bug.name, bug.file))?;
        fs::write(&file, bug.in_place(&right)?)?;
        Ok(Planted { file, right, removed: false })
    }
}

impl Planted {
    /// Makes the file right again.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.removed = true;
        fs::write(&self.file, &self.right).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        if !self.removed {
            // Whatever stays is made right by the next refresh.
            let _ = fs::write(&self.file, &self.right);
        }
    }
}

fn refresh(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().context("no folder")?)?;
    fs::copy(from, to)?;
    Ok(())
}

/// Removes what the project no longer has.
fn prune(dir: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            prune(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Takes over what was built. Whatever is of the project itself is built anew, since its files are newer.
fn take_over(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.join("deps"))?;
    if !from.join("deps").exists() {
        return Ok(());
    }
    for entry in fs::read_dir(from.join("deps"))? {
        let path = entry?.path();
        // No compiler writes into one of these: it replaces them.
        if path.extension().is_some_and(|kind| kind == "rlib" || kind == "rmeta" || kind == "so") {
            fs::hard_link(&path, to.join("deps").join(path.file_name().unwrap_or_default()))?;
        }
    }
    for part in ["build", ".fingerprint"] {
        let status =
            Command::new("cp").arg("-a").arg(from.join(part)).arg(to).status().context("cannot run cp")?;
        if !status.success() {
            bail!("cannot copy {}", from.join(part).display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::{prune, refresh};

    #[test]
    fn a_refreshed_copy_has_what_the_project_has_and_keeps_the_times_of_the_rest() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("a"), "1").unwrap();
        fs::write(to.path().join("old"), "0").unwrap();
        let copied = to.path().join("src/a");
        refresh(&from.path().join("a"), &copied).unwrap();
        prune(to.path(), &BTreeSet::from([copied.clone()])).unwrap();
        assert!(!to.path().join("old").exists());
        let before = fs::metadata(&copied).unwrap().modified().unwrap();
        refresh(&from.path().join("a"), &copied).unwrap();
        assert_eq!(fs::metadata(&copied).unwrap().modified().unwrap(), before);
        fs::write(from.path().join("a"), "2").unwrap();
        refresh(&from.path().join("a"), &copied).unwrap();
        assert_eq!(fs::read_to_string(&copied).unwrap(), "2");
    }
}
