//! An encoder, its parameters and a batch, run through either path.

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{
    Encoder, Family, Flat, GradientBlock, Implementation, ParameterView, Params, Part, Pass, Ports, Pretrained,
    TaskGradient, Wants, random,
};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed};
use serde_json::json;

/// Which gradients of a part are wanted.
pub(crate) type Wanted<'a> = &'a dyn Fn(Part) -> Wants;

pub(crate) fn all(_: Part) -> Wants {
    Wants::All
}

pub(crate) fn none(_: Part) -> Wants {
    Wants::None
}

/// An encoder of random weights, its parameters, and a batch of random ids.
pub(crate) struct Case {
    pub(crate) encoder: Family,
    pub(crate) params: Params,
    pub(crate) tokens: Packed,
}

#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) architecture: &'static str,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) width: usize,
    pub(crate) activation: &'static str,
}

pub(crate) const SMALL: Sizes =
    Sizes { architecture: "bert", layers: 2, hidden: 12, heads: 3, intermediate: 20, width: 12, activation: "gelu" };

impl Case {
    pub(crate) fn new(sizes: Sizes, lengths: &[usize], dropout: f64, dtype: DType) -> Result<Self> {
        Self::on_device(sizes, lengths, dropout, dtype, &Device::Cpu)
    }

    pub(crate) fn on_device(
        sizes: Sizes,
        lengths: &[usize],
        dropout: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let Sizes { architecture, layers, hidden, heads, intermediate, width, activation } = sizes;
        let config = json!({
            "vocab_size": 31, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": intermediate, "max_position_embeddings": 520, "type_vocab_size": 2,
            "embedding_size": width, "hidden_act": activation, "activation": activation, "initializer_range": 0.2,
            "dim": hidden, "n_layers": layers, "n_heads": heads, "hidden_dim": intermediate, "pad_token_id": 0,
        });
        let model: Pretrained =
            random(&Default::default(), architecture, &config, Key::new(5)).expect("a valid configuration");
        let mut params = Params::new(device, dtype);
        model.insert("shared", &mut params)?;
        let mut stream = Key::new(6).stream();
        let texts: Vec<Encoded> = lengths
            .iter()
            .map(|&length| Encoded {
                ids: (0..length).map(|_| stream.below(31) as u32).collect(),
                segments: (0..length).map(|at| u32::from(2 * at > length)).collect(),
                ..Encoded::default()
            })
            .collect();
        Ok(Self { encoder: model.encoder.with_dropout(dropout, dropout), params, tokens: Packed::new(&texts) })
    }

    pub(crate) fn view(&self, part: Part, wants: Wanted, pass: &mut Pass) -> Result<ParameterView> {
        pass.view_wanting(self.params.get(&format!("shared/{part}")).expect("inserted"), wants(part))
    }

    pub(crate) fn states(&self, encoder: &Family, wants: Wanted, ports: &Ports, pass: &mut Pass) -> Result<Tensor> {
        let words = encoder.words(&self.view(Part::Words, wants, pass)?, &self.tokens, pass)?;
        let mut x = encoder.embed(&self.view(Part::Embeddings, wants, pass)?, &words, &self.tokens, pass)?;
        for index in 0..encoder.layers() {
            x = encoder.layer(&self.view(Part::Layer(index), wants, pass)?, &x, &self.tokens, ports, pass)?;
        }
        Ok(x)
    }

    /// The states, and the gradient of their inner product with a fixed random matrix.
    pub(crate) fn run(&self, encoder: &Family, wants: Wanted, ports: &Ports) -> Result<(Flat, TaskGradient)> {
        let mut pass = Pass::training(Key::new(11));
        let states = self.states(encoder, wants, ports, &mut pass)?;
        let loss = project(&states)?;
        Ok((Flat::of(&states)?, pass.backward(&loss, &self.params)?))
    }

    pub(crate) fn on(&self, path: Implementation) -> Family {
        self.encoder.clone().with_path(path)
    }

    /// Both paths give the same states and the same gradients.
    pub(crate) fn agrees(&self, name: &str, wants: Wanted, ports: &Ports, tolerance: f64) -> Result<()> {
        let (states, row) = self.run(&self.on(Implementation::Auto), wants, ports)?;
        let (expected, reference) = self.run(&self.on(Implementation::Reference), wants, ports)?;
        near(&format!("{name}: states"), &states, &expected, tolerance);
        rows_agree(name, &row, &reference, tolerance);
        Ok(())
    }
}

pub(crate) fn project(states: &Tensor) -> Result<Tensor> {
    let mut stream = Key::new(9).stream();
    let weights: Vec<f64> = (0..states.elem_count()).map(|_| stream.normal()).collect();
    (states * Tensor::from_vec(weights, states.shape(), states.device())?.to_dtype(states.dtype())?)?.sum_all()
}

/// Every element within `tolerance` of the largest one.
pub(crate) fn near(name: &str, found: &Flat, expected: &Flat, tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let size = (0..expected.len()).fold(1., |size: f64, at| size.max(expected.at(at).abs()));
    for at in 0..found.len() {
        let off = (found.at(at) - expected.at(at)).abs();
        assert!(off <= tolerance * size, "{name}, element {at}: {}, expected {}", found.at(at), expected.at(at));
    }
}

pub(crate) fn rows_agree(name: &str, row: &TaskGradient, reference: &TaskGradient, tolerance: f64) {
    assert_eq!(row.0.keys().collect::<Vec<_>>(), reference.0.keys().collect::<Vec<_>>(), "{name}");
    for (param, segment) in &row.0 {
        if let (GradientBlock::Rows(found), GradientBlock::Rows(expected)) = (segment, &reference.0[param]) {
            assert_eq!(found.ids, expected.ids, "{name}: rows of {param}");
        }
        near(&format!("{name}: {param}"), segment.values(), reference.0[param].values(), tolerance);
    }
}
