//! Where a cluster's files lie, and the lock that lets one process at a time change the cluster.
//! I/O: makes the folder and its subfolders, opens and locks `lock`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::progress;
use crate::servers::Server;

/// A socket's path holds 107 bytes, and the longest below a cluster's folder has 41.
const LONGEST: usize = 64;

/// A cluster's folder, by its absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder where missing.
    pub fn create(dir: &Path) -> Result<Self> {
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(dir).with_context(|| format!("cannot make the cluster's folder {}", dir.display()))?;
        let folder = Self::open(dir)?;
        make(&folder.logs())?;
        Ok(folder)
    }

    /// A folder that exists.
    pub fn open(dir: &Path) -> Result<Self> {
        let path =
            dir.canonicalize().with_context(|| format!("there is no cluster folder {}", dir.display()))?;
        let text = path.to_str().context("a cluster's folder needs a name in UTF-8")?;
        ensure!(
            text.len() <= LONGEST,
            "{text} is too long for a cluster's folder: sockets in it allow {LONGEST} bytes"
        );
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        ensure!(text.chars().all(plain), "{text}: use letters, digits and /._- only in a cluster's folder");
        Ok(Self(path))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file or folder below.
    pub fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// The same, as servers want it in their arguments.
    pub(crate) fn text(&self, path: &str) -> String {
        self.join(path).display().to_string()
    }

    /// A file below, whose folder is made where missing.
    pub(crate) fn make_parent_of(&self, path: &str) -> Result<PathBuf> {
        let file = self.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        Ok(file)
    }

    /// Writes a file below, whose folder is made where missing, and tells its path.
    pub(crate) fn write(&self, path: &str, content: &str) -> Result<String> {
        let file = self.make_parent_of(path)?;
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file.display().to_string())
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.join("kubeconfig")
    }

    /// Where the servers' logs lie.
    pub fn logs(&self) -> PathBuf {
        self.join("logs")
    }

    /// A server's log.
    pub fn log(&self, server: Server) -> PathBuf {
        self.join(&format!("logs/{}.log", server.name()))
    }

    /// The API server's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.join("logs/audit.log")
    }

    /// Makes way for a new cluster's logs, and keeps those of the one before.
    pub(crate) fn set_logs_aside(&self) -> Result<()> {
        let (logs, old) = (self.logs(), self.join("logs.old"));
        if old.exists() {
            fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        fs::rename(&logs, &old).with_context(|| format!("cannot rename {}", logs.display()))?;
        Self::create(&self.0).map(drop)
    }

    /// Whether some process is changing this cluster just now.
    pub(crate) fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.join("lock")) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Waits for the right to change the cluster; dropping the result gives it back, and so does death.
    pub(crate) async fn lock(&self) -> Result<File> {
        lock(&self.join("lock"), &format!("the cluster in {}", self.0.display())).await
    }
}

/// Takes an exclusive lock on a file, saying so if somebody else has it.
pub(crate) async fn lock(path: &Path, what: &str) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !said {
                    progress::say(&format!("waiting: another process is at {what}"));
                    said = true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}
