//! `GET /v1/openapi.json`: the table of routes and the types' schemas as an OpenAPI 3.1 document. Made when asked for; says nothing that the table does not.

use netd_api::fault::Fault;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::routes::{DOCUMENT, ROUTES, Route};

/// The whole document.
pub(super) fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let refused = generator.subschema_for::<Fault>();
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.to_ascii_lowercase()] = operation(route, &mut generator);
    }
    paths.insert(
        DOCUMENT.to_owned(),
        json!({ "get": { "summary": "This document.", "responses": { "200": answer("An OpenAPI document.", &json!({ "type": "object" })) } } }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "netd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Container networking for one Linux host, over HTTP/1.1 on a Unix socket. Fields are added, never renamed or taken away.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": { "Refused": answer("Refused or failed: nothing has changed, but where the code is `unavailable`.", &json!(refused)) },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
    for word in route.query {
        let schema = (word.schema)(generator);
        parameters.push(json!({ "name": word.name, "in": "query", "required": word.needed, "description": word.about, "schema": schema }));
    }
    let done = match route.gives {
        Some(schema) => answer("Done.", &json!(schema(generator))),
        None => json!({ "description": "Done." }),
    };
    let mut operation = json!({
        "summary": route.about,
        "responses": { route.status.to_string(): done, "default": { "$ref": "#/components/responses/Refused" } },
    });
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(body) = &route.takes {
        let mut content = json!({ "schema": (body.schema)(generator) });
        // A test reads every example; one that is no JSON is left away.
        if let Ok(example) = serde_json::from_str::<Value>(body.example) {
            content["example"] = example;
        }
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": content } });
    }
    operation
}

fn answer(about: &str, schema: &Value) -> Value {
    json!({ "description": about, "content": { "application/json": { "schema": schema } } })
}
