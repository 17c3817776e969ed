//! Where the input comes from, and reading it. The only file I/O of `submit`.
//!
//! In this order: `--file`, RUNNER_INPUT_PATH, RUNNER_CONTEXT_PATH with RUNNER_ARGS_PATH, standard input unless
//! that is a terminal.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use crate::input::{self, Fault, Input, fault::Place};

/// The original's environment variables, and the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// `--file`; `-` is standard input.
    pub file: Option<PathBuf>,
    /// RUNNER_INPUT_PATH.
    pub input: Option<PathBuf>,
    /// RUNNER_CONTEXT_PATH.
    pub context: Option<PathBuf>,
    /// RUNNER_ARGS_PATH.
    pub args: Option<PathBuf>,
}

/// Where to read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Stdin,
    File(PathBuf),
    Pair { context: PathBuf, args: PathBuf },
}

/// Reads what is to be run.
///
/// # Errors
/// A sentence with the name of the text, the place, and the offending line.
pub fn read(named: Named) -> Result<Input, String> {
    match choose(named, io::stdin().is_terminal())? {
        Source::Stdin => parse("standard input", &text("standard input", io::stdin())?),
        Source::File(path) => {
            let name = path.display().to_string();
            parse(&name, &file(&path)?)
        }
        Source::Pair { context, args } => {
            let texts = [file(&context)?, file(&args)?];
            let [context_text, args_text] = &texts;
            input::pair(context_text, args_text).map_err(|(which, fault)| {
                let path = if which == 0 { context } else { args };
                fault.show(&path.display().to_string())
            })
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Input, String> {
    input::file(text).map_err(|fault| fault.show(name))
}

fn choose(named: Named, stdin_is_terminal: bool) -> Result<Source, String> {
    match named {
        Named { file: Some(path), .. } if path == Path::new("-") => Ok(Source::Stdin),
        Named { file: Some(path), .. } | Named { input: Some(path), .. } => Ok(Source::File(path)),
        Named { context: Some(context), args: Some(args), .. } => Ok(Source::Pair { context, args }),
        Named { context: Some(_), args: None, .. } => {
            Err("RUNNER_CONTEXT_PATH is set and RUNNER_ARGS_PATH is not; set both, or RUNNER_INPUT_PATH"
                .into())
        }
        Named { context: None, args: Some(_), .. } => {
            Err("RUNNER_ARGS_PATH is set and RUNNER_CONTEXT_PATH is not; set both, or RUNNER_INPUT_PATH"
                .into())
        }
        Named { context: None, args: None, .. } if stdin_is_terminal => {
            Err("nothing to run: name a file with --file or RUNNER_INPUT_PATH, or pipe one in".into())
        }
        Named { context: None, args: None, .. } => Ok(Source::Stdin),
    }
}

fn file(path: &Path) -> Result<String, String> {
    let name = path.display().to_string();
    let open = File::open(path).map_err(|error| format!("{name}: cannot be read: {}", plain(&error)))?;
    text(&name, open)
}

/// Reads no more than is needed to know that it is too much.
fn text(name: &str, from: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(input::MAX_BYTES).unwrap_or(u64::MAX);
    from.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{name}: cannot be read: {}", plain(&error)))?;
    if bytes.len() > input::MAX_BYTES {
        return Err(Fault::too_large().show(name));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let what = "is no text: this is where UTF-8 ends".to_owned();
        Fault { what, place: Some(Place::of_byte(&lossy, valid)) }.show(name)
    })
}

/// An error of the system without its number.
fn plain(error: &io::Error) -> String {
    let said = error.to_string();
    said.split(" (os error").next().unwrap_or(&said).to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rstest::rstest;

    use super::{Named, Source, choose, text};

    fn named(file: &str, input: &str, context: &str, args: &str) -> Named {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Named { file: path(file), input: path(input), context: path(context), args: path(args) }
    }

    #[rstest]
    #[case(named("f", "i", "c", "a"), Source::File("f".into()))]
    #[case(named("-", "i", "c", "a"), Source::Stdin)]
    #[case(named("", "i", "c", "a"), Source::File("i".into()))]
    #[case(named("", "", "c", "a"), Source::Pair { context: "c".into(), args: "a".into() })]
    #[case(named("", "", "", ""), Source::Stdin)]
    fn what_is_nearest_to_the_person_wins(#[case] named: Named, #[case] source: Source) {
        assert_eq!(choose(named, false), Ok(source));
    }

    #[rstest]
    #[case(named("", "", "c", ""), "RUNNER_ARGS_PATH is not")]
    #[case(named("", "", "", "a"), "RUNNER_CONTEXT_PATH is not")]
    #[case(named("", "", "", ""), "nothing to run")]
    fn what_is_incomplete_is_told(#[case] named: Named, #[case] words: &str) {
        let error = choose(named, true).unwrap_err();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn endless_input_is_given_up_and_broken_utf_8_is_shown() {
        assert!(
            text("zero", std::io::repeat(b'a')).unwrap_err().starts_with("zero: is larger than 1024 KiB")
        );
        let error = text("f", &b"a: 1\nb: \xff\n"[..]).unwrap_err();
        assert!(error.starts_with("f:2:4: is no text"), "{error}");
    }
}
