//! Fingerprints of the encoder that a run began from, and of the files that its folder is read by.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_backbone::{Pretrained, with_flat};
use mtl_data::Tokenizer;
use sha2::{Digest, Sha256};

use super::{REMEDY, TASKS};
use crate::resume::hex;

pub(super) const CONFIG: &str = "encoder/config.json";
pub(super) const TOKENIZER: &str = "encoder/tokenizer.json";
/// What the weights of before training go by; no file of the folder has them.
const WEIGHTS: &str = "weights before training";
/// Values that are hashed at once.
const CHUNK: usize = 4096;

/// Hex SHA-256 of files, by their name in the run folder, and of [`WEIGHTS`].
pub(super) type Digests = BTreeMap<String, String>;

/// The encoder's configuration as a run folder has it, which says its architecture too.
pub(crate) fn config_bytes(pretrained: &Pretrained) -> Result<Vec<u8>> {
    let mut config = pretrained.config.clone();
    if let Some(keys) = config.as_object_mut() {
        keys.insert("model_type".into(), pretrained.architecture.clone().into());
    }
    Ok(serde_json::to_vec_pretty(&config)?)
}

/// The digests of an encoder and its tokenizer.
pub(super) fn digests(tokenizer: &Tokenizer, pretrained: &Pretrained) -> Result<Digests> {
    let all = [
        (TOKENIZER, hex(&Sha256::digest(tokenizer.to_json()?))),
        (CONFIG, hex(&Sha256::digest(config_bytes(pretrained)?))),
        (WEIGHTS, weights(pretrained)),
    ];
    Ok(all.into_iter().map(|(name, digits)| (name.to_string(), digits)).collect())
}

/// Of all weights, part by part, as they are read: not of a file, so that the same weights in other files are the same.
fn weights(pretrained: &Pretrained) -> String {
    let mut digest = Sha256::new();
    for (part, flat) in &pretrained.weights {
        digest.update(format!("{part}\n"));
        with_flat!(flat, values => for chunk in values.chunks(CHUNK) {
            digest.update(chunk.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        });
    }
    hex(&digest.finalize())
}

/// Refuses an encoder or a tokenizer of the model `name` that is not the one in `then`.
pub(super) fn check(then: &Digests, name: &str, tokenizer: &Tokenizer, pretrained: &Pretrained) -> Result<()> {
    let now = digests(tokenizer, pretrained)?;
    for (what, said) in [(TOKENIZER, "the tokenizer"), (CONFIG, "the configuration"), (WEIGHTS, "the weights")] {
        let (Some(wanted), Some(found)) = (then.get(what), now.get(what)) else { continue };
        if found != wanted {
            bail!(
                "model `{name}`: {said} that training begins from changed since the run began: the SHA-256 was {wanted}, \
                 and is {found}; {REMEDY}"
            );
        }
    }
    Ok(())
}

/// Refuses files of the run folder `folder` that are not as the run wrote them.
pub(super) fn check_folder(then: &Digests, folder: &Path) -> Result<()> {
    for name in [TASKS, CONFIG, TOKENIZER] {
        let (Some(wanted), path) = (then.get(name), folder.join(name)) else { continue };
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = hex(&Sha256::digest(&bytes));
        if found != *wanted {
            bail!(
                "{}: the file is not the one that the run wrote: its SHA-256 was {wanted}, and is {found}; restore it from \
                 a backup, or train anew under another --out",
                path.display()
            );
        }
    }
    Ok(())
}
