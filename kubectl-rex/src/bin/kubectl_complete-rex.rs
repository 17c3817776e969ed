//! `kubectl_complete-rex`: kubectl runs a program of this name, with the words after `kubectl rex`, when Tab is
//! pressed. It hands them to `kubectl-rex`, which is installed beside it.

use std::{
    env::{args_os, consts::EXE_SUFFIX, current_exe},
    io,
    process::{Command, ExitCode},
};

fn main() -> io::Result<ExitCode> {
    let plugin = current_exe()?.with_file_name(format!("kubectl-rex{EXE_SUFFIX}"));
    let status = Command::new(plugin).args(["__complete", "--"]).args(args_os().skip(1)).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
