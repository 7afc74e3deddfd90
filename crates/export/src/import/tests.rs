use serde_json::json;

use super::*;

fn import(problem: Problem, labels: &[&str]) -> Import {
    let mut last = LinearMap::zeros(labels.len(), 2);
    last.rows_mut().enumerate().for_each(|(at, row)| row.fill(at as f32));
    last.bias.data.iter_mut().enumerate().for_each(|(at, value)| *value = 10. * at as f32);
    Import {
        folder: "somewhere".into(),
        architecture: "bert".into(),
        problem,
        labels: labels.iter().map(ToString::to_string).collect(),
        head: plain(Some(Pooling::Cls), HeadActivation::Tanh, 0.1, vec![last]),
        max_tokens: 16,
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn outputs_take_the_order_of_the_tasks_labels() -> Result<()> {
    let found = import(Problem::OneLabel, &["red", "green", "blue"]);
    let maps = found.maps(&names(&["blue", "green", "red"]), None)?;
    assert_eq!(maps[0].bias.data, [20., 10., 0.]);
    assert_eq!(maps[0].weight.data, [2., 2., 1., 1., 0., 0.]);
    for labels in [&["blue", "green"][..], &["blue", "green", "black"]] {
        let error = found.maps(&names(labels), None).expect_err("other labels").to_string();
        assert!(error.contains("`red`, `green`, `blue`") && error.contains("--labels"), "{error}");
    }
    assert!(found.clone().with_labels(names(&["a"])).is_err());
    assert_eq!(found.with_labels(names(&["a", "b", "c"]))?.labels, ["a", "b", "c"]);
    Ok(())
}

#[test]
fn values_are_standardised_as_the_task_standardises_its_targets() -> Result<()> {
    let mut found = import(Problem::Regression, &["LABEL_0"]);
    found.head.maps[0].weight.data.fill(6.);
    found.head.maps[0].bias.data.fill(50.);
    let maps = found.maps(&[], Some(Scale { mean: 40., deviation: 2. }))?;
    assert_eq!((maps[0].weight.data.as_slice(), maps[0].bias.data.as_slice()), (&[3., 3.][..], &[5.][..]));
    Ok(())
}

#[test]
fn what_logits_mean_is_stated_or_follows_the_rule_of_transformers() -> Result<()> {
    assert_eq!(problem(&json!({}), Reads::Text, 1)?, Problem::Regression);
    assert_eq!(problem(&json!({ "problem_type": null }), Reads::Text, 2)?, Problem::OneLabel);
    let stated = |name: &str| json!({ "problem_type": name });
    assert_eq!(problem(&stated("multi_label_classification"), Reads::Text, 2)?, Problem::ManyLabels);
    assert_eq!(problem(&stated("regression"), Reads::Tokens, 2)?, Problem::Tokens);
    assert!(problem(&stated("regression"), Reads::Text, 2).is_err());
    assert!(problem(&stated("ranking"), Reads::Text, 2).is_err());
    let found = import(Problem::Regression, &["LABEL_0"]);
    assert!(found.check("regression", &Label::Value(0.)).is_ok());
    let error = found.check("tagging", &Label::Tags(Vec::new())).expect_err("another kind").to_string();
    assert!(error.contains("regression") && error.contains("`tagging`"), "{error}");
    Ok(())
}

#[test]
fn labels_are_read_by_their_numbers() -> Result<()> {
    let config = json!({ "id2label": { "10": "k", "1": "b", "0": "a", "2": "c" } });
    assert!(labels(&config, 4).is_err(), "there is no output 10");
    let config = json!({ "id2label": { "1": "b", "0": "a" } });
    assert_eq!(labels(&config, 2)?, ["a", "b"]);
    assert!(labels(&config, 3).is_err());
    assert_eq!(labels(&json!({}), 2)?, ["LABEL_0", "LABEL_1"]);
    Ok(())
}
