//! What a process costs, by `/proc`.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Serialize};

/// One reading of one process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Reading {
    /// CPU seconds, user and system, since its start.
    pub cpu: f64,
    /// Resident MiB.
    pub rss: f64,
    /// Resident MiB, shared pages divided among those who share them.
    pub pss: f64,
    /// The most it ever had resident, MiB.
    pub peak: f64,
    /// Open sockets.
    pub sockets: f64,
    /// Voluntary and other context switches of all threads.
    pub switches: f64,
}

impl Reading {
    /// Reads a process; zeros for what cannot be read.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        Self {
            cpu: cpu(pid).unwrap_or(0.0),
            rss: field(&status, "VmRSS:") / 1024.0,
            pss: field(&smaps, "Pss:") / 1024.0,
            peak: field(&status, "VmHWM:") / 1024.0,
            sockets: sockets(pid),
            switches: switches(pid),
        }
    }
}

/// Readings by name of the process.
pub type Readings = BTreeMap<String, Reading>;

/// The name of the whole machine among readings.
pub const MACHINE: &str = "machine";

/// Reads several, and what the whole machine was busy.
pub fn readings(processes: &[(String, u32)]) -> Readings {
    let mut readings: Readings =
        processes.iter().map(|(name, pid)| (name.clone(), Reading::of(*pid))).collect();
    readings.insert(MACHINE.into(), Reading { cpu: busy(), ..Reading::default() });
    readings
}

/// CPU seconds that all processors have been busy since the machine's start.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks = fields.enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).take(6);
    let sum: f64 = ticks.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum();
    sum / per_second()
}

fn per_second() -> f64 {
    f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100))
}

/// CPU seconds of a process since its start: what its living threads used, by the nanosecond, unless the clock
/// ticks of the whole process, with threads that have ended, are more.
pub fn cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    let ticks = f64::from(next()?) + f64::from(next()?);
    Some((ticks / per_second()).max(threads_cpu(pid)))
}

fn threads_cpu(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e9
}

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

fn sockets(pid: u32) -> f64 {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0.0 };
    let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    let count = files.flatten().filter(|file| fs::read_link(file.path()).is_ok_and(is_socket)).count();
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn switches(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|text| field(&text, "voluntary_ctxt_switches:") + field(&text, "nonvoluntary_ctxt_switches:"))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::Reading;

    #[test]
    fn reads_this_process() {
        let reading = Reading::of(std::process::id());
        assert!(
            reading.rss > 1.0 && reading.peak >= reading.rss && reading.pss <= reading.rss + 0.1,
            "{reading:?}"
        );
    }
}
