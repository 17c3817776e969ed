//! Taking arguments out of what another program said. Pure.

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

/// What stands in a text's place.
const HIDDEN: &str = "•••";
/// Shorter texts are words of the language: to hide them would hide the message.
const SHORTEST: usize = 4;

/// Knows what must not be repeated.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    /// The longest first, so that a text within another does not spoil it.
    words: Vec<String>,
}

impl Redactor {
    /// Hides every text and every number within these values, also as base64, line by line, and on one line.
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut words = Vec::new();
        values.into_iter().for_each(|value| collect(value, &mut words));
        words.retain(|word| word.len() >= SHORTEST);
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        Self { words }
    }

    /// The text without them.
    pub(super) fn clean(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, word| text.replace(word, HIDDEN))
    }

    /// The value without them, be they texts, numbers, or names of fields.
    pub(super) fn clean_value(&self, value: Value) -> Value {
        match value {
            Value::Number(ref number) if self.words.contains(&number.to_string()) => HIDDEN.into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
            Value::String(text) => self.clean(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.clean_value(item)).collect(),
            Value::Object(fields) => self.clean_fields(fields).into(),
        }
    }

    /// The fields without them.
    pub(super) fn clean_fields(&self, fields: Map<String, Value>) -> Map<String, Value> {
        fields.into_iter().map(|(name, value)| (self.clean(&name), self.clean_value(value))).collect()
    }
}

fn collect(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => words.push(number.to_string()),
        Value::String(text) => {
            let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap_or_default();
            words.extend(encoded.as_str().map(str::to_owned));
            words.extend(text.lines().map(|line| line.trim().to_owned()));
            words.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
            // As a program may quote it.
            words.push(format!("{text:?}").trim_matches('"').to_owned());
            words.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, words)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::Redactor;

    #[test]
    fn texts_and_numbers_are_hidden_as_they_are_and_encoded() {
        let values = json!({"a": ["open sesame", {"b": 123_456}], "c": "first line\nsecond line", "d": true, "e": "no"});
        let told = "no open sesame, b3BlbiBzZXNhbWU=, 123456; second line: true";
        assert_eq!(Redactor::new([&values]).clean(told), "no •••, •••, •••; •••: true");
    }

    #[test]
    fn a_text_is_hidden_though_its_lines_and_spaces_were_joined() {
        let redactor = Redactor::new([&json!("open  the\n  gate")]);
        assert_eq!(redactor.clean("cannot open the gate"), "cannot •••");
    }

    #[test]
    fn nothing_is_left_of_them_in_a_value() {
        let redactor = Redactor::new([&json!({"a": "sesame", "b": 123_456})]);
        let told = json!({"sesame": [{"port": 123_456}, "open sesame", 1_234_567, true, null]});
        let clean = json!({"•••": [{"port": "•••"}, "open •••", 1_234_567, true, null]});
        assert_eq!(redactor.clean_value(told), clean);
    }

    proptest! {
        #[test]
        fn nothing_of_what_is_known_is_left(word in "[a-z]{4,12}", before in "[A-Z ]{0,9}", after in "[A-Z ]{0,9}") {
            let clean = Redactor::new([&json!([word])]).clean(&format!("{before}{word}{after}{word}"));
            prop_assert!(!clean.contains(&word));
        }
    }
}
