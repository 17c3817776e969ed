//! The table of bad inputs, row by row, by the numbers of the reference (section c of its page on reliability).

mod argo;
mod args;
mod context;
mod job;
mod lifecycle;
mod names;

use crate::row::Row;

/// How many rows the reference has.
pub(crate) const LAST: u8 = 86;

/// All rows, in order.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = names::rows();
    rows.extend(context::rows());
    rows.extend(args::rows());
    rows.extend(argo::rows());
    rows.extend(job::rows());
    rows.extend(lifecycle::rows());
    rows
}
