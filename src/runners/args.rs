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
    use serde_json::json;

    #[test]
    fn objects_merge_and_everything_else_is_replaced() {
        let mut base = json!({"a": {"x": 1, "y": [1, 2]}, "b": "kept"});
        merge(&mut base, json!({"a": {"y": [3], "z": null}}));
        assert_eq!(base, json!({"a": {"x": 1, "y": [3], "z": null}, "b": "kept"}));
    }
}
