//! Configurations are JSON, one laid over the other.

use serde_json::Value;

/// Lays maps over maps; whatever else replaces what was there.
pub(crate) fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}
