//! The bugs: what is wrong, where, and what should notice. Plain data.
//!
//! A bug is a change of text that stands in its file exactly once. [`decide`] are wrong decisions, [`shell`] wrong
//! ways to carry a decision out, [`status`] wrong records and memories, [`runners`] wrong works of a tool.

mod decide;
mod runners;
mod shell;
mod status;

use anyhow::{Result, ensure};

use crate::check::Check;

/// Something that somebody could write by mistake.
pub(crate) struct Bug {
    /// What is wrong, in a sentence.
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    /// The right text.
    pub(crate) find: &'static str,
    /// The wrong one.
    pub(crate) replace: &'static str,
    /// What may catch it, cheapest first. All pure tests are tried before these anyway.
    pub(crate) checks: &'static [Check],
}

impl Bug {
    /// What it is tried on. Bounded: the pure check that is known to catch it, or nothing.
    pub(crate) fn checks(&self, bounded: bool) -> Vec<Check> {
        if bounded {
            return self.checks.iter().take(1).filter(|check| !check.needs_cluster()).cloned().collect();
        }
        let others = self.checks.iter().filter(|check| check.needs_cluster()).cloned();
        std::iter::once(Check::Pure("")).chain(others).collect()
    }

    /// The file's text with the bug. Fails unless the right text stands in it exactly once.
    pub(crate) fn in_place(&self, text: &str) -> Result<String> {
        let times = text.matches(self.find).count();
        ensure!(
            times == 1,
            "{}: the text to change stands {times} times in {}, not once: {}",
            self.name,
            self.file,
            self.find
        );
        Ok(text.replacen(self.find, self.replace, 1))
    }
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Bug> {
    [decide::BUGS, shell::BUGS, status::BUGS, runners::BUGS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::all;
    use crate::check::Check;

    #[test]
    fn every_bug_fits_the_code_as_it_is() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for bug in all() {
            let text = fs::read_to_string(project.join(bug.file)).unwrap();
            assert_ne!(bug.in_place(&text).unwrap(), text, "{}", bug.name);
        }
    }

    #[test]
    fn the_bugs_have_names_of_their_own_and_none_is_left_without_a_check() {
        let names: BTreeSet<&str> = all().map(|bug| bug.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|bug| !bug.checks.is_empty() && bug.checks.is_sorted()));
    }

    #[test]
    fn there_are_enough_of_them_and_enough_that_only_a_real_cluster_shows() {
        let real = all().filter(|bug| bug.checks.iter().all(Check::needs_cluster)).count();
        assert!(all().count() >= 24 && real >= 8, "{} and {real}", all().count());
    }
}
