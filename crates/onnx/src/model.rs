//! What a graph is made of: an encoder's sizes and weights, and the heads of the tasks that read its states.

use anyhow::{Result, bail, ensure};

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Its name there.
    pub name: String,
    /// Its shape; of a matrix `[outputs, inputs]`.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// y = Wx + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// W, `[outputs, inputs]`.
    pub weight: Weights,
    /// b, `[outputs]`.
    pub bias: Weights,
}

/// Layer normalisation (Ba, Kiros & Hinton 2016): γ(x − mean)/√(variance + ε) + β.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// γ, `[width]`.
    pub scale: Weights,
    /// β, `[width]`.
    pub shift: Weights,
}

/// A layer: h = LN(x + W_o·attention(x) + b_o), y = LN(h + W₂·σ(W₁h + b₁) + b₂) (Vaswani et al. 2017).
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// To the queries.
    pub query: Linear,
    /// To the keys.
    pub key: Linear,
    /// To the values.
    pub value: Linear,
    /// From the heads' results to the states, W_o and b_o.
    pub attention_output: Linear,
    /// After the attention.
    pub attention_norm: Norm,
    /// W₁ and b₁.
    pub intermediate: Linear,
    /// W₂ and b₂.
    pub output: Linear,
    /// After the feed-forward block.
    pub output_norm: Norm,
}

/// A function of every number: σ between the two products of a feed-forward block, or that of a head's hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x).
    Gelu,
    /// Its tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·sigmoid(x).
    Silu,
    /// tanh x.
    Tanh,
}

/// An encoder of the BERT family.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// Attention heads; divides the states' width.
    pub heads: usize,
    /// Position of the first token. If it is 0, positions are counted from the left end of a text's row; else over the
    /// tokens that the attention mask keeps, and all others have the position before the first one's (RoBERTa).
    pub first_position: usize,
    /// Added to the variance by every normalisation.
    pub epsilon: f64,
    /// Inside the feed-forward blocks.
    pub activation: Activation,
    /// Word vectors, `[vocabulary, width]`.
    pub words: Weights,
    /// Position vectors, `[positions, width]`.
    pub positions: Weights,
    /// Vectors of token types, `[types, width]`, where there are any. With a single one no input asks for types.
    pub token_types: Option<Weights>,
    /// Of the sum of those.
    pub norm: Norm,
    /// From their width to the states', where they differ.
    pub projection: Option<Linear>,
    /// The layers, bottom up.
    pub layers: Vec<Layer>,
}

/// What a head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The mean of a text's states.
    Mean,
    /// The state of its first token.
    First,
    /// The maximum of its states, coordinate by coordinate.
    Maximum,
    /// Every token's own state.
    Tokens,
}

/// What becomes of a head's logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// They are the output.
    Logits,
    /// Their softmax.
    Softmax,
    /// Each one's sigmoid.
    Sigmoid,
    /// deviation·x + mean: a value that was standardised for training, in its own unit.
    Rescaled {
        /// What becomes of 0.
        mean: f64,
        /// How far 1 lies from that.
        deviation: f64,
    },
}

/// A task's head: what it reads, a hidden layer if there is one, and a linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The task, whose name the output has.
    pub task: String,
    /// What it reads.
    pub reads: Reads,
    /// The hidden layer, and what follows its map.
    pub hidden: Option<(Linear, Activation)>,
    /// To the logits.
    pub map: Linear,
    /// What becomes of them.
    pub output: Output,
}

impl Weights {
    /// Rows and columns of a matrix.
    ///
    /// # Errors
    /// If it is none, or has not as many values as its shape says.
    pub(crate) fn matrix(&self) -> Result<(usize, usize)> {
        let &[rows, columns] = self.shape.as_slice() else {
            bail!("tensor `{}` has shape {:?}; a matrix was expected", self.name, self.shape)
        };
        self.check(&[rows, columns])?;
        Ok((rows, columns))
    }

    /// Refuses any shape but `shape`.
    ///
    /// # Errors
    /// With both shapes.
    pub(crate) fn check(&self, shape: &[usize]) -> Result<()> {
        ensure!(self.shape == shape, "tensor `{}` has shape {:?}; {shape:?} was expected", self.name, self.shape);
        let (count, wanted) = (self.values.len(), shape.iter().product::<usize>());
        ensure!(count == wanted, "tensor `{}` has {count} values; its shape {shape:?} makes {wanted}", self.name);
        Ok(())
    }
}

impl Encoder {
    /// Width of the states.
    ///
    /// # Errors
    /// If the heads do not divide it.
    pub(crate) fn hidden(&self) -> Result<usize> {
        let width = match &self.projection {
            Some(projection) => projection.weight.matrix()?.0,
            None => self.words.matrix()?.1,
        };
        if self.heads == 0 || !width.is_multiple_of(self.heads) {
            bail!("{} attention heads do not divide a width of {width}", self.heads);
        }
        Ok(width)
    }
}

/// What an encoder's tensors do not say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// See [`Encoder::heads`].
    pub heads: usize,
    /// See [`Encoder::first_position`].
    pub first_position: usize,
    /// See [`Encoder::epsilon`].
    pub epsilon: f64,
    /// See [`Encoder::activation`].
    pub activation: Activation,
    /// Whether there are token types.
    pub token_types: bool,
    /// Whether the sum of the embeddings is projected.
    pub projection: bool,
}

impl Encoder {
    /// An encoder from its tensors in the order in which the BERT family has them: the word table; below the first layer
    /// positions, token types, scale and shift, projection and its bias; of every layer the weights of query, key and
    /// value, their biases, weight and bias of the attention's output, scale and shift, weight and bias to the
    /// intermediate width and back, scale and shift.
    ///
    /// # Errors
    /// If there are more or fewer tensors than that.
    pub fn ordered(
        settings: Settings,
        words: Weights,
        embeddings: Vec<Weights>,
        layers: Vec<Vec<Weights>>,
    ) -> Result<Self> {
        let mut rest = Tensors::new("the embeddings", embeddings);
        let positions = rest.take()?;
        let token_types = if settings.token_types { Some(rest.take()?) } else { None };
        let norm = rest.norm()?;
        let projection = if settings.projection { Some(rest.linear()?) } else { None };
        rest.end()?;
        let layer = |(index, tensors): (usize, Vec<Weights>)| {
            let mut rest = Tensors::new(format!("layer {index}"), tensors);
            let [query, key, value] = [rest.take()?, rest.take()?, rest.take()?];
            let mut biased = |weight| Ok::<_, anyhow::Error>(Linear { weight, bias: rest.take()? });
            let (query, key, value) = (biased(query)?, biased(key)?, biased(value)?);
            let (attention_output, attention_norm) = (rest.linear()?, rest.norm()?);
            let (intermediate, output, output_norm) = (rest.linear()?, rest.linear()?, rest.norm()?);
            rest.end()?;
            Ok(Layer { query, key, value, attention_output, attention_norm, intermediate, output, output_norm })
        };
        Ok(Self {
            heads: settings.heads,
            first_position: settings.first_position,
            epsilon: settings.epsilon,
            activation: settings.activation,
            words,
            positions,
            token_types,
            norm,
            projection,
            layers: layers.into_iter().enumerate().map(layer).collect::<Result<_>>()?,
        })
    }
}

/// Tensors of a place, one after the other.
struct Tensors {
    place: String,
    rest: std::vec::IntoIter<Weights>,
}

impl Tensors {
    fn new(place: impl Into<String>, tensors: Vec<Weights>) -> Self {
        Self { place: place.into(), rest: tensors.into_iter() }
    }

    fn take(&mut self) -> Result<Weights> {
        match self.rest.next() {
            Some(tensor) => Ok(tensor),
            None => bail!("{}: there are fewer tensors than expected", self.place),
        }
    }

    fn linear(&mut self) -> Result<Linear> {
        Ok(Linear { weight: self.take()?, bias: self.take()? })
    }

    fn norm(&mut self) -> Result<Norm> {
        Ok(Norm { scale: self.take()?, shift: self.take()? })
    }

    fn end(mut self) -> Result<()> {
        match self.rest.next() {
            Some(tensor) => bail!("{}: tensor `{}` has no place in an encoder", self.place, tensor.name),
            None => Ok(()),
        }
    }
}
