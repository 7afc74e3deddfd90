//! A made-up comparison: four arms, four tasks, five seeds, a broken run, and names and texts that try to get out.

use mtl_eval::comparison::{
    ArmResult, ArmSpec, ArmTask, Comparison, Contrast, Curve, Headroom, LeftOut, Point, Sampled, Shown, TaskFacts,
};
use mtl_eval::stats::{Interval, cohens_dz, friedman, holm, mcnemar, nemenyi, paired_t, wilcoxon};
use mtl_eval::transfer::{Gain, Moment, overfitting};

/// The baseline's name.
pub(crate) const BASELINE: &str = "single";
/// The arms' names, the baseline first.
pub(crate) const ARMS: [&str; 4] = [BASELINE, "hard+nash", "=soft & cross_stitch $x$ 50%", "hard+nash shuffled"];
/// The tasks' names.
pub(crate) const TASKS: [&str; 4] =
    ["sst2", "mrpc_50%", "감정 <script>alert(1)</script>", "stsb \"quoted\" & 'single'"];
/// A text as a hostile dataset may hold it.
pub(crate) const TEXT: &str =
    "He said \"50% & $5_000\" </p><script>alert('x')</script> | 한국어 문장 ![a](http://evil.example/x.png)";
const SEEDS: usize = 5;
const LEVEL: f64 = 0.05;

/// The whole of it.
pub(crate) fn comparison() -> Comparison {
    let arms: Vec<ArmResult> = (0..ARMS.len()).map(arm).collect();
    let mean = |arm: &ArmResult, task: usize| arm.tasks[task].mean.expect("a mean");
    let blocks: Vec<Vec<f64>> = (0..TASKS.len()).map(|task| arms.iter().map(|arm| mean(arm, task)).collect()).collect();
    let ranks = nemenyi(&blocks, LEVEL).expect("finite").expect("four arms");
    let mut arms = arms;
    arms.iter_mut().zip(&ranks.mean_ranks).for_each(|(arm, &rank)| arm.mean_rank = Some(rank));
    Comparison {
        name: "Sharing & weighting <b>on</b> small encoders_1".into(),
        about: "Does bargaining help over one model per task, at equal budgets?".into(),
        pilot: None,
        baseline: BASELINE.into(),
        tasks: (0..TASKS.len()).map(facts).collect(),
        seeds: (1..=SEEDS as u64).collect(),
        sampled: Sampled::Both,
        common: vec![1, 2, 3, 5],
        headroom: (0..TASKS.len()).map(headroom).collect(),
        arms,
        contrasts: vec![Contrast {
            arm: ARMS[1].into(),
            against: ARMS[2].into(),
            headline: Interval::of_mean(&[0.01, 0.03, 0.02], 1. - LEVEL).expect("three values"),
            tasks: Default::default(),
        }],
        friedman: Some(friedman(&blocks).expect("finite")),
        nemenyi: Some(ranks),
        lower_is_better: ["mae".to_string()].into(),
        level: LEVEL,
        test_opened_at: Some("2026-01-02T03:04:05Z".into()),
        provenance: [("commit", "abcdef0"), ("device", "CPU, 2 threads"), ("command", "compare quick --set 'a=<b>'")]
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .into(),
        warnings: vec!["Task `mrpc_50%` has 12 duplicates across splits <i>by text</i>.".into()],
    }
}

/// The same as a pilot of two arms and one seed with sealed tests and nothing measured on the side.
pub(crate) fn sparse() -> Comparison {
    let mut sparse = comparison();
    sparse.pilot = Some("fewer than 300 steps a task".into());
    sparse.test_opened_at = None;
    sparse.seeds.truncate(1);
    sparse.arms.truncate(2);
    (sparse.friedman, sparse.nemenyi) = (None, None);
    sparse.warnings.clear();
    sparse.headroom.clear();
    for arm in &mut sparse.arms {
        (arm.finished, arm.weights, arm.cosines) = (1, Vec::new(), Vec::new());
        (arm.gain_per_task, arm.gain_per_metric, arm.effect) = (None, None, None);
        (arm.headline, arm.gain_headline, arm.corrected_p) = (None, None, None);
        arm.pairs.truncate(1);
        arm.left_out.clear();
        (arm.loss_volatility, arm.weight_volatility, arm.latency_ms, arm.negative_share) = (None, None, None, None);
        arm.tests.clear();
        arm.broken.clear();
        for task in &mut arm.tasks {
            task.scores.truncate(1);
            task.seed_metrics.values_mut().for_each(|values| values.truncate(1));
            (task.deviation, task.transfer, task.corrected_p, task.mcnemar) = (None, None, None, None);
            (task.gap, task.overfitting) = (None, None);
            (task.dev_curve, task.train_curve, task.loss_curve) = Default::default();
            task.won.clear();
            task.lost.clear();
        }
    }
    sparse
}

/// Nine arms on eight tasks, with long names: what a page has to make room for.
pub(crate) fn crowded() -> Comparison {
    let mut crowded = comparison();
    let again = |name: &str| format!("{name}, once more with a long name");
    for index in 0..TASKS.len() {
        let task = crowded.tasks[index].clone();
        crowded.tasks.push(TaskFacts { name: again(&task.name), ..task });
    }
    for arm in &mut crowded.arms {
        arm.tasks.extend(arm.tasks.clone());
        arm.weights.extend(arm.weights.clone());
        arm.cosines.iter_mut().for_each(|row| row.extend(row.clone()));
        arm.cosines.extend(arm.cosines.clone());
    }
    for index in 4..9 {
        let mut arm = crowded.arms[1 + index % 2].clone();
        arm.arm.name = if index == 8 { again(&arm.arm.name) } else { format!("{}-{index}", arm.arm.name) };
        let shift = (index as f64 - 6.) / 1000.;
        for task in &mut arm.tasks {
            task.mean = task.mean.map(|mean| mean + shift);
            task.dev_curve.0.iter_mut().for_each(|point| point.value += shift);
        }
        arm.gains[0].percent = arm.gains[0].percent.map(|percent| percent + 40. * shift);
        arm.parameters = arm.parameters * index / 6;
        crowded.arms.push(arm);
    }
    let scores = |task: usize| crowded.arms.iter().map(|arm| arm.tasks[task].mean.expect("a mean")).collect();
    let blocks: Vec<Vec<f64>> = (0..crowded.tasks.len()).map(scores).collect();
    crowded.friedman = Some(friedman(&blocks).expect("finite"));
    crowded.nemenyi = nemenyi(&blocks, LEVEL).expect("finite");
    crowded
}

fn facts(task: usize) -> TaskFacts {
    TaskFacts {
        name: TASKS[task].into(),
        kind: ["classification", "classification", "multilabel", "regression"][task].into(),
        headline: ["accuracy", "macro-f1", "macro-f1", "pearson"][task].into(),
        sizes: [67349, 872, 1821].map(|size| size / (task + 1)),
        trivial: [0.51, 0.41, 0.2, 0.][task],
        ceiling: (task == 0).then_some(0.97),
    }
}

fn headroom(task: usize) -> Headroom {
    Headroom {
        task: TASKS[task].into(),
        baseline: [0.90, 0.80, 0.62, 0.85][task],
        room: Some([0.07, 0.02, 0.004, 0.03][task]),
        by: (task > 0).then(|| ARMS[1].to_string()),
        detectable: Some([0.01, 0.025]),
    }
}

/// Made-up noise in [−1, 1], the same each time.
fn noise(a: usize, b: usize, c: usize) -> f64 {
    ((a * 37 + b * 101 + c * 17 + 5) as f64 * 12.9898).sin()
}

fn scores(arm: usize, task: usize) -> Vec<Option<f64>> {
    let level = [0.90, 0.80, 0.62, 0.85][task] + [0., 0.012, -0.004, -0.03][arm] * (1. + task as f64 / 2.);
    let broken = |seed: usize| arm == 2 && seed == 3;
    (0..SEEDS).map(|seed| (!broken(seed)).then(|| level + 0.006 * noise(arm, task, seed))).collect()
}

fn interval(estimate: f64, half: f64) -> Interval {
    let standard_error = half / 2.5;
    let p = (1.5 * (-(estimate / standard_error).powi(2) / 2.).exp()).min(1.);
    let (low, high) = (estimate - half, estimate + half);
    Interval { estimate, low, high, confidence: 0.95, standard_error, degrees: 6., p, examples: 872, seeds: SEEDS }
}

fn curve(of: impl Fn(f64) -> f64, points: usize) -> Curve {
    let point =
        |index: usize| Point { step: index * 600 / (points - 1), value: of(index as f64 / (points - 1) as f64) };
    Curve((0..points).map(point).collect())
}

fn arm_task(arm: usize, task: usize) -> ArmTask {
    let (scores, base) = (scores(arm, task), scores(0, task));
    let finished: Vec<f64> = scores.iter().copied().flatten().collect();
    let mean = finished.iter().sum::<f64>() / finished.len() as f64;
    let squares: f64 = finished.iter().map(|score| (score - mean).powi(2)).sum();
    let pairs: Vec<f64> = scores.iter().zip(&base).filter_map(|(a, b)| Some((*a)? - (*b)?)).collect();
    let gain = pairs.iter().sum::<f64>() / pairs.len() as f64;
    let start = [0.5, 0.4, 0.2, 0.1][task];
    let dev = |t: f64| start + (mean - start) * (1. - (-5. * t).exp()) - 0.02 * t * t * arm as f64 / 2.;
    let train = |t: f64| start + (mean + 0.06 - start) * (1. - (-5. * t).exp());
    let moments: Vec<Moment> =
        (0..13).map(|i| Moment { step: i * 50, train: train(i as f64 / 12.), dev: dev(i as f64 / 12.) }).collect();
    let turned = overfitting(&moments);
    let shown = |truth: &str, baseline: &str, arm: &str| Shown {
        text: TEXT.into(),
        truth: truth.into(),
        baseline: baseline.into(),
        arm: arm.into(),
    };
    let other = arm > 0;
    ArmTask {
        mean: Some(mean),
        deviation: Some((squares / (finished.len() - 1) as f64).sqrt()),
        transfer: other.then(|| interval(gain, 0.009)),
        corrected_p: None,
        mcnemar: (other && task < 2).then(|| mcnemar(40 + 10 * arm, 25)),
        metrics: [(facts(task).headline, mean), ("mse".to_string(), 1. - mean), ("accuracy".to_string(), mean)].into(),
        gap: turned.map(|turned| turned.gap),
        overfitting: turned,
        dev_curve: curve(dev, 13),
        train_curve: curve(train, 13),
        loss_curve: curve(|t| 0.7 * (-3. * t).exp() + 0.1 + 0.02 * noise(arm, task, (t * 200.) as usize), 200),
        seed_metrics: [(facts(task).headline, scores.clone()), ("mse".to_string(), scores.clone())].into(),
        won: if other { vec![shown("positive", "negative", "positive"); 2] } else { Vec::new() },
        lost: if other { vec![shown("<b>neutral</b>", "<b>neutral</b>", "negative")] } else { Vec::new() },
        scores,
    }
}

fn arm(index: usize) -> ArmResult {
    let mut tasks: Vec<ArmTask> = (0..TASKS.len()).map(|task| arm_task(index, task)).collect();
    let p: Vec<f64> = tasks.iter().filter_map(|task| task.transfer.as_ref().map(|found| found.p)).collect();
    for (task, p) in tasks.iter_mut().zip(holm(&p).expect("probabilities")) {
        task.corrected_p = Some(p);
    }
    let base: Vec<ArmTask> = (0..TASKS.len()).map(|task| arm_task(0, task)).collect();
    let difference = |seed: usize| {
        let of = |tasks: &[ArmTask]| tasks.iter().map(|task| task.scores[seed]).sum::<Option<f64>>();
        Some((of(&tasks)? - of(&base)?) / TASKS.len() as f64)
    };
    let differences: Vec<f64> = (0..SEEDS).filter_map(difference).collect();
    let mean_difference = differences.iter().sum::<f64>() / differences.len() as f64;
    let percent = |scale: f64| {
        let gain = |(mine, other): (&ArmTask, &ArmTask)| Some(mine.mean? / other.mean? - 1.);
        100. * scale * tasks.iter().zip(&base).filter_map(gain).sum::<f64>() / TASKS.len() as f64
    };
    let other = index > 0;
    let gain = |scale: f64| Gain { percent: Some(percent(scale)), over: 4, undefined: Vec::new() };
    let gains = [gain(1.), Gain { undefined: vec!["mrpc_50%/matthews".into()], ..gain(0.8) }];
    let (strategy, rule) = [("single", "single-task"), ("hard", "nash"), ("soft", "equal"), ("hard", "nash")][index];
    let weights = if rule == "nash" { 4 } else { 0 };
    let cosine = |a: usize, b: usize| if a == b { 1. } else { 0.9 * noise(a + b, a * b, index) };
    ArmResult {
        arm: ArmSpec {
            name: ARMS[index].into(),
            strategy: strategy.into(),
            rule: rule.into(),
            checkpoint: "minilm".into(),
            sampler: "proportional".into(),
            tuned: [("optimizer.rate".to_string(), "3e-5".to_string())].into(),
            control: (index == 3).then(|| "shuffled labels".into()),
            ..ArmSpec::default()
        },
        finished: if index == 2 { 4 } else { SEEDS },
        broken: if index == 2 {
            vec!["seed 4: loss of task `mrpc_50%` is NaN at step 211 <oops>".into()]
        } else {
            vec![]
        },
        diverged: if index == 1 { [(2, "the loss is NaN at step 7".to_string())].into() } else { Default::default() },
        pairs: (1..=SEEDS as u64).filter(|seed| index != 2 || *seed != 4).collect(),
        pilot: None,
        headline: other.then(|| interval(mean_difference, 0.004)),
        corrected_p: other.then(|| interval(mean_difference, 0.004).p),
        verdict: None,
        gain_headline: other.then(|| interval(percent(1.), 0.9)),
        gain_per_task: other.then(|| interval(percent(1.), 0.9)),
        gain_per_metric: other.then(|| interval(percent(0.8), 1.1)),
        gains,
        left_out: if other {
            vec![LeftOut { name: "mrpc_50%/matthews".into(), baseline: 0.01, difference: 0.15 }]
        } else {
            Vec::new()
        },
        mean_rank: None,
        negative_share: other.then_some(if index == 3 { 0.75 } else { 0. }),
        tests: if other {
            [paired_t(&differences), wilcoxon(&differences)].map(|test| test.expect("finite")).to_vec()
        } else {
            Vec::new()
        },
        effect: other.then(|| cohens_dz(&differences).expect("finite")),
        parameters: [90_852_864, 22_713_216, 91_100_000, 22_713_216][index],
        trainable: [90_852_864, 22_713_216, 91_100_000, 22_713_216][index],
        single_task_parameters: 90_852_864,
        stored_bytes: [363_411_456, 90_852_864, 364_400_000, 90_852_864][index],
        parameter_reduction: [0., 0.75, -0.0027, 0.75][index],
        seconds: [410.2, 398.7, 640.1, 399.0][index],
        cpu_seconds: [790., 780.5, 1251.3, 781.][index],
        tuning_cpu_seconds: 1200. + 100. * index as f64,
        tokens_per_second: [5120., 5011., 3050., 5000.][index],
        latency_ms: Some(4.2 + index as f64 / 10.),
        loss_volatility: Some(0.11 + 0.01 * index as f64),
        weight_volatility: (weights > 0).then_some(0.31),
        divergences: usize::from(index == 2),
        outcomes: if weights > 0 {
            [("agreed".to_string(), 2990), ("out-of-iterations".to_string(), 10)].into()
        } else {
            [].into()
        },
        weights: (0..weights)
            .map(|task| curve(|t| 1. + 0.4 * task as f64 * t + 0.1 * noise(task, index, (t * 600.) as usize), 601))
            .collect(),
        cosines: if index == 0 {
            Vec::new()
        } else {
            (0..4).map(|a| (0..4).map(|b| cosine(a.min(b), a.max(b))).collect()).collect()
        },
        tasks,
    }
}
