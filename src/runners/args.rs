//! Combining arguments from several places. Pure.

use serde_json::Value;

/// How deep arguments may nest: 100 objects or lists within each other.
///
/// The API server stores up to about 10,000 levels; JSON parsers in clients, this one included, commonly stop
/// at 128. What is deeper is refused by name instead of breaking whoever lists the objects.
pub const MAX_DEPTH: usize = 100;

/// Puts `over` over `base`: objects are merged key by key, anything else is replaced.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(present) => merge(present, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::merge;
    use proptest::{collection, prelude::*};
    use serde_json::{Value, json};

    /// Few keys, so that many are on both sides.
    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i8>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from)
        ];
        let value = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                collection::hash_map("[abc]", inner, 0..3)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        });
        collection::hash_map("[abc]", value, 0..3)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    }

    /// Whether everything of `over` is in `merged`.
    fn holds(merged: &Value, over: &Value) -> bool {
        match (merged, over) {
            (Value::Object(merged), Value::Object(over)) => {
                over.iter().all(|(key, value)| merged.get(key).is_some_and(|it| holds(it, value)))
            }
            (merged, over) => merged == over,
        }
    }

    proptest! {
        #[test]
        fn what_is_over_wins_whole_and_a_second_time_changes_nothing(base in any_object(), over in any_object()) {
            let mut merged = base.clone();
            merge(&mut merged, over.clone());
            prop_assert!(holds(&merged, &over));
            prop_assert!(base.as_object().unwrap().keys().all(|key| merged.get(key).is_some()));
            let mut again = merged.clone();
            merge(&mut again, over);
            prop_assert_eq!(again, merged);
        }
    }

    #[test]
    fn objects_merge_and_everything_else_is_replaced() {
        let mut base = json!({"a": {"x": 1, "y": [1, 2]}, "b": "kept"});
        merge(&mut base, json!({"a": {"y": [3], "z": null}}));
        assert_eq!(base, json!({"a": {"x": 1, "y": [3], "z": null}, "b": "kept"}));
    }
}
