//! The fused path against the reference path: same answers, same gradients through the same dropout masks, whatever
//! the shapes, what is wanted, and what reaches into a layer.

mod case;
#[path = "../device/mod.rs"]
mod device;
mod rounding;

use candle_core::{DType, Device, Result, Tensor, Var};
use mtl_backbone::{Encoder, Flat, Implementation, ParameterView, Part, Pass, Ports, Prefix, TaskGradient, Wants};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed};

use case::{Case, SMALL, Sizes, all, near, none, project, rows_agree};

#[test]
fn both_paths_agree_over_many_shapes_with_dropout() -> Result<()> {
    let wide = Sizes { layers: 1, hidden: 37, heads: 1, intermediate: 53, width: 37, ..SMALL };
    let cases: [(&str, Sizes, &[usize]); 11] = [
        ("one token", SMALL, &[1]),
        ("one sequence", SMALL, &[9]),
        ("empty but for one token", SMALL, &[1, 1, 1]),
        ("ragged", SMALL, &[5, 1, 33, 2, 17]),
        ("of one length", SMALL, &[7, 7, 7]),
        ("odd width", wide, &[3, 40]),
        ("512 tokens", Sizes { layers: 1, hidden: 6, heads: 2, intermediate: 8, width: 6, ..SMALL }, &[512, 3]),
        ("roberta", Sizes { architecture: "roberta", activation: "gelu_new", ..SMALL }, &[4, 6]),
        ("distilbert", Sizes { architecture: "distilbert", activation: "relu", ..SMALL }, &[4, 6]),
        ("electra", Sizes { architecture: "electra", width: 5, ..SMALL }, &[4, 6]),
        ("silu", Sizes { activation: "silu", ..SMALL }, &[4, 6]),
    ];
    for (name, sizes, lengths) in cases {
        for dropout in [0., 0.3] {
            let case = Case::new(sizes, lengths, dropout, DType::F64)?;
            case.agrees(&format!("{name}, dropout {dropout}"), &all, &Ports::default(), 1e-9)?;
        }
    }
    let mut stream = Key::new(21).stream();
    for round in 0..12 {
        let heads = 1 + stream.below(4);
        let hidden = heads * (1 + stream.below(9));
        let sizes = Sizes { layers: 1, hidden, heads, intermediate: 1 + stream.below(40), width: hidden, ..SMALL };
        let lengths: Vec<usize> = (0..1 + stream.below(5)).map(|_| 1 + stream.below(30)).collect();
        let case = Case::new(sizes, &lengths, 0.2, DType::F64)?;
        case.agrees(&format!("random shape {round}"), &all, &Ports::default(), 1e-9)?;
    }
    Ok(())
}

#[test]
fn both_paths_agree_in_single_precision() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 33, 2, 17], 0.1, DType::F32)?;
    case.agrees("f32", &all, &Ports::default(), 1e-4)
}

#[test]
fn padding_is_never_attended_to() -> Result<()> {
    let mut case = Case::new(SMALL, &[], 0.2, DType::F64)?;
    let text = |ids: &[u32]| Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoded::default() };
    case.tokens = Packed::padded([&text(&[1, 5, 7, 2]), &text(&[1]), &text(&[1, 2])], 0);
    case.agrees("padded", &all, &Ports::default(), 1e-9)
}

#[test]
fn an_empty_batch_gives_no_states_and_no_gradient() -> Result<()> {
    let case = Case::new(SMALL, &[], 0.2, DType::F32)?;
    let (states, row) = case.run(&case.on(Implementation::Auto), &all, &Ports::default())?;
    assert!(states.is_empty());
    for (name, segment) in &row.0 {
        let values = segment.values();
        assert!((0..values.len()).all(|at| values.at(at) == 0.), "{name}");
    }
    Ok(())
}

#[test]
fn only_the_ranges_that_are_wanted_are_computed() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0.2, DType::F64)?;
    let (layout, closed) = (case.encoder.layout(Part::Layer(0)).clone(), Ports::default());
    let (_, whole) = case.run(&case.on(Implementation::Auto), &all, &Ports::default())?;
    for keep in ["bias", "LayerNorm", "query", "output.dense.weight"] {
        let wanted = |name: &str| name.contains(keep);
        let ranges = layout.entries().iter().filter(|entry| wanted(&entry.name)).map(|entry| entry.range.clone());
        let ranges = Wants::Ranges(ranges.collect());
        let wants = |part: Part| if matches!(part, Part::Layer(_)) { ranges.clone() } else { Wants::None };
        let (_, row) = case.run(&case.on(Implementation::Auto), &wants, &closed)?;
        rows_agree(keep, &row, &case.run(&case.on(Implementation::Reference), &wants, &closed)?.1, 1e-9);
        assert_eq!(row.0.keys().collect::<Vec<_>>(), ["shared/layer.0", "shared/layer.1"]);
        for (param, segment) in &row.0 {
            for entry in layout.entries() {
                for at in entry.range.clone() {
                    let expected = if wanted(&entry.name) { whole.0[param].values().at(at) } else { 0. };
                    assert_eq!(segment.values().at(at), expected, "{keep}: {} element {at}", entry.name);
                }
            }
        }
    }
    Ok(())
}

/// A two-layer bottleneck on the block's output, x + tanh(xA)B.
struct Bottleneck {
    down: Var,
    up: Var,
}

impl Bottleneck {
    fn new(hidden: usize, key: u64) -> Result<Self> {
        let mut stream = Key::new(key).stream();
        let mut matrix = |rows: usize, columns: usize| -> Result<Var> {
            let values: Vec<f64> = (0..rows * columns).map(|_| 0.3 * stream.normal()).collect();
            Var::from_vec(values, (rows, columns), &Device::Cpu)
        };
        Ok(Self { down: matrix(hidden, 4)?, up: matrix(4, hidden)? })
    }

    fn change(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.down)?.tanh()?.matmul(&self.up)
    }

    fn adapt(&self, x: &Tensor) -> Result<Tensor> {
        x + self.change(x)?
    }
}

#[test]
fn what_reaches_into_a_layer_gets_the_same_gradient_on_both_paths() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0.2, DType::F64)?;
    let (first, second, beside) = (Bottleneck::new(12, 1)?, Bottleneck::new(12, 2)?, Bottleneck::new(12, 3)?);
    let prefix = (Bottleneck::new(12, 4)?.up, Bottleneck::new(12, 5)?.up);
    let (adapt, adapt_second) = (|x: &Tensor| first.adapt(x), |x: &Tensor| second.adapt(x));
    let change = |x: &Tensor| beside.change(x);
    let keys = Prefix { keys: prefix.0.as_tensor().clone(), values: prefix.1.as_tensor().clone() };
    let closed = Ports::default();
    let cases = [
        ("bottleneck", Ports { after_attention: Some(&adapt), after_feed_forward: Some(&adapt_second), ..closed }),
        ("projected attention layer", Ports { beside: Some(&change), ..closed }),
        ("prefix", Ports { prefix: Some(&keys), ..closed }),
    ];
    let vars = [&first, &second, &beside].map(|own| [own.down.clone(), own.up.clone()]).concat();
    let vars: Vec<Var> = vars.into_iter().chain([prefix.0.clone(), prefix.1.clone()]).collect();
    for (name, ports) in cases {
        for wants in [all, none] {
            let run = |path: Implementation| -> Result<(Vec<Option<Flat>>, TaskGradient)> {
                let mut pass = Pass::training(Key::new(11));
                let loss = project(&case.states(&case.on(path), &wants, &ports, &mut pass)?)?;
                let gradients = loss.backward()?;
                let own = vars.iter().map(|var| gradients.get(var).map(Flat::of).transpose()).collect::<Result<_>>()?;
                let (_, row) = case.run(&case.on(path), &wants, &ports)?;
                Ok((own, row))
            };
            let ((own, row), (expected, reference)) = (run(Implementation::Auto)?, run(Implementation::Reference)?);
            assert!(own.iter().any(Option::is_some), "{name}: its variables are reached");
            for (found, expected) in own.iter().zip(&expected) {
                assert_eq!(found.is_some(), expected.is_some(), "{name}");
                if let (Some(found), Some(expected)) = (found, expected) {
                    near(name, found, expected, 1e-9);
                }
            }
            rows_agree(name, &row, &reference, 1e-9);
            assert_eq!(row.0.is_empty(), matches!(wants(Part::Words), Wants::None));
        }
    }
    Ok(())
}

#[test]
fn a_weight_that_is_an_expression_gets_the_same_gradient_on_both_paths() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0.2, DType::F64)?;
    let run = |path: Implementation| -> Result<TaskGradient> {
        let (encoder, mut pass) = (case.on(path), Pass::training(Key::new(11)));
        let view = |part: Part, pass: &mut Pass| -> Result<ParameterView> {
            let param = case.params.get(&format!("shared/{part}")).expect("inserted");
            pass.materialise(&(param.tensor() * 0.5)?, param.layout(), Wants::All)
        };
        let words = encoder.words(&view(Part::Words, &mut pass)?, &case.tokens, &mut pass)?;
        let mut x = encoder.embed(&view(Part::Embeddings, &mut pass)?, &words, &case.tokens, &mut pass)?;
        for index in 0..encoder.layers() {
            x = encoder.layer(&view(Part::Layer(index), &mut pass)?, &x, &case.tokens, &Ports::default(), &mut pass)?;
        }
        pass.backward(&project(&x)?, &case.params)
    };
    rows_agree("halved", &run(Implementation::Auto)?, &run(Implementation::Reference)?, 1e-9);
    Ok(())
}

#[test]
fn recomputing_changes_no_bit() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 70], 0.2, DType::F32)?;
    let bottleneck = |x: &Tensor| x * 1.5;
    for ports in [Ports::default(), Ports { after_feed_forward: Some(&bottleneck), ..Ports::default() }] {
        let saving = case.run(&case.on(Implementation::Auto), &all, &ports)?;
        let recomputing = case.run(&case.on(Implementation::Auto).with_recompute(true), &all, &ports)?;
        assert!(saving == recomputing);
    }
    Ok(())
}

#[test]
fn a_second_backward_through_one_graph_adds_the_same_gradient_again() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0.2, DType::F64)?;
    let (_, once) = case.run(&case.on(Implementation::Auto), &all, &Ports::default())?;
    let mut pass = Pass::training(Key::new(11));
    let loss = project(&case.states(&case.on(Implementation::Auto), &all, &Ports::default(), &mut pass)?)?;
    loss.backward()?;
    let twice = pass.backward(&loss, &case.params)?;
    let mut doubled = once.clone();
    doubled.add(once);
    rows_agree("twice", &twice, &doubled, 1e-12);
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<()> {
    let sizes = Sizes { layers: 2, hidden: 96, heads: 4, intermediate: 200, width: 96, ..SMALL };
    let case = Case::new(sizes, &[40, 1, 100, 7], 0.1, DType::F32)?;
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| case.run(&case.on(Implementation::Auto), &all, &Ports::default()))
    };
    let one = run(1)?;
    for threads in [2, 3] {
        assert!(run(threads)? == one, "other bits with {threads} threads");
    }
    Ok(())
}

#[test]
fn an_answer_is_that_of_a_training_pass_without_dropout() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0., DType::F32)?;
    let (states, _) = case.run(&case.on(Implementation::Auto), &all, &Ports::default())?;
    let ports = Ports::default();
    let answer = case.states(&case.on(Implementation::Auto), &all, &ports, &mut Pass::evaluation())?;
    assert!(!answer.track_op(), "an answer keeps no graph");
    assert_eq!(Flat::of(&answer)?, states);
    Ok(())
}

#[test]
fn what_cannot_be_computed_is_refused_with_the_reason() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0., DType::F32)?;
    let (encoder, mut pass) = (case.on(Implementation::Auto), Pass::training(Key::new(1)));
    let view = case.view(Part::Layer(0), &all, &mut pass)?;
    let x = Tensor::zeros((14, 12), DType::F32, &Device::Cpu)?;
    let mut refusal = |view: &ParameterView, x: &Tensor, tokens: &Packed| {
        encoder.layer(view, x, tokens, &Ports::default(), &mut pass).expect_err("a refusal").to_string()
    };
    let narrow = Tensor::zeros((14, 11), DType::F32, &Device::Cpu)?;
    assert!(refusal(&view, &narrow, &case.tokens).contains("[14, 12], found [14, 11]"));
    let mut hollow = case.tokens.clone();
    hollow.lengths[1] = 0;
    assert!(refusal(&view, &x, &hollow).contains("sequence 1 has 0 tokens"));
    let untracked = ParameterView { theta: view.theta.detach(), ..view.clone() };
    assert!(refusal(&untracked, &x, &case.tokens).contains("must hold θ as a variable"));
    let other = ParameterView { layout: case.encoder.layout(Part::Embeddings).clone(), ..view.clone() };
    assert!(refusal(&other, &x, &case.tokens).contains("parameters; its view lays out"));
    assert!(refusal(&view, &x.to_dtype(DType::F64)?, &case.tokens).contains("dtype"));
    Ok(())
}
