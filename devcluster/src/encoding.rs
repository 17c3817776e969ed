//! Bytes as text: hex, base64, and short hashes as names. No I/O.

use ring::digest::{SHA256, digest};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// The first part of a hash: enough to tell a few things apart by name.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    sha256(bytes).chars().take(12).collect()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| LETTERS.get(bits as usize & 63).map_or('=', |&letter| char::from(letter));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            (0..3).fold(0, |bits, index| bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0)));
        let letters = [18, 12, 6, 0].map(|shift| letter(bits >> shift));
        text.extend(
            letters.into_iter().enumerate().map(|(at, letter)| if at > chunk.len() { '=' } else { letter }),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn hashes_are_the_usual_ones() {
        assert_eq!(fingerprint(b""), "e3b0c44298fc");
        assert!(sha256(b"").ends_with("7852b855"));
    }
}
