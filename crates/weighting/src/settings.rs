//! Reading a rule's section of a recipe.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The settings of a rule that has none.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Reads `value`, an object; keys left out take their defaults, unknown ones are refused with the nearest known.
pub(crate) fn read<S: Default + Serialize + DeserializeOwned>(rule: &str, value: &Value) -> Result<S, String> {
    let Some(given) = value.as_object() else {
        return Err(format!("the settings of `{rule}` must be a table of names and values, found {value}"));
    };
    let known = defaults::<S>();
    let names: Vec<&str> =
        known.as_object().map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default();
    if let Some(name) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let known = if names.is_empty() { "it has none".into() } else { format!("there are {}", names.join(", ")) };
        return Err(format!(
            "`{rule}` has no setting `{name}`{}; {known}",
            mtl_task::nearest(name, names.iter().copied())
        ));
    }
    serde_json::from_value(value.clone()).map_err(|error| format!("in the settings of `{rule}`: {error}"))
}

/// The default settings, an object.
pub(crate) fn defaults<S: Default + Serialize>() -> Value {
    serde_json::to_value(S::default()).unwrap_or(Value::Null)
}

/// Reads a bound on a norm: a number, or "none", null or 0 for no bound.
pub(crate) fn bound<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Bound {
        Number(f64),
        Word(String),
        Absent(()),
    }
    match Bound::deserialize(source)? {
        Bound::Number(bound) if bound >= 0.0 => Ok(bound),
        Bound::Word(word) if word == "none" => Ok(0.0),
        Bound::Absent(()) => Ok(0.0),
        _ => Err(serde::de::Error::custom("a norm must be a number that is not negative, or \"none\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Example {
        rate: f64,
        window: usize,
        #[serde(deserialize_with = "bound")]
        max_norm: f64,
    }

    #[test]
    fn an_unknown_setting_names_the_nearest() {
        let error = read::<Example>("dwa", &serde_json::json!({"windw": 3})).err().expect("refused");
        assert!(error.contains("`dwa` has no setting `windw` (did you mean `window`?)"), "{error}");
        let error = read::<Example>("dwa", &serde_json::json!({"window": -1})).err().expect("refused");
        assert!(error.contains("in the settings of `dwa`"), "{error}");
        assert!(read::<Example>("dwa", &serde_json::json!([1])).is_err());
    }

    #[test]
    fn no_bound_is_spelled_in_three_ways() {
        for none in [serde_json::json!("none"), serde_json::json!(0), Value::Null] {
            assert_eq!(read::<Example>("x", &serde_json::json!({"max_norm": none})).expect("read").max_norm, 0.0);
        }
        assert!(read::<Example>("x", &serde_json::json!({"max_norm": -1.0})).is_err());
    }
}
