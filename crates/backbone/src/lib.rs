//! BERT-style encoders as functions of their weights.
//!
//! An [`Encoder`] holds shapes and names; its weights are an argument, one flat vector per [`Part`]. Whoever owns the
//! weights decides which vector a task sees, and gathers its gradient in a [`TaskGradient`].
//!
//! ```
//! use candle_core::{DType, Device};
//! use mtl_backbone::{Encoder, Params, Pass, Pooling, pool, random};
//! use mtl_task::{Encoded, Packed, Registry, rng::Key};
//!
//! # fn main() -> anyhow::Result<()> {
//! let config = serde_json::json!({
//!     "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
//!     "intermediate_size": 64, "max_position_embeddings": 40,
//! });
//! // Or the files of a hub model: `pretrained(&architectures, &Checkpoint::read(folder)?)?`.
//! let architectures = Registry::default();
//! let model = random(&architectures, "bert", &config, Key::new(1))?;
//! let mut params = Params::new(&Device::Cpu, DType::F32);
//! model.insert("shared", &mut params)?;
//!
//! let text = |ids: &[u32]| Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoded::default() };
//! let tokens = Packed::new([&text(&[1, 17, 42, 2]), &text(&[1, 99, 2])]);
//! let mut pass = Pass::training(Key::new(2));
//! let states = model.encoder.states("shared", &params, &tokens, &mut pass)?;
//! let loss = pool(&states, &tokens, Pooling::Mean)?.sqr()?.mean_all()?;
//! let gradient = pass.backward(&loss, &params)?;
//! assert_eq!(gradient.0["shared/layer.1"].values().len(), params.get("shared/layer.1").unwrap().layout().len());
//! # Ok(())
//! # }
//! ```

mod architecture;
mod buffer_pool;
// Files of strangers are read here: what is odd is an error, never a panic.
#[deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]
pub mod checkpoint;
#[deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]
mod claims;
mod device;
mod encoder;
mod family;
mod flat;
mod fused;
mod gradient;
mod head_activation;
pub mod kernel;
mod layout;
mod params;
mod pass;
mod pooling;
mod precision;
mod reference;
mod registry;

mod bert;
mod distilbert;
mod electra;
mod roberta;

pub use architecture::{Architecture, Classes, TOKEN_OUTPUT};
pub use buffer_pool::BufferPool;
pub use device::{DeviceName, check_bf16, scalar};
pub use encoder::{Encoder, Norm, Ports, Prefix, Transform};
pub use family::{Activation, Family, Implementation, Names, Shape};
pub use flat::Flat;
pub use gradient::{GradientAccumulator, GradientBlock, SparseRows, TaskGradient};
pub use head_activation::HeadActivation;
pub use kernel::ProductPrecision;
pub use layout::{Entry, Layout, Part};
pub use params::{Param, Params};
pub use pass::{GradientSum, ParameterView, Pass, Wants, gather, values_of};
pub use pooling::{Pooling, anchors, pool};
pub use registry::{Pretrained, pretrained, pretrained_as, random};
