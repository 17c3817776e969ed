//! By what the controller's own tables name an execution: its uid, in 16 bytes instead of a text of 36. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use uuid::Uuid;

/// One execution. Another one of the same name has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(Uuid);

impl Key {
    /// The key of the execution with that uid. API servers give UUIDs in lower case; of any other text it is a hash.
    pub fn of(uid: &str) -> Self {
        match Uuid::try_parse(uid) {
            Ok(read) if read.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == uid => Self(read),
            Ok(_) | Err(_) => Self(Uuid::from_u64_pair(hash((0, uid)), hash((1, uid)))),
        }
    }
}

fn hash(text: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Key;

    #[test]
    fn texts_that_differ_have_keys_that_differ() {
        let uuid = "0f1d3c5e-7a9b-4c2d-8e6f-1a3b5c7d9e0f";
        let texts = [
            uuid.to_owned(),
            uuid.to_uppercase(),
            uuid.replace('-', ""),
            format!("{{{uuid}}}"),
            String::new(),
            "u".into(),
        ];
        let keys: HashSet<Key> = texts.iter().map(|text| Key::of(text)).collect();
        assert_eq!(keys.len(), texts.len());
        assert_eq!(Key::of(uuid), Key::of(uuid));
    }
}
