//! kube-scheduler.

use super::Setup;
use crate::build::Program;
use crate::process::Launch;

pub(super) const PORT: u16 = 10259;

pub(super) fn launch(setup: &Setup) -> Launch {
    let flags = [&setup.serving(PORT)[..], &setup.controlling("kube-scheduler")[..]].concat();
    setup.start(Program::KubeScheduler, &flags)
}
