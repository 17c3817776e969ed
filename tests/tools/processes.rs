//! The processes of a run's pods, which are processes of this machine: the node.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// One process.
pub struct Process {
    id: i32,
    /// Its command line, the words apart.
    pub words: Vec<String>,
}

/// Those of this project's pods that work for an execution, and what they have started.
pub fn of(execution_uid: &str) -> Vec<Process> {
    let own = format!("RUNNER_EXECUTION_UID={execution_uid}");
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        // One that ends meanwhile is none.
        let has_it = split(&entry.path().join("environ")).contains(&own);
        has_it.then(|| Process { id, words: split(&entry.path().join("cmdline")) })
    })
    .collect()
}

/// kill -9 of all of them: nothing in the pod can tidy up.
pub fn kill(execution_uid: &str) {
    for process in of(execution_uid) {
        if let Some(id) = Pid::from_raw(process.id) {
            // It may have gone with another.
            let _ = kill_process(id, Signal::KILL);
        }
    }
}

fn split(file: &Path) -> Vec<String> {
    let text = fs::read(file).unwrap_or_default();
    text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
