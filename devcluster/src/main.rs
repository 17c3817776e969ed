//! The command line of the library, for people.
#![allow(clippy::print_stdout, reason = "the output of a command for people")]
#![allow(
    clippy::disallowed_methods,
    reason = "it tells how long things took; the list guards the controller's core"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use devcluster::{Cluster, Image, Level, Options, Program, Status, build};

/// A real Kubernetes on this machine, built from source, on loopback only.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring a cluster up, raise its level, or see that it is well.
    Up(Up),
    /// Stop a cluster and remove all of it but its logs.
    Down(Place),
    /// Tell what a cluster's servers are doing; fails unless all run.
    Status(Place),
    /// Load images of binaries into a running cluster of level pods.
    Load {
        #[command(flatten)]
        place: Place,
        /// NAME=BINARY[,BINARY...]; pods name it so, with imagePullPolicy IfNotPresent.
        #[arg(required = true, value_parser = image)]
        images: Vec<Image>,
    },
    /// Tell where a program lies that was built.
    Path {
        /// Its name, for example helm.
        program: String,
    },
    /// Write an image as an OCI archive.
    Image {
        /// The archive.
        #[arg(long)]
        output: PathBuf,
        /// NAME=BINARY[,BINARY...]: the first is its entrypoint.
        #[arg(value_parser = image)]
        image: Image,
    },
    /// Build what a level needs, and start nothing.
    Build {
        #[arg(long, value_enum, default_value = "pods")]
        level: Level,
    },
    /// Run the cluster's own kubectl as its admin.
    Kubectl {
        #[command(flatten)]
        place: Place,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Place {
    /// The cluster's folder.
    #[arg(long, default_value = ".cluster")]
    dir: PathBuf,
}

#[derive(clap::Args)]
struct Up {
    #[command(flatten)]
    place: Place,
    /// How much of a cluster; pods need root.
    #[arg(long, value_enum, default_value = "pods")]
    level: Level,
    /// NAME=BINARY[,BINARY...]: an image of binaries, the first its entrypoint; may be given several times.
    #[arg(long = "image", value_parser = image)]
    images: Vec<Image>,
    /// Write no audit log.
    #[arg(long)]
    no_audit: bool,
    /// Let etcd sync each write to disk, as a real cluster would.
    #[arg(long)]
    etcd_fsync: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("devcluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(arguments) => up(arguments).await?,
        Command::Down(place) => Cluster::down(&place.dir).await?,
        Command::Status(place) => return status(&place.dir),
        Command::Load { place, images } => {
            Cluster::ensure(&Options { audit: false, images, ..Options::new(place.dir, Level::Pods) })
                .await?;
        }
        Command::Path { program } => {
            let found = Program::named(&program).with_context(|| format!("there is no program {program}"))?;
            let binaries = tokio::task::spawn_blocking(|| build(Level::Pods)).await??;
            println!("{}", binaries.path(found).display());
        }
        Command::Image { output, image } => image.write(&output)?,
        Command::Build { level } => {
            let binaries = tokio::task::spawn_blocking(move || build(level)).await??;
            println!("kubectl: {}", binaries.path(Program::Kubectl).display());
        }
        Command::Kubectl { place, arguments } => {
            let status = Cluster::attach(&place.dir)?
                .kubectl()
                .args(arguments)
                .status()
                .context("cannot run kubectl")?;
            return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(arguments: Up) -> Result<()> {
    let since = Instant::now();
    let Up { place, level, images, no_audit, etcd_fsync } = arguments;
    let options = Options { dir: place.dir, level, audit: !no_audit, etcd_fsync, images };
    let cluster = Cluster::ensure(&options).await?;
    let seconds = since.elapsed().as_secs_f64();
    println!("ready after {seconds:.1} s: {} at {}\n", level.name(), cluster.api_server_url());
    println!("  export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("  alias kubectl={}", cluster.kubectl().get_program().display());
    println!("  kubectl get --raw /version\n");
    let folder = cluster.folder();
    println!("logs: {}; pods need hostNetwork: true", folder.logs().display());
    println!("stop: devcluster down --dir {}", folder.path().display());
    Ok(())
}

fn status(dir: &Path) -> Result<ExitCode> {
    let Some(status) = Status::of(dir)? else { bail!("no cluster is up in {}", dir.display()) };
    print!("{status}");
    Ok(if status.is_up() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn image(text: &str) -> Result<Image, String> {
    match text.split_once('=') {
        Some((name, binaries)) if !name.is_empty() && !binaries.is_empty() => {
            let mut binaries = binaries.split(',');
            let image = Image::new(name, binaries.next().unwrap_or_default());
            Ok(binaries.fold(image, Image::with))
        }
        Some(_) | None => {
            Err("write NAME=BINARY[,BINARY...], e.g. localhost/tool:dev=target/release/tool".into())
        }
    }
}
