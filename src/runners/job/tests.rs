//! Whole Jobs: arguments in, objects recorded from Kubernetes 1.34.4 out. See tests/fixtures/job/README.md.

mod any_json;
mod recorded;
mod rendering;
