//! Adaptive sharing without a race: its corners are other strategies bit for bit, and what no structure can be is refused.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::DType;
use mtl_sharing::Model;
use serde_json::{Value, json};
use support::{LAYERS, answers, build, tiny, train};

/// `strategy` of three tasks after six steps.
fn trained(strategy: &str, section: &Value) -> Result<Model> {
    let mut model = build(strategy, section, &tiny(5), 3, DType::F32)?;
    train(&mut model, 6, 0.02)?;
    Ok(model)
}

fn bits(model: &Model) -> Result<BTreeMap<String, Vec<f32>>> {
    let flat = |(name, tensor): (String, candle_core::Tensor)| Ok((name, tensor.flatten_all()?.to_vec1::<f32>()?));
    model.params.tensors()?.into_iter().map(flat).collect()
}

/// `start` without races and blend.
fn still(start: Value, more: &Value) -> Value {
    let mut section = json!({ "start": start, "races": [], "interpolation": 0.0, "warmup": 0.0 });
    for (key, value) in more.as_object().into_iter().flatten() {
        section[key] = value.clone();
    }
    section
}

#[test]
fn its_corners_are_other_strategies_bit_for_bit() -> Result<()> {
    let (one, singles, pair) = (json!([["a", "b", "c"]]), json!([["a"], ["b"], ["c"]]), json!([["b"], ["c", "a"]]));
    let (free, tied) = (json!({ "start_tied": false }), json!({ "start_tied": true }));
    let mut corners = vec![
        (still(json!([]), &free), "hard", json!({})),
        (still(one.clone(), &tied), "hard", json!({})),
        (still(json!("together"), &tied), "hard", json!({})),
        (still(json!("apart"), &free), "single", json!({})),
        (still(json!("apart"), &tied), "soft", json!({})),
        (still(json!("apart"), &json!({ "tie": 0.0, "start_tied": true })), "single", json!({})),
        (still(singles.clone(), &free), "single", json!({})),
        (still(singles.clone(), &tied), "soft", json!({})),
        (still(singles.clone(), &json!({ "start_tied": true, "tie": 0.7 })), "soft", json!({ "strength": 0.7 })),
        (still(pair.clone(), &free), "groups", json!({ "partition": pair })),
    ];
    for shared in 0..=LAYERS {
        let start = json!({ "words": one, "lower": one, "upper": singles });
        let section = still(start, &json!({ "lower_layers": shared, "start_tied": false }));
        corners.push((section, "hard", json!({ "private_layers": LAYERS - shared })));
    }
    for (section, other, other_section) in corners {
        let (found, same) = (trained("adaptive", &section)?, trained(other, &other_section)?);
        assert_eq!(bits(&found)?, bits(&same)?, "{section} and {other} {other_section}");
        assert_eq!(answers(&found)?, answers(&same)?, "{section} and {other} {other_section}");
        assert_eq!(found.topology.groups(), same.topology.groups(), "{section} and {other} {other_section}");
    }
    Ok(())
}

#[test]
fn tied_groups_are_pulled_together_band_by_band() -> Result<()> {
    let start = json!({ "words": [["a", "b", "c"]], "lower": [["a", "b"], ["c"]], "upper": [["a"], ["b"], ["c"]] });
    let (free, tied) = (trained("adaptive", &still(start.clone(), &json!({ "start_tied": false })))?, {
        trained("adaptive", &still(start, &json!({ "start_tied": true, "tie": 5.0 })))?
    });
    let apart = |model: &Model, one: &str, other: &str| -> Result<f64> {
        let (one, other) = (support::values(model, one)?, support::values(model, other)?);
        Ok(one.iter().zip(&other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt())
    };
    for (one, other) in [
        ("group.a+b/layer.0", "task.c/layer.0"),
        ("task.a/layer.2", "task.b/layer.2"),
        ("task.a/layer.2", "task.c/layer.2"),
    ] {
        let (loose, near) = (apart(&free, one, other)?, apart(&tied, one, other)?);
        assert!(near < loose && near > 0., "{one} and {other}: {near} {loose}");
    }
    let names: Vec<String> = tied.sharing.partitions().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["words", "lower", "upper"]);
    let partitions: Vec<usize> = tied.sharing.partitions().iter().map(|(_, groups)| groups.len()).collect();
    assert_eq!(partitions, [1, 2, 3]);
    let over_time = &tied.sharing.chronicle()?["structure over time"];
    assert_eq!(over_time["from step     0"], json!("words: a+b+c; lower: a+b ~ c; upper: a ~ b ~ c"));
    Ok(())
}

#[test]
fn what_no_structure_can_be_is_refused() -> Result<()> {
    for (section, because) in [
        (json!({ "start": [["a", "b"]] }), "names 2 tasks, but the recipe has 3"),
        (json!({ "start": [["a", "b"], ["a"]] }), "`a` twice"),
        (json!({ "start": [["a", "b", "c"], []] }), "without a task"),
        (json!({ "start": [["a", "b"], ["d"]] }), "no task `d`"),
        (json!({ "start": { "words": [["a"], ["b"], ["c"]] } }), "have to be so in the bands below"),
        (json!({ "start": { "depth": [] } }), "did not match"),
        (json!({ "races": [0.5, 0.3] }), "has to rise"),
        (json!({ "races": [0.05] }), "the warm-up lasts until 0.1"),
        (json!({ "races": [0.8] }), "begins at 0.85"),
        (json!({ "interpolation": 1.5 }), "lies in [0, 1]"),
        (json!({ "arms": 4 }), "has 2 or 3"),
        (json!({ "mixes": [0.5, 1.0] }), "rise from 0"),
        (json!({ "tie": -1.0 }), "a number from 0 on"),
        (json!({ "start": "odd" }), "did not match"),
        (json!({ "most_encoders": 2.0 }), "begins with 3 encoders"),
        (json!({ "most_encoders": 0.5 }), "one encoder is the least"),
        (json!({ "lower_layers": 7 }), "the encoder has 3 layers"),
        (json!({ "proposals": "odd" }), "unknown variant"),
    ] {
        let refusal = build("adaptive", &section, &tiny(5), 3, DType::F32).err().context("it was taken")?;
        assert!(format!("{refusal:#}").contains(because), "{section}: {refusal:#}");
    }
    let entry = mtl_sharing::find("adaptive")?;
    let singles = json!([["a"], ["b"], ["c"]]);
    assert!(!(entry.shares_with)(&still(singles.clone(), &json!({})))?);
    assert!((entry.shares_with)(&json!({ "start": singles }))?, "they may be joined");
    Ok(())
}
