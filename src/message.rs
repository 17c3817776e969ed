//! The form of messages to people: how long, and what was probably meant. Pure.

/// The limit of a message in bytes.
pub const MAX: usize = 1024;

/// At most `limit` bytes of a text, never within a character, with an ellipsis where something is missing.
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// The name that was probably meant: up to a third of its letters may differ. Names beyond 80 bytes, and more
/// than a thousand of them, are not compared, since comparing takes time by both lengths.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 80;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .take(1000)
        .filter(|candidate| candidate.len().abs_diff(name.len()) * 3 <= candidate.len())
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{cut, nearest};

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        let long = cut(&"ü".repeat(600), 1024);
        assert!(long.len() <= 1024 && long.ends_with("ü…"));
        assert_eq!(cut("üüü", 1), "…");
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(
            nearest("contianers", ["container", "containers", "volumes"].into_iter()),
            Some("containers")
        );
        assert_eq!(nearest("Image", ["image"].into_iter()), Some("image"));
        assert_eq!(nearest("nothing", ["image", "args"].into_iter()), None);
    }

    proptest! {
        #[test]
        fn what_is_cut_keeps_its_limit_and_its_beginning(text in any::<String>(), limit in 3..200_usize) {
            let short = cut(&text, limit);
            prop_assert!(short.len() <= limit);
            if text.len() <= limit {
                prop_assert_eq!(short, text);
            } else {
                prop_assert!(text.starts_with(short.strip_suffix('…').unwrap()));
            }
        }

        #[test]
        fn the_nearest_name_is_one_of_the_known(name in any::<String>(), known in prop::collection::vec(any::<String>(), 0..8)) {
            let found = nearest(&name, known.iter().map(String::as_str));
            prop_assert!(found.is_none_or(|found| known.iter().any(|it| it == found)));
        }
    }
}
