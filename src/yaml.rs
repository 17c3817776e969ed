//! YAML that a user wrote, read with a bound on time and on what it may become. Pure.
//!
//! Two things in YAML can stop a program. An alias repeats what its anchor names, and the parser bounds only how often
//! aliases are followed, by a hundred times the number of nodes: some hundred KiB of text can become more values
//! than fit into any memory. And the scanner looks at every open bracket at every token: a MiB of them takes
//! minutes. Hence brackets are counted, and the text is measured without building anything, before it is read.
//! JSON has neither problem, and is read as such.

use std::{cell::Cell, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::runners::args::MAX_DEPTH;

/// How many brackets YAML may have, open or closed, within a text or not.
const MOST_BRACKETS: usize = 1000;

/// Why a text is not read. Never repeats the text, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// No YAML, several documents, or a key that stands twice.
    #[error("is neither YAML nor JSON, or has a key twice")]
    Syntax,
    /// Too deep, or too large by its aliases.
    #[error("nests more than {MAX_DEPTH} levels deep, or becomes much larger by its aliases; write it out")]
    Excess,
    /// More than [`MOST_BRACKETS`].
    #[error("has more than {MOST_BRACKETS} brackets; write it as JSON, or in lines without brackets")]
    Brackets,
}

/// The one document of a text.
pub(crate) fn read(text: &str) -> Result<serde_yaml::Value, Unreadable> {
    let mut json = serde_json::Deserializer::from_str(text);
    match measure(&mut json, text.len()) {
        Ok(()) if json.end().is_ok() => return serde_json::from_str(text).map_err(|_| Unreadable::Syntax),
        Err(Unreadable::Excess) => return Err(Unreadable::Excess),
        Ok(()) | Err(Unreadable::Syntax | Unreadable::Brackets) => {}
    }
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > MOST_BRACKETS {
        return Err(Unreadable::Brackets);
    }
    measure(serde_yaml::Deserializer::from_str(text), text.len())?;
    serde_yaml::from_str(text).map_err(|_| Unreadable::Syntax)
}

/// Whether a text of that length becomes no more than it could without aliases.
fn measure<'de>(text: impl Deserializer<'de>, length: usize) -> Result<(), Unreadable> {
    // Every value and every letter of one takes at least a byte of text, unless an alias repeats it; an escape
    // of two bytes stands for at most three.
    let left = Cell::new(Some(length.saturating_mul(4).saturating_add(64)));
    let measured = Measure { left: &left, levels: MAX_DEPTH }.deserialize(text);
    measured.map_err(|_| if left.get().is_none() { Unreadable::Excess } else { Unreadable::Syntax })
}

/// Visits a value and everything within, and keeps nothing of it.
#[derive(Clone, Copy)]
struct Measure<'a> {
    /// How much may still come; `None` once it was too much.
    left: &'a Cell<Option<usize>>,
    /// How many levels may still come.
    levels: usize,
}

impl Measure<'_> {
    fn spend<E: Error>(self, size: usize) -> Result<(), E> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(size)));
        self.left.get().map(drop).ok_or_else(|| E::custom("too much"))
    }

    /// For what stands within.
    fn within<E: Error>(self) -> Result<Self, E> {
        self.spend(1)?;
        let Some(levels) = self.levels.checked_sub(1) else {
            self.left.set(None);
            return Err(E::custom("too deep"));
        };
        Ok(Self { levels, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Measure<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.spend(text.len().saturating_add(1))
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.spend(1)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while items.next_element_seed(within)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while fields.next_entry_seed(within, within)?.is_some() {}
        Ok(())
    }
    /// A value with a tag of its own.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let within = self.within()?;
        let ((), content) = tagged.variant_seed(within)?;
        content.newtype_variant_seed(within)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Unreadable, read};

    /// Without the bounds it takes minutes, or all memory; with them a fraction of a second, on an idle machine.
    const BOUNDED: Duration = Duration::from_secs(20);

    /// Ten levels of ten aliases each: 10 billion values.
    fn laughs() -> String {
        let level = |i: usize| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        std::iter::once("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned()).chain((1..10).map(level)).collect()
    }

    /// One long list and many aliases of it: few enough to follow, far too many values.
    fn repeated_list() -> String {
        format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(50_000), "*a,".repeat(40_000))
    }

    /// One long text and many aliases of it.
    fn repeated_text() -> String {
        format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(40_000))
    }

    #[rstest]
    #[case::laughs(laughs())]
    #[case::repeated_list(repeated_list())]
    #[case::repeated_text(repeated_text())]
    #[case::deep(format!("{}1{}", "[".repeat(101), "]".repeat(101)))]
    #[case::deep_yaml(format!("{}x{}", "[".repeat(101), "]".repeat(101)))]
    fn what_becomes_too_much_is_refused_at_once(#[case] text: String) {
        let began = Instant::now();
        assert_eq!(read(&text), Err(Unreadable::Excess));
        assert!(began.elapsed() < BOUNDED, "it took {:?}", began.elapsed());
    }

    #[rstest]
    #[case::brackets("[".repeat(1_000_000))]
    #[case::braces("{a: ".repeat(300_000))]
    #[case::hidden_brackets("[']',".repeat(200_000))]
    #[case::brackets_and_then_much(format!("{}{}", "[".repeat(1000), "x,".repeat(700_000)))]
    #[case::dashes("- ".repeat(500_000))]
    #[case::questions("? ".repeat(500_000))]
    #[case::itself("&a [*a]".to_owned())]
    #[case::dangling("*a".to_owned())]
    #[case::twice("{a: 1, a: 2}".to_owned())]
    #[case::twice_in_json("{\"a\": 1, \"a\": 2}".to_owned())]
    #[case::two_documents("a: 1\n---\nb: 2\n".to_owned())]
    #[case::tab("a:\n\tb: 1\n".to_owned())]
    #[case::nul("a: \"\0\"".to_owned())]
    fn what_is_no_document_is_refused_at_once(#[case] text: String) {
        let began = Instant::now();
        assert!(read(&text).is_err());
        assert!(began.elapsed() < BOUNDED, "it took {:?}", began.elapsed());
    }

    #[test]
    fn an_anchor_in_its_measure_is_read() {
        let value: Value = serde_yaml::from_value(read("a: &x {b: 1}\nc: *x\n").unwrap()).unwrap();
        assert_eq!(value, json!({"a": {"b": 1}, "c": {"b": 1}}));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("\\PC{0,8}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = read(&text);
        }

        #[test]
        fn no_near_yaml_makes_it_panic(text in "([-?:,&*!|>'\"%@`{}\\[\\]#~ \n\tab0-9.]|<<|&a |\\*a|---|!!binary |null){0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn json_is_read_as_it_is_whatever_its_form(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), serde_yaml::to_string(&value).unwrap()] {
                let read = read(&text);
                prop_assert!(read.is_ok(), "{read:?} of {text}");
                prop_assert_eq!(&serde_yaml::from_value::<Value>(read.unwrap()).unwrap(), &value);
            }
        }
    }
}
