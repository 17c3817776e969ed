//! A runner of somebody else's, in a binary of its own: this is all of its main.

use std::error::Error;

use runner_controller::manager::Manager;
use script_runner::Script;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    Manager::new(Script::default()).run().await
}
