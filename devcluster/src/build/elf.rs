//! Whether a program for Linux is static: only such a one runs in an image without libraries.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Says what is wrong with a binary that would not run in an image of ours.
pub(crate) fn check_static(path: &Path) -> Result<()> {
    ensure!(
        !is_dynamic(path)?,
        "{} needs shared libraries, which its image would not have: link it statically (Rust: a musl target, Go: CGO_ENABLED=0)",
        path.display()
    );
    Ok(())
}

/// Whether a binary needs shared libraries.
pub(crate) fn is_dynamic(path: &Path) -> Result<bool> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    has_interpreter(&bytes).with_context(|| format!("{} is not a 64-bit ELF binary", path.display()))
}

/// Looks for a program header of type PT_INTERP (3) in a little-endian 64-bit ELF file.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    let number = |offset: usize, length: usize| -> Option<usize> {
        let bytes = elf.get(offset..offset + length)?;
        Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    };
    elf.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut types = (0..count).map(|index| number(table + index * size, 4));
    Some(types.any(|kind| kind == Some(3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_dynamic_binaries_from_static_ones() {
        let own = std::env::current_exe().unwrap();
        assert!(check_static(&own).unwrap_err().to_string().contains("shared libraries"));
        assert!(
            check_static(Path::new("/proc/self/status"))
                .unwrap_err()
                .to_string()
                .contains("not a 64-bit ELF")
        );
    }
}
