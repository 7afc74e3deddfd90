//! Who shares what: sharing strategies, heads, and the multi-task model they make.
//!
//! A strategy decides which weights each task sees and how the encoder's layers are walked; the encoder itself is a
//! function of its weights and is never copied or edited. See [`Sharing`] for what a strategy provides, and
//! [`STRATEGIES`] for the list.
//!
//! A strategy of one's own, over a tiny random encoder, and who owns what in the model:
//!
//! ```
//! use std::sync::Arc;
//! use candle_core::{DType, Device, Result, Tensor};
//! use mtl_backbone::{Encoder, Family, Pass, random};
//! use mtl_sharing::{BuildContext, EncoderWeights, HeadSettings, Model, TaskShape};
//! use mtl_sharing::{Sharing, Strategy, StrategySettings};
//! use mtl_task::{Packed, Reads, TaskId, rng::Key};
//! use serde_json::json;
//!
//! #[derive(Default, serde::Deserialize, serde::Serialize)]
//! struct OneForAll {}
//! struct Shared { encoder: Arc<Family>, weights: EncoderWeights }
//!
//! impl StrategySettings for OneForAll {
//!     fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
//!         let everyone = context.shared();
//!         let weights = EncoderWeights::insert(context, &everyone)?;
//!         Ok(Box::new(Shared { encoder: context.encoder.clone(), weights }))
//!     }
//! }
//! impl Sharing for Shared {
//!     fn represent(&self, _task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
//!         let depth = self.encoder.layers();
//!         Ok(self.weights.states(&self.encoder, tokens, depth, pass)?.swap_remove(depth))
//!     }
//! }
//!
//! let config = json!({ "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
//!                      "intermediate_size": 16, "max_position_embeddings": 16 });
//! let pretrained = random(&Default::default(), "bert", &config, Key::new(1))?;
//! let strategy = Strategy::of::<OneForAll>("one-for-all", "one encoder", "-", "P", true);
//! let tasks = ["a", "b"].map(|name| TaskShape { name: name.into(), outputs: 2, reads: Reads::Text }).to_vec();
//! let (head, device) = (HeadSettings::default(), Device::Cpu);
//! let model = Model::build(&strategy, &json!({}), &head, &pretrained, tasks, Key::new(2), &device, DType::F32)?;
//! for (tasks, parameters) in model.topology.groups() {
//!     println!("{tasks:?} train {parameters:?}");
//! }
//! # let sizes: Vec<_> = model.topology.groups().iter().map(|(tasks, names)| (tasks.len(), names.len())).collect();
//! # assert_eq!(sizes, [(2, 4), (1, 2), (1, 2)]);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod accounting;
mod blocks;
mod budget;
mod change;
mod context;
mod grouping;
mod head;
mod model;
mod race;
mod role;
mod sharing;
pub mod strategies;
mod strategy;
mod topology;

pub use accounting::Accounting;
pub use blocks::walk::{EncoderWeights, Mix, per_token, walk};
pub use budget::Budget;
pub use change::{Change, Moments, NoMoments, SavedLayout, Structure};
pub use context::{BuildContext, Scope};
pub use grouping::grouping;
pub use head::{Head, HeadSettings};
pub use model::{Heads, Model, TaskShape};
pub use race::{Arm, Race, Racing, Ruling, Standings};
pub use role::{RateScales, Role};
pub use sharing::{Bits, DevScores, NoDevScores, Phase, Sharing, StepView, StrategySettings, spaced};
pub use strategies::{STRATEGIES, find};
pub use strategy::Strategy;
pub use topology::{Owner, TaskSet, Topology};
