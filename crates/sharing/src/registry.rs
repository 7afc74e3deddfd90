//! The strategies, sorted by name.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::strategies::{
    adapter, bitfit, cross_stitch, dselect_k, hard, hierarchical, lora, mmoe, mtan, mtl_lora, pal, ple, prefix, single,
    single_small, sluice, soft, sparse, task_norm, tensor,
};
use crate::{BuildContext, Sharing, Strategy};

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name a recipe uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Where it was proposed.
    pub paper: &'static str,
    /// Its parameters beyond the heads with the default section: a formula in P (encoder), K (tasks), H (hidden), L
    /// (layers), I (feed-forward width), V and W (rows and width of the word table) and settings by their names, which
    /// may explain itself behind a comma.
    pub cost: &'static str,
    /// Whether tasks can reach a common trained parameter with the default section; rules over gradients need one.
    pub shares: bool,
    /// Whether they can with this section.
    pub shares_with: fn(&Value) -> Result<bool>,
    /// Its section with every default written out.
    pub defaults: fn() -> Value,
    /// What is wrong with a section, before anything is built.
    pub check: fn(&Value, usize) -> Result<()>,
    /// Builds it.
    pub build: fn(&Value, &mut BuildContext) -> Result<Box<dyn Sharing>>,
}

/// Every strategy.
pub const STRATEGIES: &[Entry] = &[
    entry::<adapter::Adapter>(
        "adapter",
        "a frozen encoder, each task's own bottlenecks between its blocks",
        "Houlsby et al. 2019; Pfeiffer et al. 2021",
        "P + K·(2·L·(2·H·m + m + H) + 4·H·L + 2·H), m the width (64)",
        false,
    ),
    entry::<bitfit::BitFit>(
        "bitfit",
        "a frozen encoder, each task's own biases",
        "Ben-Zaken et al. 2022",
        "P + K·(7·H·L + I·L + H), I the feed-forward width",
        false,
    ),
    entry::<cross_stitch::CrossStitch>(
        "cross-stitch",
        "an encoder per task, states mixed after each layer; K² passes",
        "Misra et al. 2016",
        "K·P + L·K·K",
        true,
    ),
    entry::<dselect_k::DselectK>(
        "dselect-k",
        "each task chooses k of the shared experts",
        "Hazimeh et al. 2021",
        "P + (experts − 1)·layers·(4·H·H + 2·H·I + 9·H + I) + K·selectors·3, 3 being 1 + log₂ of 4 experts",
        true,
    ),
    entry::<hard::Hard>("hard", "one encoder, one head per task", "Caruana 1997", "P", true),
    entry::<hierarchical::Hierarchical>(
        "hierarchical",
        "one encoder, low tasks read low layers",
        "Søgaard & Goldberg 2016; Hashimoto et al. 2017",
        "P",
        true,
    ),
    entry::<lora::Lora>(
        "lora",
        "a frozen encoder, each task's own low-rank changes of its matrices",
        "Hu et al. 2022",
        "P + K·L·4·r·H, r the rank (8)",
        false,
    ),
    entry::<mmoe::Mmoe>(
        "mmoe",
        "shared experts above a shared trunk, a gate per task",
        "Ma et al. 2018",
        "P + (experts − 1)·layers·(4·H·H + 2·H·I + 9·H + I) + K·experts·H",
        true,
    ),
    entry::<mtan::Mtan>(
        "mtan",
        "attention of each task over shared layer states",
        "Liu et al. 2019",
        "P + K·L·(3·H·width + width + H)",
        true,
    ),
    entry::<mtl_lora::MtlLora>(
        "mtl-lora",
        "a frozen encoder, low-rank changes with shared factors and each task's own core and mix",
        "Yang et al. 2025",
        "P + 4·L·(r·H + n·r·H) + 4·K·L·(r² + n), r the rank (8), n the ups (3)",
        true,
    ),
    entry::<pal::Pal>(
        "pal",
        "one encoder, each task's own small attention layers beside its layers",
        "Stickland and Murray 2019",
        "P + K·(2·H·m + m + H + 3·L·(m² + m)), m the width (204)",
        true,
    ),
    entry::<ple::Ple>(
        "ple",
        "shared and own experts in levels",
        "Tang et al. 2020",
        "P + levels·layers·(shared_experts + K·task_experts − 1)·(4·H·H + 2·H·I + 9·H + I) \
         + H·(levels·K·(shared_experts + task_experts) + (levels − 1)·(shared_experts + K·task_experts))",
        true,
    ),
    entry::<prefix::Prefix>(
        "prefix",
        "a frozen encoder, each task's own keys and values in front of every text",
        "Li and Liang 2021; Liu et al. 2022",
        "P + 2·K·L·n·H, n the length (10)",
        false,
    ),
    entry::<single::Single>("single", "an encoder per task: the baseline", "-", "K·P", false),
    entry::<single_small::SingleSmall>(
        "single-small",
        "an encoder of a K-th of the parameters per task: the baseline of equal size",
        "-",
        "K·(P/K), up to 1 %",
        false,
    ),
    entry::<sluice::Sluice>(
        "sluice",
        "cross-stitch between subspaces, and a mix of layers; K² passes",
        "Ruder et al. 2017",
        "K·P + L·(4·K·K + K)",
        true,
    ),
    entry::<soft::Soft>(
        "soft",
        "an encoder per task, pulled together",
        "Duong et al. 2015; Yang & Hospedales 2017",
        "K·P",
        false,
    ),
    entry::<sparse::Sparse>(
        "sparse",
        "one encoder, a subnetwork of it per task, found by pruning",
        "Sun et al. 2020",
        "P, and K masks of one bit a layer weight",
        true,
    ),
    entry::<task_norm::TaskNorm>(
        "task-norm",
        "one encoder told of its task by LayerNorm offsets and an embedding",
        "Pilault et al. 2021; Sileo 2023",
        "P + K·(4·H·L + 3·H)",
        true,
    ),
    entry::<tensor::TensorFactorisation>(
        "tensor",
        "one encoder, and factors of what each task adds to its matrices",
        "Yang & Hospedales 2017",
        "P + L·(r·(10·H + 2·I) + 6·K·r² + 6·K²), K ≤ r ≤ H, r the rank (8), I the feed-forward width",
        true,
    ),
];

const fn entry<S: Strategy>(
    name: &'static str,
    about: &'static str,
    paper: &'static str,
    cost: &'static str,
    shares: bool,
) -> Entry {
    let shares_with = if shares { shares_with::<S, true> } else { shares_with::<S, false> };
    Entry {
        name,
        about,
        paper,
        cost,
        shares,
        shares_with,
        defaults: defaults::<S>,
        check: check::<S>,
        build: build::<S>,
    }
}

fn defaults<S: Strategy>() -> Value {
    serde_json::to_value(S::default()).unwrap_or_default()
}

fn read<S: Strategy>(section: &Value) -> Result<S> {
    serde_json::from_value(section.clone()).context("in the section [sharing]")
}

fn shares_with<S: Strategy, const DEFAULT: bool>(section: &Value) -> Result<bool> {
    Ok(read::<S>(section)?.shares().unwrap_or(DEFAULT))
}

fn check<S: Strategy>(section: &Value, tasks: usize) -> Result<()> {
    read::<S>(section)?.check(tasks).context("in the section [sharing]")
}

fn build<S: Strategy>(section: &Value, site: &mut BuildContext) -> Result<Box<dyn Sharing>> {
    read::<S>(section)?.build(site).context("in the section [sharing]")
}

/// The strategy called `name`.
///
/// # Errors
/// If there is none; names the nearest.
pub fn find(name: &str) -> Result<&'static Entry> {
    mtl_task::member("strategy", name, STRATEGIES, |entry| entry.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_sorted_and_every_member_has_its_file() {
        assert!(STRATEGIES.windows(2).all(|pair| pair[0].name < pair[1].name));
        let error = find("hrad").err().expect("no such strategy").to_string();
        assert!(error.contains("did you mean `hard`?"), "{error}");
    }

    #[test]
    fn what_the_entry_says_of_sharing_holds_for_the_default_section() -> Result<()> {
        for entry in STRATEGIES {
            assert_eq!((entry.shares_with)(&(entry.defaults)())?, entry.shares, "{}", entry.name);
            assert!((entry.shares_with)(&serde_json::json!({ "no such key": 1 })).is_err(), "{}", entry.name);
        }
        Ok(())
    }
}
