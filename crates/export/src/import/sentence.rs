//! The head that modules of sentence-transformers make.

use anyhow::{Context, Result, bail};
use mtl_backbone::checkpoint::read_safetensors;
use mtl_backbone::{HeadActivation, Pooling};
use serde_json::Value;

use super::{Found, json, map, plain};
use crate::plain::PlainHead;
use crate::sentence::{IDENTITY, of_torch};

/// The file that lists the modules.
pub(super) const MODULES: &str = "modules.json";

const ACTIVATIONS: [HeadActivation; 3] = [HeadActivation::Tanh, HeadActivation::Relu, HeadActivation::Gelu];

/// The head over the pooled vector: one map or two.
pub(super) fn head(found: &Found) -> Result<PlainHead> {
    let folder = &found.checkpoint.folder;
    let listed = json(&folder.join(MODULES))?.context("missing")?;
    let listed = listed.as_array().context("a list was expected")?;
    let (mut pooling, mut maps, mut activations) = (None, Vec::new(), Vec::new());
    for module in listed {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        let (kind, path) = (text("type").rsplit('.').next().unwrap_or_default(), text("path"));
        let inside = !path.contains(['/', '\\', ':']) && !path.starts_with('.');
        if !inside {
            bail!("the folder of a module is called {path:?}; a plain name was expected");
        }
        match kind {
            "Transformer" if path.is_empty() => {}
            "Pooling" => pooling = Some(pooled(&folder.join(path).join("config.json"))?),
            "Dense" => {
                let here = folder.join(path);
                let config = json(&here.join("config.json"))?.with_context(|| format!("{path}: no config.json"))?;
                let tensors = read_safetensors(&here.join("model.safetensors"))?;
                let inputs = maps.last().map_or(found.hidden, crate::plain::LinearMap::outputs);
                maps.push(map(&tensors, "linear", inputs).with_context(|| path.to_string())?);
                let stated = config.get("activation_function").and_then(Value::as_str).unwrap_or_default();
                activations.push(stated.to_string());
            }
            _ => {
                bail!("`{}` in {path:?}; a head here is Transformer, Pooling and one Dense module or two", text("type"))
            }
        }
    }
    let pooling = pooling.context("no Pooling, which makes one vector of a text")?;
    let Some(last) = activations.pop() else {
        bail!("no Dense, so that it answers nothing; an encoder alone is what a model's manifest names")
    };
    if last != IDENTITY {
        bail!("the last Dense module computes `{last}`, and logits are what a map gives: `{IDENTITY}` was expected");
    }
    let activation = match activations.as_slice() {
        [] => HeadActivation::Tanh,
        [one] => {
            let known = ACTIVATIONS.into_iter().find(|activation| of_torch(*activation) == one);
            known.with_context(|| format!("a Dense module computes `{one}`; there are Tanh, ReLU and GELU"))?
        }
        several => bail!("{} Dense modules; a head has one hidden layer at most", several.len().saturating_add(1)),
    };
    Ok(plain(Some(pooling), activation, 0., maps))
}

/// The one way that texts are pooled in.
fn pooled(path: &std::path::Path) -> Result<Pooling> {
    let config = json(path)?.with_context(|| format!("{}: missing", path.display()))?;
    let known = [
        ("pooling_mode_cls_token", "cls", Pooling::Cls),
        ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
        ("pooling_mode_max_tokens", "max", Pooling::Max),
    ];
    // Newer files name the mode, older ones have a key for each.
    if let Some(mode) = config.get("pooling_mode").and_then(Value::as_str) {
        let found = known.into_iter().find(|(_, name, _)| *name == mode);
        return found.map(|(.., pooling)| pooling).with_context(|| format!("{}: mode `{mode}`", path.display()));
    }
    let keys = config.as_object().into_iter().flatten();
    let modes: Vec<&str> = keys
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
        .map(|(key, _)| key.as_str())
        .collect();
    match modes.as_slice() {
        [one] => known.into_iter().find(|(key, ..)| key == one).map(|(.., pooling)| pooling),
        _ => None,
    }
    .with_context(|| {
        format!("{}: pooled by {}; the mean, the first or the maximum is read", path.display(), modes.join(", "))
    })
}
