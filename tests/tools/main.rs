//! The runners that work in pods of their own, with real pods and the tools themselves.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

mod canaries;
#[path = "../common/mod.rs"]
mod common;
mod controller;
mod helm;
mod http;
mod input;
mod middle;
mod processes;
mod server;
mod stage;
mod terraform;
