//! The JSON Schema of the file, generated from its types.

use schemars::JsonSchema;
use serde_json::Value;

/// The schema of the file whose types are `T`.
pub fn schema<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    without_null(&mut schema);
    schema
}

/// A key may be left out, but not be empty; the types say `Option` for both.
fn without_null(here: &mut Value) {
    match here {
        Value::Object(object) => {
            object.retain(|key, value| key != "default" || !value.is_null());
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(alternatives)) = object.get_mut("anyOf") {
                alternatives.retain(|alternative| alternative.get("type").is_none_or(|kind| kind != "null"));
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Paths at which the schema has a key of this name; `*` stands for a name of the user's.
pub(crate) fn paths_of_key<T: JsonSchema>(key: &str) -> Vec<String> {
    let suffix = format!(".{key}");
    key_paths::<T>()
        .into_iter()
        .filter(|path| path == key || path.ends_with(&suffix))
        .map(|path| path.replace("[]", ""))
        .collect()
}

/// Every key path of the schema: `a.b`, `a[].b` in a list, `a.*.b` below a name of the user's. Shortest first.
pub fn key_paths<T: JsonSchema>() -> Vec<String> {
    let schema = schema::<T>();
    let mut paths = Vec::new();
    visit(&schema, &schema, "", &mut paths);
    paths.sort_by(|a, b| (a.matches('.').count(), a).cmp(&(b.matches('.').count(), b)));
    paths.dedup();
    paths
}

fn visit(root: &Value, here: &Value, path: &str, paths: &mut Vec<String>) {
    if let Some(target) =
        here.get("$ref").and_then(Value::as_str).and_then(|name| root.pointer(name.trim_start_matches('#')))
    {
        visit(root, target, path, paths);
    }
    for alternative in ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| here.get(*word)?.as_array()).flatten() {
        visit(root, alternative, path, paths);
    }
    if let Some(properties) = here.get("properties").and_then(Value::as_object) {
        for (name, below) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            paths.push(path.clone());
            visit(root, below, &path, paths);
        }
    }
    if let Some(below) = here.get("additionalProperties").filter(|below| below.is_object()) {
        visit(root, below, &format!("{path}.*"), paths);
    }
    if let Some(items) = here.get("items") {
        visit(root, items, &format!("{path}[]"), paths);
    }
}
