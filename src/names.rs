//! What a name of Kubernetes' may be, so that it can be nothing else in a path, a header or a command line. Pure.

/// Whether a text is a DNS-1123 label of at most so many letters.
pub(crate) fn is_dns_label(text: &str, max: usize) -> bool {
    let is_edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    text.len() <= max
        && bytes.first().copied().is_some_and(is_edge)
        && bytes.last().copied().is_some_and(is_edge)
        && bytes.iter().all(|b| is_edge(*b) || *b == b'-')
}

/// Whether a text is a DNS-1123 subdomain of at most so many letters: labels with dots between them.
pub(crate) fn is_dns_subdomain(text: &str, max: usize) -> bool {
    text.len() <= max && text.split('.').all(|label| is_dns_label(label, max))
}

/// Whether a text of at most so many letters may be a key of a ConfigMap or a Secret.
pub(crate) fn is_key(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether a text of at most so many letters is one word of a command line, and no option.
pub(crate) fn is_word(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_dns_subdomain;

    #[rstest]
    fn names_that_could_be_anything_else_are_no_names(
        #[values("", "-a", "a-", "a..b", ".a", "a/b", "a b", "a\n", "A", "ä", "a:b", "system:admin")]
        name: &str,
    ) {
        assert!(!is_dns_subdomain(name, 253));
    }
}
