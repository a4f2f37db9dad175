//! The JSON Schema of `gate.toml`, from the types that read it.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Settings;

/// Defaults that depend on the machine.
const OF_THE_MACHINE: [&str; 2] = ["/$defs/Listen/properties/threads", "/$defs/Buffers/properties/folder"];

impl Settings {
    /// The JSON Schema of a settings file.
    pub fn schema() -> Value {
        let generator = SchemaGenerator::new(SchemaSettings::draft07().with(|settings| {
            settings.definitions_path = "/$defs".into();
        }));
        let mut schema = generator.into_root_schema_for::<Settings>().to_value();
        without_sections_defaults(&mut schema);
        for place in OF_THE_MACHINE {
            if let Some(Value::Object(of_key)) = schema.pointer_mut(place) {
                of_key.remove("default");
            }
        }
        if let Value::Object(root) = &mut schema {
            root.insert("title".into(), json!("gate.toml of console-gate"));
        }
        schema
    }
}

/// Takes out the defaults of whole sections: their keys have them.
fn without_sections_defaults(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("default").is_some_and(|default| default.is_object() || default.is_null()) {
                object.remove("default");
            }
            object.values_mut().for_each(without_sections_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_sections_defaults),
        _ => {}
    }
}
