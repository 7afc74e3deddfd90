//! What a structure that is chosen by races does to parameters and moments, through the door that whoever trains uses.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::DType;
use mtl_backbone::Part;
use mtl_nash::Gram;
use mtl_sharing::{Budget, Change, Model, Moments, Race, Standings, StepView};
use mtl_task::{Progress, TaskId};
use serde_json::{Value, json};
use support::{LAYERS, Scores, answers, build, tiny, train, values};

/// Writes down what is asked of it.
#[derive(Default)]
struct Recorded {
    forks: Vec<(String, String)>,
    scales: BTreeMap<String, (f64, f64)>,
    merges: BTreeMap<String, Vec<(String, f64)>>,
    dropped: Vec<String>,
}

impl Moments for Recorded {
    fn fork(&mut self, from: &str, to: &str) {
        self.forks.push((from.to_string(), to.to_string()));
    }

    fn scale(&mut self, name: &str, first: f64, second: f64) {
        self.scales.insert(name.to_string(), (first, second));
    }

    fn merge(&mut self, into: &str, parts: &[(&str, f64)]) {
        let parts = parts.iter().map(|(name, share)| ((*name).to_string(), *share)).collect();
        self.merges.insert(into.to_string(), parts);
    }

    fn drop(&mut self, name: &str) {
        self.dropped.push(name.to_string());
    }
}

fn budget(steps: usize) -> Budget {
    Budget { of: 20, steps, charged: 0, per_step: 90., epochs: vec![9., 2., 2.], held_out: vec![4; 3] }
}

fn model(section: Value) -> Result<Model> {
    let mut model = build("adaptive", &section, &tiny(5), 3, DType::F64)?;
    train(&mut model, 2, 0.02)?;
    // What those steps planned had nothing to score on.
    let fresh = build("adaptive", &section, &tiny(5), 3, DType::F64)?.sharing.state()?;
    model.sharing.restore(&fresh, 0)?;
    Ok(model)
}

/// Lets the strategy see `steps` steps in which task c pulls against the others.
fn watch(model: &mut Model, steps: usize) -> Result<Vec<Value>> {
    let gram = Gram::of_rows(&[[3., 1.], [0., 4.], [0., -1.]]);
    let shared = model.shared();
    let grams: BTreeMap<String, Gram> = shared.into_iter().map(|name| (name, gram.clone())).collect();
    let (tasks, mut moments, mut events) = ([TaskId(0), TaskId(1), TaskId(2)], Recorded::default(), Vec::new());
    for step in 0..steps {
        let Model { params, topology, sharing, heads, .. } = model;
        let (mut budget, mut held_out) = (budget(step + 1), Scores(heads));
        let mut view = StepView {
            tasks: &tasks,
            grams: &grams,
            tables: &[],
            progress: Progress { step, of: 20 },
            learning_rate: 0.1,
            budget: &mut budget,
            events: &mut events,
            held_out: &mut held_out,
        };
        sharing.adapt(&mut Change::new(params, topology, &mut moments), &mut view)?;
    }
    Ok(events)
}

fn due(model: &mut Model, steps: usize) -> Result<Race> {
    let racing = model.sharing.racing().context("no races")?;
    racing.due(&budget(steps))?.with_context(|| format!("no race after {steps} steps"))
}

/// Makes the model `arm` of `race`; what was asked of the moments.
fn set_off(model: &mut Model, race: &Race, arm: usize) -> Result<Recorded> {
    let (Model { params, topology, sharing, heads, .. }, mut moments) = (model, Recorded::default());
    let racing = sharing.racing().context("no races")?;
    racing.set_off(race, arm, &mut Change::new(params, topology, &mut moments), &mut Scores(heads))?;
    Ok(moments)
}

#[test]
fn a_split_changes_no_function_and_gives_each_side_its_share_of_both_moments() -> Result<()> {
    let mut model = model(json!({ "start": "together" }))?;
    watch(&mut model, 1)?;
    assert!(model.sharing.reads_grams() && model.sharing.reads_tables());
    watch(&mut model, 3)?;
    assert!(!model.sharing.reads_tables(), "the warm-up is over");
    let race = due(&mut model, 3)?;
    let names: Vec<&str> = race.arms.iter().map(|arm| arm.name.as_str()).collect();
    assert_eq!(names[..2], ["as it is", "split off c from words up, tied"]);
    assert_eq!((names.len(), race.held_out >= 2), (3, true), "{race:?}");

    let before = answers(&model)?;
    let moments = set_off(&mut model, &race, 1)?;
    assert_eq!(answers(&model)?, before, "a split changes no function");
    let parts: Vec<String> = Part::all(LAYERS).map(|part| part.to_string()).collect();
    assert_eq!(moments.forks.len(), 2 * parts.len());
    // The sum of all is (3, 4), that of a and b (3, 5), that of c (0, −1).
    for part in &parts {
        let (first, second) = moments.scales[&format!("group.a+b/{part}")];
        assert!(first == 1. && (second - 34. / 25.).abs() < 1e-12, "{part}: {first} {second}");
        let (first, second) = moments.scales[&format!("task.c/{part}")];
        assert!((first - 1. / 25.).abs() < 1e-12 && first == second, "{part}: {first} {second}");
        assert!(moments.dropped.contains(&format!("shared/{part}")));
    }
    let owners: Vec<usize> = model.topology.groups().iter().map(|(tasks, _)| tasks.len()).collect();
    assert_eq!(owners, [2, 1, 1, 1], "the pair's encoder, that of c with its head, and two heads");
    assert!(model.sharing.penalty()?.is_some_and(|penalty| penalty.to_scalar::<f64>().is_ok_and(|value| value == 0.)));
    Ok(())
}

#[test]
fn a_join_begins_where_its_tasks_do_best_with_the_sum_of_the_moments() -> Result<()> {
    let tied = json!({ "start": [["a", "b"], ["c"]], "start_tied": true });
    let mut model = model(tied)?;
    watch(&mut model, 3)?;
    let race = due(&mut model, 3)?;
    let at = race.arms.iter().position(|arm| arm.name.starts_with("join")).context("no join")?;
    let (first, second) = (values(&model, "group.a+b/words")?, values(&model, "task.c/words")?);
    assert_ne!(first, second, "they were trained apart");
    let moments = set_off(&mut model, &race, at)?;
    let merged = &moments.merges["shared/words"];
    assert_eq!(*merged, [("group.a+b/words".to_string(), 1.), ("task.c/words".to_string(), 1.)]);
    let found = values(&model, "shared/words")?;
    let on_line = |mix: f64| {
        let near = |((a, b), found): ((&f64, &f64), &f64)| ((1. - mix) * a + mix * b - found).abs() < 1e-12;
        first.iter().zip(&second).zip(&found).all(near)
    };
    assert!([0., 0.25, 0.5, 0.75, 1.].into_iter().any(on_line), "a point of the line between the two");
    Ok(())
}

#[test]
fn a_winner_is_better_than_what_is_and_nothing_else() -> Result<()> {
    let mut model = model(json!({ "start": "together" }))?;
    watch(&mut model, 3)?;
    let race = due(&mut model, 3)?;
    let flat = |loss: f64| vec![(0..8).map(|at| loss + 0.01 * f64::from(at % 3)).collect::<Vec<f64>>(); 3];
    let noisy =
        |gain: f64| vec![(0..8).map(|at| 1. - gain + if at % 2 == 0 { 0.3 } else { -0.3 }).collect::<Vec<f64>>(); 3];
    let racing = model.sharing.racing().context("no races")?;
    let judged = |losses: Vec<(usize, Vec<Vec<f64>>)>, steps: usize| {
        racing.judge(&race, &Standings { steps, losses: losses.into_iter().collect() })
    };
    let last = race.steps();
    assert_eq!(judged(vec![(0, flat(1.)), (1, flat(1.2)), (2, flat(1.1))], last)?.keep, [0]);
    assert_eq!(judged(vec![(0, flat(1.)), (1, flat(0.9)), (2, flat(0.8))], last)?.keep, [2]);
    assert_eq!(judged(vec![(0, flat(1.)), (1, flat(1.)), (2, flat(1.))], last)?.keep, [0], "no evidence");
    assert_eq!(judged(vec![(1, flat(1.)), (2, flat(0.9))], last)?.keep, [2], "what is diverged");
    assert!(judged(Vec::new(), last).is_err());
    if race.looks.len() > 1 {
        assert_eq!(judged(vec![(0, flat(1.)), (1, flat(1.2)), (2, flat(1.1))], 1)?.keep, [0, 2]);
    }
    let ruling = judged(vec![(0, flat(1.)), (1, noisy(0.1)), (2, noisy(0.))], last)?;
    let figures = &ruling.record["arms"][0]["tasks"]["a"];
    let of = |key: &str| figures[key].as_f64().expect("a number");
    assert!((of("mean") - 0.11).abs() < 0.02 && of("error") > 0.09 && of("expected") < of("mean"), "{figures}");
    Ok(())
}

#[test]
fn a_race_that_nothing_can_enter_is_passed_over_and_a_bound_is_kept() -> Result<()> {
    let mut bounded = model(json!({ "start": "together", "most_encoders": 1.4 }))?;
    watch(&mut bounded, 3)?;
    let race = due(&mut bounded, 3)?;
    assert!(
        race.arms.iter().skip(1).all(|arm| arm.name.contains("from upper up")),
        "a layer is less than 0.4, and two are more: {race:?}"
    );
    let mut one = model(json!({ "start": "together", "most_encoders": 1.0 }))?;
    let events = watch(&mut one, 3)?;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["race"], &events[0]["winner"]), (&json!(1), &Value::Null));
    assert!(one.sharing.racing().context("no races")?.due(&budget(3))?.is_none());
    Ok(())
}
