//! What every strategy keeps to, whatever it is: entered in the registry, tested here.

mod support;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use candle_core::DType;
use mtl_backbone::Pass;
use mtl_sharing::{Model, Owner, Role, STRATEGIES, Strategy};
use mtl_task::TaskId;
use serde_json::{Value, json};
use support::{HIDDEN, INTERMEDIATE, LAYERS, RunState, VOCABULARY};
use support::{answers, build, gradients, keep, texts, tiny, train, train_until};

/// Runs `test` on every strategy with its default section, for two tasks and for three.
fn for_every_strategy(test: impl Fn(&Strategy, Model) -> Result<()>) -> Result<()> {
    for_every_strategy_of(&[2, 3], test)
}

/// As [`for_every_strategy`], for so many `tasks`; training takes its time.
fn for_every_strategy_of(tasks: &[usize], test: impl Fn(&Strategy, Model) -> Result<()>) -> Result<()> {
    for entry in STRATEGIES {
        for &tasks in tasks {
            let place = || format!("strategy `{}`, {tasks} tasks", entry.name);
            let section = (entry.defaults)();
            (entry.check)(&section, tasks).with_context(place)?;
            test(entry, build(entry.name, &section, &tiny(5), tasks, DType::F32)?).with_context(place)?;
        }
    }
    Ok(())
}

fn every_task(model: &Model) -> Vec<TaskId> {
    (0..model.tasks.len()).map(TaskId).collect()
}

#[test]
fn heads_read_a_state_for_every_token() -> Result<()> {
    for_every_strategy(|_, model| {
        for task in every_task(&model) {
            for mut pass in [Pass::evaluation(), Pass::training(mtl_task::rng::Key::new(3))] {
                let states = model.sharing.represent(task, &texts(task), &mut pass)?;
                ensure!(states.dims() == [13, HIDDEN], "the states of task {} have shape {:?}", task.0, states.shape());
            }
        }
        Ok(())
    })
}

#[test]
fn every_trained_parameter_is_reached_and_gets_a_finite_gradient() -> Result<()> {
    for_every_strategy(|_, model| {
        let mut found = BTreeSet::new();
        for (task, (loss, row)) in gradients(&model, &every_task(&model))?.iter().enumerate() {
            ensure!(loss.is_finite(), "task {task} has loss {loss}");
            let reach = model.reach(TaskId(task));
            for (name, segment) in &row.0 {
                ensure!(reach.contains(name), "task {task} has a gradient for `{name}`, which it does not reach");
                ensure!(support::is_finite(segment), "task {task} has a gradient for `{name}` that is not finite");
                found.insert(name.clone());
            }
            for name in reach {
                ensure!(model.params.get(&name).is_some(), "task {task} reaches `{name}`, which is no parameter");
            }
        }
        let trained: BTreeSet<String> =
            model.params.iter().filter(|param| param.trainable()).map(|param| param.name().to_string()).collect();
        ensure!(
            found == trained,
            "gradients, but not trained, or the reverse: {:?}",
            found.symmetric_difference(&trained)
        );
        Ok(())
    })
}

#[test]
fn every_parameter_has_an_owner_and_a_name_of_its_own_in_files() -> Result<()> {
    for_every_strategy(|_, model| {
        for param in model.params.iter() {
            let owner = model.topology.owner_of(param.name());
            ensure!(owner.is_some() && param.name().contains('/'), "nobody owns `{}`", param.name());
            ensure!(
                param.trainable() == (owner != Some(&Owner::Frozen)),
                "`{}` is trained by its owners",
                param.name()
            );
            ensure!(model.topology.trained_by(param.name()).is_none_or(|tasks| !tasks.is_empty()));
        }
        let owned = model.topology.iter().all(|(name, _)| model.params.get(name).is_some());
        ensure!(owned, "the topology knows parameters that the model lacks");
        let tensors = model.params.tensors()?;
        let names: BTreeSet<&String> = tensors.iter().map(|(name, _)| name).collect();
        ensure!(names.len() == tensors.len(), "two tensors of a checkpoint have one name");
        Ok(())
    })
}

#[test]
fn every_parameter_has_a_role_that_the_entry_declares() -> Result<()> {
    for_every_strategy(|entry, model| {
        let heads: BTreeSet<String> = every_task(&model).into_iter().flat_map(|task| model.head(task)).collect();
        for (name, owner) in model.topology.iter().filter(|(_, owner)| **owner != Owner::Frozen) {
            let role = model.topology.role_of(name);
            ensure!(entry.rates.of(role).is_some(), "`{name}`, of {owner:?}, is {role}, which the entry lacks");
            ensure!((role == Role::Head) == heads.contains(name), "`{name}` is {role}");
            // Whatever is as the checkpoint has it is the encoder's.
            let pretrained = mtl_backbone::Part::all(LAYERS).any(|part| name.ends_with(&format!("/{part}")));
            ensure!(!pretrained || role == Role::Encoder, "`{name}` is {role}");
        }
        Ok(())
    })
}

#[test]
fn options_add_parameters_of_the_declared_roles() -> Result<()> {
    let found = |name: &str, section: Value| -> Result<BTreeSet<Role>> {
        let model = build(name, &section, &tiny(5), 2, DType::F32)?;
        let trained = model.topology.iter().filter(|(_, owner)| **owner != Owner::Frozen);
        Ok(trained.map(|(name, _)| model.topology.role_of(name)).collect())
    };
    use Role::{Added, Encoder, Head, Mixing};
    for (name, section, expected) in [
        ("hard", json!({}), vec![Encoder, Head]),
        ("hard", json!({ "private_norms": true, "mix": true }), vec![Encoder, Head, Added, Mixing]),
        ("lora", json!({}), vec![Head, Added]),
        ("lora", json!({ "train_base": true }), vec![Encoder, Head, Added]),
        ("cross-stitch", json!({}), vec![Encoder, Head, Mixing]),
        ("cross-stitch", json!({ "frozen": true }), vec![Encoder, Head]),
        ("hierarchical", json!({ "labels": true, "mix": true }), vec![Encoder, Head, Added, Mixing]),
        ("mmoe", json!({}), vec![Encoder, Head, Mixing]),
        ("tensor", json!({}), vec![Encoder, Head, Added, Mixing]),
    ] {
        let (found, entry) = (found(name, section.clone())?, mtl_sharing::find(name)?);
        ensure!(found == expected.iter().copied().collect(), "{name} with {section}: {found:?}");
        ensure!(found.iter().all(|role| entry.rates.of(*role).is_some()), "{name} declares {}", entry.rates);
    }
    Ok(())
}

#[test]
fn the_entry_says_truly_whether_tasks_share() -> Result<()> {
    for_every_strategy(|entry, mut model| {
        let shared = model.shared();
        // Whose structure is chosen in training may begin with nothing shared.
        let may = model.sharing.racing().is_some();
        ensure!(
            if shared.is_empty() { !entry.shares || may } else { entry.shares },
            "the entry says shares = {}, shared are {shared:?}",
            entry.shares
        );
        Ok(())
    })
}

#[test]
fn the_parameter_count_is_the_formula_of_the_entry() -> Result<()> {
    for_every_strategy(|entry, model| {
        let encoder = tiny(5).count() as f64;
        let section = (entry.defaults)();
        let value_of = |name: &str| match name {
            "P" => Some(encoder),
            "K" => Some(model.tasks.len() as f64),
            "H" | "W" => Some(HIDDEN as f64),
            "L" => Some(LAYERS as f64),
            "I" => Some(INTERMEDIATE as f64),
            "V" => Some(VOCABULARY as f64),
            setting => match &section[setting] {
                Value::Bool(on) => Some(f64::from(u8::from(*on))),
                value => value.as_f64(),
            },
        };
        let formula = support::formula::evaluate(entry.cost, &value_of)?;
        let heads: usize = every_task(&model)
            .into_iter()
            .flat_map(|task| model.head(task))
            .map(|name| model.params.get(&name).map_or(0, |param| param.layout().len()))
            .sum();
        let found = (model.params.count() - heads) as f64;
        // A formula with a quotient speaks of what an integer rank can only come near to.
        let tolerance = if entry.cost.contains('/') { 0.01 * formula } else { 0. };
        ensure!((found - formula).abs() <= tolerance, "{found} parameters, but {} = {formula}", entry.cost);
        Ok(())
    })
}

#[test]
fn twenty_plain_steps_lower_the_loss() -> Result<()> {
    for_every_strategy_of(&[2], |entry, mut model| {
        let losses = train(&mut model, 20, 0.02)?;
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        ensure!(losses.iter().all(|loss| loss.is_finite()), "losses {losses:?}");
        ensure!(losses.len() < 5 || last < first, "the loss went from {first} to {last}");
        ensure!(
            model.sharing.findings()?.is_null() || model.sharing.findings()?.is_object(),
            "findings of {}",
            entry.name
        );
        Ok(())
    })
}

#[test]
fn a_loaded_model_answers_as_the_saved_one() -> Result<()> {
    for_every_strategy_of(&[2], |entry, mut model| {
        train(&mut model, 4, 0.02)?;
        let (tensors, state) = keep(&model)?;
        let phases = model.sharing.phases(4).len();
        // The weights come from the checkpoint; what the encoder starts from does not matter.
        let mut loaded = build(entry.name, &(entry.defaults)(), &tiny(6), model.tasks.len(), DType::F32)?;
        ensure!(answers(&loaded)? != answers(&model)?, "another encoder gives the same answers");
        loaded.params.assign(&tensors)?;
        loaded.sharing.restore(&state, phases)?;
        ensure!(answers(&loaded)? == answers(&model)?, "other answers after loading");
        ensure!(keep(&loaded)?.1.keys().eq(state.keys()), "another state after loading");
        ensure!(loaded.sharing.extra_bytes() == model.sharing.extra_bytes(), "other bytes after loading");
        Ok(())
    })
}

#[test]
fn tasks_answered_together_answer_as_each_alone() -> Result<()> {
    for_every_strategy_of(&[3], |_, mut model| {
        train(&mut model, 4, 0.02)?;
        for asked in [&[2, 0, 1][..], &[1, 1], &[0], &[]] {
            let (asked, texts) = (asked.iter().copied().map(TaskId).collect::<Vec<TaskId>>(), texts(TaskId(1)));
            let together = model.logits_each(&asked, &texts, &mut Pass::evaluation())?;
            ensure!(together.len() == asked.len(), "{} answers for {asked:?}", together.len());
            for (&task, together) in asked.iter().zip(&together) {
                let alone = model.logits(task, &texts, &mut Pass::evaluation())?;
                ensure!(together.to_vec2::<f32>()? == alone.to_vec2::<f32>()?, "task {} of {asked:?}", task.0);
            }
        }
        Ok(())
    })
}

#[test]
fn an_interrupted_training_goes_on_with_the_same_bits() -> Result<()> {
    for_every_strategy_of(&[3], |entry, mut model| {
        let of: usize = model.sharing.phases(12).iter().map(|phase| phase.steps).sum();
        train(&mut model, 12, 0.02)?;
        let fresh = || build(entry.name, &(entry.defaults)(), &tiny(5), model.tasks.len(), DType::F32);
        let mut before = fresh()?;
        let (at, _) = train_until(&mut before, 12, 0.02, RunState::default(), of / 2)?;
        let (tensors, state) = keep(&before)?;
        let mut after = fresh()?;
        after.params.assign(&tensors)?;
        after.sharing.restore(&state, at.phase)?;
        train_until(&mut after, 12, 0.02, at, usize::MAX)?;
        ensure!(answers(&after)? == answers(&model)?, "other answers after an interruption at step {} of {of}", of / 2);
        Ok(())
    })
}

#[test]
fn the_same_seed_gives_the_same_bits() -> Result<()> {
    for_every_strategy_of(&[3], |entry, mut model| {
        train(&mut model, 4, 0.02)?;
        let mut again = build(entry.name, &(entry.defaults)(), &tiny(5), model.tasks.len(), DType::F32)?;
        train(&mut again, 4, 0.02)?;
        ensure!(answers(&again)? == answers(&model)?, "other answers in a second run");
        Ok(())
    })
}

#[test]
fn what_a_section_does_not_have_is_refused_by_name() -> Result<()> {
    for entry in STRATEGIES {
        let section = json!({ "no_such_key": 1 });
        let refusals = [(entry.check)(&section, 2).err(), build(entry.name, &section, &tiny(5), 2, DType::F32).err()];
        for refusal in refusals {
            let refusal = refusal.with_context(|| format!("`{}` takes any key", entry.name))?;
            ensure!(format!("{refusal:#}").contains("no_such_key"), "`{}`: {refusal:#}", entry.name);
        }
    }
    Ok(())
}
