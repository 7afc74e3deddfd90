//! Groups of tasks: the corners are `hard` and `single` bit for bit, groups know nothing of each other, and a partition
//! that is none is refused.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::DType;
use mtl_backbone::Part;
use mtl_sharing::Model;
use mtl_task::TaskId;
use serde_json::{Value, json};
use support::{LAYERS, build, tiny, train};

/// `strategy` of `count` tasks after six steps.
fn trained(strategy: &str, section: &Value, count: usize) -> Result<Model> {
    let mut model = build(strategy, section, &tiny(5), count, DType::F32)?;
    train(&mut model, 6, 0.02)?;
    Ok(model)
}

fn bits(model: &Model) -> Result<BTreeMap<String, Vec<f32>>> {
    let flat = |(name, tensor): (String, candle_core::Tensor)| Ok((name, tensor.flatten_all()?.to_vec1::<f32>()?));
    model.params.tensors()?.into_iter().map(flat).collect()
}

/// What the tensors of the parameters that `task` reaches are, by their parts' and heads' names.
fn seen(model: &Model, task: usize) -> Result<BTreeMap<String, Vec<f64>>> {
    let of = |name: String| {
        let part = name.split_once('/').map_or(name.as_str(), |(_, part)| part).to_string();
        Ok((part, support::values(model, &name)?))
    };
    model.reach(TaskId(task)).into_iter().map(of).collect()
}

#[test]
fn one_group_is_hard_and_groups_of_one_are_single_bit_for_bit() -> Result<()> {
    for (partition, other) in [(json!([["c", "a", "b"]]), "hard"), (json!([["b"], ["a"], ["c"]]), "single")] {
        let (groups, same) =
            (trained("groups", &json!({ "partition": partition }), 3)?, trained(other, &json!({}), 3)?);
        assert_eq!(bits(&groups)?, bits(&same)?, "{other}");
        assert_eq!(groups.topology, same.topology, "{other}");
    }
    Ok(())
}

#[test]
fn a_group_is_what_its_tasks_are_without_the_others() -> Result<()> {
    let groups = trained("groups", &json!({ "partition": [["c"], ["a", "b"]] }), 3)?;
    let (pair, alone) = (trained("hard", &json!({}), 2)?, trained("single", &json!({}), 3)?);
    for task in 0..2 {
        assert_eq!(seen(&groups, task)?, seen(&pair, task)?, "task {task} of the pair");
    }
    assert_eq!(seen(&groups, 2)?, seen(&alone, 2)?);
    let owners = groups.topology.groups();
    assert_eq!((owners.len(), owners[0].1.len()), (4, LAYERS + 2), "the pair's encoder, and three heads or with them");
    assert!(groups.params.get(&format!("group.a+b/{}", Part::Words)).is_some());
    let findings = groups.sharing.findings()?;
    assert_eq!(findings, json!({ "groups": [["a", "b"], ["c"]] }));
    Ok(())
}

#[test]
fn a_partition_that_is_none_is_refused() -> Result<()> {
    for (section, because) in [
        (json!({ "partition": [["a", "b"]] }), "names 2 tasks, but the recipe has 3"),
        (json!({ "partition": [["a", "b"], ["c", "a"]] }), "`a` twice"),
        (json!({ "partition": [["a", "b", "c"], []] }), "without a task"),
        (json!({ "partition": [["a", "b"], ["d"]] }), "no task `d`"),
        (json!({ "warmup_steps": 0 }), "at least one step"),
        (json!({ "partition": "a" }), "expected a sequence"),
    ] {
        let refusal = build("groups", &section, &tiny(5), 3, DType::F32).err().context("it was taken")?;
        assert!(format!("{refusal:#}").contains(because), "{section}: {refusal:#}");
    }
    let entry = mtl_sharing::find("groups")?;
    assert!(!(entry.shares_with)(&json!({ "partition": [["a"], ["b"]] }))?);
    assert!((entry.shares_with)(&json!({ "partition": [["a", "c"], ["b"]] }))?);
    Ok(())
}
