//! A runner of somebody else's: [`Script`]. The binary around it is a single line, in `main.rs`.

mod script;

pub use script::Script;
