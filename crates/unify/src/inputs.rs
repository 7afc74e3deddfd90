//! What is merged: an ancestor, models that were fine-tuned from it, and statistics of theirs; checked once.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// Below this cosine between the matrices of a model and those of the ancestor, the one was not trained from the other:
/// fine-tuned models lie above 0.9, unrelated ones within chance of 0.
const UNRELATED: f64 = 0.1;

/// From how many elements of matrices on a cosine says anything about that.
const ENOUGH: usize = 10_000;

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape; empty for a single number.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f32>,
}

impl Tensor {
    /// Whether it is a matrix.
    pub fn is_matrix(&self) -> bool {
        self.shape.len() == 2
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A fine-tuned model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// What it is called in messages, and what its random numbers are keyed by.
    pub name: String,
    /// Its weights, without heads: the same names and shapes as the ancestor's.
    pub tensors: Tensors,
    /// The diagonal of its Fisher information, an element for each weight, at least 0: E[(∂ log p(y|x) / ∂θ)²].
    pub fisher: Option<BTreeMap<String, Vec<f32>>>,
    /// XᵀX of the inputs of its linear layers, `[in, in]` row-major, by the name of the layer's weight `[out, in]`; a
    /// mean over tokens, so that models seen on different numbers of texts count alike. Weights that are left out have
    /// none.
    pub inner_products: Option<BTreeMap<String, Vec<f32>>>,
}

/// The ancestor and its models, which fit together.
#[derive(Clone, Debug)]
pub struct Inputs {
    ancestor: Tensors,
    models: Vec<Model>,
}

impl Inputs {
    /// Checks that the models are of this ancestor.
    ///
    /// # Errors If there is no model, two have one name, names or shapes of tensors differ from the ancestor's, a value
    /// is not finite, statistics do not fit, or the weights say that a model has another ancestor. Names the model, the
    /// tensor, what was found and what would be right.
    pub fn new(ancestor: Tensors, models: Vec<Model>) -> Result<Self> {
        ensure!(
            !models.is_empty(),
            "there is no model to merge; give at least one that was fine-tuned from the ancestor"
        );
        ensure!(!ancestor.is_empty(), "the ancestor has no tensor");
        for (name, tensor) in &ancestor {
            sound("the ancestor", name, tensor)?;
        }
        for (at, model) in models.iter().enumerate() {
            let twice = models.iter().take(at).any(|other| other.name == model.name);
            ensure!(!twice, "two models are called `{}`; every model needs a name of its own", model.name);
            let who = format!("model `{}`", model.name);
            fits(&who, &ancestor, &model.tensors)?;
            for (name, tensor) in &model.tensors {
                sound(&who, name, tensor)?;
            }
            statistics(&who, model)?;
            related(&who, &ancestor, &model.tensors)?;
        }
        Ok(Self { ancestor, models })
    }

    /// The weights that all models started from.
    pub fn ancestor(&self) -> &Tensors {
        &self.ancestor
    }

    /// The models, in the order in which they were given; at least one.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The tensor `name` of every model, in their order.
    pub(crate) fn of_models<'a>(&'a self, name: &str) -> Result<Vec<&'a Tensor>> {
        self.models.iter().map(|model| tensor(&model.tensors, name)).collect()
    }

    /// The task vectors of the tensor `name`: τₖ = θₖ − θ₀.
    pub(crate) fn deltas(&self, name: &str) -> Result<Vec<Vec<f64>>> {
        self.models.iter().map(|model| self.delta(model, name)).collect()
    }

    /// The task vector of one model's tensor `name`.
    pub(crate) fn delta(&self, model: &Model, name: &str) -> Result<Vec<f64>> {
        let pairs = tensor(&model.tensors, name)?.values.iter().zip(&tensor(&self.ancestor, name)?.values);
        Ok(pairs.map(|(own, before)| f64::from(*own) - f64::from(*before)).collect())
    }
}

/// The tensor `name`, which checked inputs have.
pub(crate) fn tensor<'a>(tensors: &'a Tensors, name: &str) -> Result<&'a Tensor> {
    tensors.get(name).ok_or_else(|| anyhow::anyhow!("there is no tensor `{name}`"))
}

/// Whether a tensor has as many values as its shape says, all of them finite.
fn sound(who: &str, name: &str, tensor: &Tensor) -> Result<()> {
    let wanted = tensor.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let found = tensor.values.len();
    if wanted != Some(found) {
        bail!("tensor `{name}` of {who} has the shape {:?}, but {found} values", tensor.shape);
    }
    finite(who, name, &tensor.values, "a weight")
}

fn finite(who: &str, name: &str, values: &[f32], what: &str) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => bail!(
            "{what} of {who} is not finite: element {at} of tensor `{name}` is {}",
            values.get(at).copied().unwrap_or(f32::NAN)
        ),
        None => Ok(()),
    }
}

/// Whether `tensors` have the ancestor's names and shapes.
fn fits(who: &str, ancestor: &Tensors, tensors: &Tensors) -> Result<()> {
    for (name, wanted) in ancestor {
        let Some(found) = tensors.get(name) else {
            bail!(
                "{who} has no tensor `{name}`{}, which the ancestor has, of shape {:?}",
                mtl_task::nearest(name, tensors.keys().map(String::as_str)),
                wanted.shape
            );
        };
        ensure!(
            found.shape == wanted.shape,
            "tensor `{name}` of {who} has the shape {:?}, the ancestor's {:?}",
            found.shape,
            wanted.shape
        );
    }
    match tensors.keys().find(|name| !ancestor.contains_key(*name)) {
        Some(name) => {
            bail!("{who} has a tensor `{name}` that the ancestor has not; heads are kept apart")
        }
        None => Ok(()),
    }
}

fn statistics(who: &str, model: &Model) -> Result<()> {
    for (name, values) in model.fisher.iter().flatten() {
        let Some(tensor) = model.tensors.get(name) else {
            bail!("the Fisher information of {who} is of a tensor `{name}` that the model has not");
        };
        let (found, wanted) = (values.len(), tensor.values.len());
        ensure!(found == wanted, "the Fisher information of `{name}` of {who} has {found} values, the tensor {wanted}");
        finite(who, name, values, "a Fisher information")?;
        if let Some(least) = values.iter().find(|value| **value < 0.0) {
            bail!("a Fisher information of {who} is negative: {least} in tensor `{name}`; it is a mean of squares");
        }
    }
    for (name, values) in model.inner_products.iter().flatten() {
        let Some(tensor) = model.tensors.get(name) else {
            bail!("the inner products of {who} are of a tensor `{name}` that the model has not");
        };
        let [_, inner] = tensor.shape[..] else {
            bail!(
                "the inner products of {who} are of tensor `{name}` of shape {:?}; they belong to matrices alone",
                tensor.shape
            );
        };
        let (found, wanted) = (values.len(), inner * inner);
        ensure!(
            found == wanted,
            "the inner products of `{name}` of {who} have {found} values; {inner} inputs make {wanted}"
        );
        finite(who, name, values, "an inner product")?;
    }
    Ok(())
}

/// Whether the matrices of a model point where the ancestor's do.
fn related(who: &str, ancestor: &Tensors, tensors: &Tensors) -> Result<()> {
    let (mut along, mut own, mut before, mut count) = (0.0, 0.0, 0.0, 0);
    for (name, first) in ancestor.iter().filter(|(_, tensor)| tensor.is_matrix()) {
        let Some(second) = tensors.get(name) else { continue };
        count += first.values.len();
        for (a, b) in first.values.iter().zip(&second.values) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            along += a * b;
            before += a * a;
            own += b * b;
        }
    }
    let scale = (own * before).sqrt();
    let cosine = if scale > 0.0 { along / scale } else { 1.0 };
    ensure!(
        count < ENOUGH || cosine >= UNRELATED,
        "{who} was not fine-tuned from this ancestor: the cosine of their matrices is {cosine:.3}, that of a tuned \
         model is near 1"
    );
    Ok(())
}
