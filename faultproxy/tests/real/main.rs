//! The proxy in front of a real API server. Each test has a namespace and a proxy of its own.
//!
//! One control plane serves all processes that run tests at once (cargo-nextest starts one per test); the last
//! one to end takes it down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_in_result,
    reason = "tests, but without the usual harness, and so unknown to clippy as such"
)]

mod controller;
mod modes;
mod requests;
mod stage;
mod watches;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use stage::{House, Stage};

fn main() -> ExitCode {
    if std::env::var_os(controller::ROLE).is_some() {
        return controller::main();
    }
    let runtime = Arc::new(tokio::runtime::Runtime::new().unwrap());
    let house = Arc::new(House::default());
    let mut trials = Vec::new();
    let mut add = |name: &str, test: stage::Test| {
        let (runtime, house, short) = (Arc::clone(&runtime), Arc::clone(&house), name.to_owned());
        trials.push(Trial::test(name, move || {
            // Panics of asserts pass through to the harness.
            runtime.block_on(async { test(Stage::new(&house, &short).await?).await })?;
            Ok(())
        }));
    };
    requests::tests(&mut add);
    watches::tests(&mut add);
    modes::tests(&mut add);
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    runtime.block_on(house.leave());
    conclusion.exit_code()
}
