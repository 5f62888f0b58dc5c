//! The JSON Schema of the language, derived from the model.

use super::model::Scenario;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The JSON Schema (draft 2020-12) of a scenario, for editors and for the checker. What it says of each key is
/// the model's own documentation.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>().to_value();
    without_null(&mut schema);
    let root = schema.clone();
    with_empty(&mut schema, &root);
    schema["$id"] = "urn:squall:scenario:1".into();
    schema["title"] = "squall scenario, format version 1".into();
    schema
}

/// The schema as text, as `squall schema` prints it and `scenarios/schema.json` holds it.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// A key that is optional may be left out; that does not make null a value of it.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(without_null),
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = &types[..] {
                    map["type"] = one.clone();
                }
            }
            if let Some(Value::Array(all)) = map.get_mut("anyOf") {
                all.retain(|one| one["type"] != "null");
                if let [Value::Object(one)] = &all[..] {
                    let one = one.clone();
                    map.remove("anyOf");
                    // What is said of the key comes before what is said of its type.
                    one.into_iter().for_each(|(key, value)| {
                        map.entry(key).or_insert(value);
                    });
                }
            }
            map.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// A key with nothing after it stands for an empty map or list where that is a choice (`embedded:`, or `gates:`
/// with every line commented out).
fn with_empty(schema: &mut Value, root: &Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(|one| with_empty(one, root)),
        Value::Object(map) => {
            let required: Vec<Value> = map
                .get("required")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                let optional = properties
                    .iter_mut()
                    .filter(|(key, _)| !required.contains(&json!(key)));
                optional.for_each(|(_, property)| allow_empty(property, root));
            }
            map.values_mut().for_each(|value| with_empty(value, root));
        }
        _ => {}
    }
}

fn allow_empty(property: &mut Value, root: &Value) {
    let reference = property["$ref"]
        .as_str()
        .and_then(|r| r.strip_prefix("#/$defs/"))
        .map(str::to_owned);
    let target = reference
        .as_ref()
        .map_or(&*property, |name| &root["$defs"][name]);
    let may = target["type"] == "object" && target.get("required").is_none()
        || target["type"] == "array" && target.get("minItems").is_none();
    let Value::Object(map) = property else { return };
    match (may, map.remove("$ref")) {
        (true, Some(reference)) => {
            map.insert(
                "anyOf".into(),
                json!([{ "$ref": reference }, { "type": "null" }]),
            );
        }
        (true, None) => map["type"] = json!([map["type"], "null"]),
        (false, Some(reference)) => {
            map.insert("$ref".into(), reference);
        }
        (false, None) => {}
    }
}
