//! An object of any kind, read in full but for who wrote what of it. Pure.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// An object without its managed fields: nothing here reads them, and of a large Workflow they are as long as its status.
pub(super) struct Whole(pub(super) Value);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Part::Object.deserialize(deserializer).map(Self)
    }
}

/// What is being read.
#[derive(Clone, Copy)]
enum Part {
    Object,
    Metadata,
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(field) = map.next_key::<String>()? {
            let value = match (self, field.as_str()) {
                (Self::Object, "metadata") => map.next_value_seed(Self::Metadata)?,
                (Self::Metadata, "managedFields") => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Self::Object | Self::Metadata, _) => map.next_value()?,
            };
            fields.insert(field, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::Whole;

    #[test]
    fn an_object_is_read_in_full_but_for_its_managed_fields() {
        let text = include_str!("../../benches/recorded/job.json");
        let mut object: Value = serde_json::from_str(text).unwrap();
        let managed = object["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert!(managed.is_some());
        assert_eq!(serde_json::from_str::<Whole>(text).unwrap().0, object);
    }
}
