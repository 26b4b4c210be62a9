//! The routes of a preset, as the import of nginx's files needs to know them.

use import::{Known, Limit};
use serde_yaml::Value;

use crate::config::preset_text;

/// None for a preset that is not known: then every location is a route of the site's own.
pub(super) fn routes(preset: &str) -> Vec<Known> {
    let Some(preset) = preset_text(preset).and_then(|text| serde_yaml::from_str::<Value>(text).ok()) else {
        return Vec::new();
    };
    let routes = preset.get("routes").and_then(Value::as_sequence);
    routes.into_iter().flatten().filter_map(|route| known(route, &preset)).collect()
}

fn known(route: &Value, preset: &Value) -> Option<Known> {
    let text = |key: &str| Some(route.get(key)?.as_str()?.to_owned());
    Some(Known { path: text("path")?, service: text("service")?, limit: limit(route, preset) })
}

/// What a route does not say of its limit, its zone does.
fn limit(route: &Value, preset: &Value) -> Option<Limit> {
    let written = route.get("zone")?;
    let name = written.as_str().or_else(|| written.get("name")?.as_str())?;
    let zone = preset.get("zones")?.get(name)?;
    let of = |key: &str| written.get(key).or_else(|| zone.get(key));
    Some(Limit {
        zone: name.to_owned(),
        burst: u32::try_from(of("burst")?.as_u64()?).ok()?,
        delay: of("delay")?.as_bool()?,
    })
}
