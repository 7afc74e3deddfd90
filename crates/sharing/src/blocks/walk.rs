//! Walking an encoder through the weights that a task sees.

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, ParameterView, Params, Part, Pass, Ports};
use mtl_task::Packed;

use crate::{BuildContext, Role, Scope};

/// The parameters of one whole encoder, part by part.
#[derive(Clone, Debug)]
pub struct EncoderWeights {
    words: Param,
    embeddings: Param,
    layers: Vec<Param>,
}

impl EncoderWeights {
    /// Puts the pretrained weights into the model, in `scope`.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn insert(context: &mut BuildContext, scope: &Scope) -> Result<Self> {
        let layers = context.encoder.layers();
        Self::of(layers, |part| context.insert_part(scope, part))
    }

    /// An encoder of `layers` layers of what `of` says each part is.
    ///
    /// # Errors
    /// Those of `of`.
    pub fn of(layers: usize, mut of: impl FnMut(Part) -> Result<Param>) -> Result<Self> {
        Ok(Self {
            words: of(Part::Words)?,
            embeddings: of(Part::Embeddings)?,
            layers: (0..layers).map(|index| of(Part::Layer(index))).collect::<Result<_>>()?,
        })
    }

    /// Those among `params` whose names begin with `prefix`, such as `shared`, for an encoder of `layers` layers.
    ///
    /// # Errors
    /// If one is missing.
    pub fn find(params: &Params, prefix: &str, layers: usize) -> Result<Self> {
        Self::of(layers, |part| match params.get(&format!("{prefix}/{part}")) {
            Some(param) => Ok(param.clone()),
            None => candle_core::bail!("there is no parameter `{prefix}/{part}`"),
        })
    }

    /// The same weights with `part` replaced.
    #[must_use]
    pub fn with(mut self, part: Part, param: Param) -> Self {
        match part {
            Part::Words => self.words = param,
            Part::Embeddings => self.embeddings = param,
            Part::Layer(index) => self.layers[index] = param,
        }
        self
    }

    /// The parameter of `part`.
    ///
    /// # Panics
    /// If the encoder has no such layer.
    pub fn part(&self, part: Part) -> &Param {
        match part {
            Part::Words => &self.words,
            Part::Embeddings => &self.embeddings,
            Part::Layer(index) => &self.layers[index],
        }
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// All of them, bottom up.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        [&self.words, &self.embeddings].into_iter().chain(&self.layers)
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.iter().map(|param| param.name().to_string()).collect()
    }

    /// The states of the first `depth` layers, see [`walk`].
    ///
    /// # Errors
    /// Those of the encoder's ops.
    pub fn states(&self, encoder: &Family, tokens: &Packed, depth: usize, pass: &mut Pass) -> Result<Vec<Tensor>> {
        walk(encoder, tokens, depth, pass, |part, pass| pass.view(self.part(part)), |_| Ports::default())
    }
}

/// Walks the first `depth` layers and returns every state on the way, `depth + 1` of `[tokens, hidden]`, the
/// embeddings' first. `view` gives the weights of a part, `ports` what reaches into a layer.
///
/// # Errors
/// Those of the encoder's ops.
pub fn walk<'a>(
    encoder: &Family,
    tokens: &Packed,
    depth: usize,
    pass: &mut Pass,
    view: impl Fn(Part, &mut Pass) -> Result<ParameterView>,
    ports: impl Fn(usize) -> Ports<'a>,
) -> Result<Vec<Tensor>> {
    let words = encoder.words(&view(Part::Words, pass)?, tokens, pass)?;
    let mut states = vec![encoder.embed(&view(Part::Embeddings, pass)?, &words, tokens, pass)?];
    walk_on(encoder, &mut states, tokens, depth, pass, view, ports)?;
    Ok(states)
}

/// Continues a [`walk`] that returned `states` up to `depth` layers in all.
pub(crate) fn walk_on<'a>(
    encoder: &Family,
    states: &mut Vec<Tensor>,
    tokens: &Packed,
    depth: usize,
    pass: &mut Pass,
    view: impl Fn(Part, &mut Pass) -> Result<ParameterView>,
    ports: impl Fn(usize) -> Ports<'a>,
) -> Result<()> {
    for index in states.len() - 1..depth {
        let state = encoder.layer(&view(Part::Layer(index), pass)?, &states[index], tokens, &ports(index), pass)?;
        states.push(state);
    }
    Ok(())
}

/// One row per sequence, `[sequences, width]`, repeated for each of its tokens, `[tokens, width]`.
///
/// # Errors
/// Those of candle.
pub fn per_token(rows: &Tensor, tokens: &Packed) -> Result<Tensor> {
    let sequence_of = |(sequence, pair): (usize, &[usize])| std::iter::repeat_n(sequence as u32, pair[1] - pair[0]);
    let sequences: Vec<u32> = tokens.offsets.windows(2).enumerate().flat_map(sequence_of).collect();
    rows.index_select(&Tensor::new(sequences, rows.device())?, 0)
}

/// A learnt scalar mix of states, γ·Σ softmax(w)ₗ·xₗ (Peters et al. 2018, eq. 1).
#[derive(Clone, Debug)]
pub struct Mix {
    weights: Param,
    scale: Param,
}

impl Mix {
    /// A mix of `states` states, uniform at first, in `scope`.
    ///
    /// # Errors
    /// If its names are taken.
    pub fn insert(states: usize, scope: &Scope, context: &mut BuildContext) -> Result<Self> {
        let device = context.device();
        let zeros = Tensor::zeros(states, context.dtype(), &device)?;
        let one = Tensor::ones(1, context.dtype(), &device)?;
        let scope = &scope.with_role(Role::Mixing);
        Ok(Self {
            weights: context.insert_tensor(scope, "mix.weights", &zeros, false)?,
            scale: context.insert_tensor(scope, "mix.scale", &one, false)?,
        })
    }

    /// The mix of `states`, as many as it was made for.
    ///
    /// # Errors
    /// Those of candle.
    pub fn of(&self, states: &[Tensor]) -> Result<Tensor> {
        let weights = candle_nn::ops::softmax(self.weights.tensor(), 0)?.broadcast_mul(self.scale.tensor())?;
        let mut sum = states[0].broadcast_mul(&weights.narrow(0, 0, 1)?)?;
        for (index, state) in states.iter().enumerate().skip(1) {
            sum = (sum + state.broadcast_mul(&weights.narrow(0, index, 1)?)?)?;
        }
        Ok(sum)
    }

    /// Names of its parameters.
    pub fn names(&self) -> Vec<String> {
        vec![self.weights.name().to_string(), self.scale.name().to_string()]
    }
}
