//! The kernel op by op, and a whole encoder, at the sizes of MiniLM (6 layers of width 384, 12 heads, feed-forward
//! width 1536) on 16 texts of 64 tokens, packed. Throughput counts multiplications and additions, so that "Gelem/s" of
//! an op made of products reads GFLOP/s; norm and embed count the elements they write.

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement};
use mtl_backbone::kernel::{
    AttendWeights, Attention, Dropout, EmbedWeights, FeedForwardWeights, Matrix, MatrixMut, NormWeights, Places,
    ProductPrecision, add_norm, attend, embed, feed_forward, feed_forward_only, product_in,
};
use mtl_backbone::{Activation, Encoder, Params, Pass, random};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed};

const TEXTS: usize = 16;
const LENGTH: usize = 64;
const TOKENS: usize = TEXTS * LENGTH;
const LAYERS: usize = 6;
const HIDDEN: usize = 384;
const HEADS: usize = 12;
const INTERMEDIATE: usize = 1536;
const POSITIONS: usize = 512;
const VOCABULARY: usize = 1000;

/// Multiplications and additions of the attention block: four maps, scores and mixtures.
const ATTEND: usize = 8 * TOKENS * HIDDEN * HIDDEN + 4 * TOKENS * LENGTH * HIDDEN;
/// Those of the feed-forward block.
const FEED: usize = 4 * TOKENS * HIDDEN * INTERMEDIATE;

/// Normal numbers, as large as a layer's weights.
fn normal(name: &str, length: usize) -> Vec<f32> {
    let mut stream = Key::new(1).named(name).stream();
    (0..length).map(|_| (stream.normal() * 0.05) as f32).collect()
}

fn count(group: &mut BenchmarkGroup<'_, measurement::WallTime>, operations: usize) {
    group.throughput(Throughput::Elements(operations as u64));
}

/// What this machine can multiply in.
fn precisions() -> impl Iterator<Item = (&'static str, ProductPrecision)> {
    [("f32", ProductPrecision::F32), ("bf16", ProductPrecision::Bf16)]
        .into_iter()
        .filter(|(_, precision)| precision.is_available())
}

/// The first map of the feed-forward block, alone.
fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product");
    count(&mut group, 2 * TOKENS * HIDDEN * INTERMEDIATE);
    let (x, weights) = (normal("states", TOKENS * HIDDEN), normal("widen", INTERMEDIATE * HIDDEN));
    let mut y = vec![0f32; TOKENS * INTERMEDIATE];
    for (name, precision) in precisions() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let y = MatrixMut::new(&mut y, TOKENS, INTERMEDIATE);
                let weights = Matrix::new(&weights, INTERMEDIATE, HIDDEN).transposed();
                product_in(precision, y, Matrix::new(&x, TOKENS, HIDDEN), weights, false);
            });
        });
    }
    group.finish();
}

fn blocks(criterion: &mut Criterion) {
    let (x, mut y) = (normal("states", TOKENS * HIDDEN), vec![0f32; TOKENS * HIDDEN]);
    let (inward, outward) = (normal("inward", 3 * HIDDEN * HIDDEN), normal("outward", HIDDEN * HIDDEN));
    let inward_bias = normal("inward bias", 3 * HIDDEN);
    let (offsets, lengths): (Vec<usize>, _) = ((0..=TEXTS).map(|text| text * LENGTH).collect(), [LENGTH; TEXTS]);
    let (intermediate, intermediate_bias) =
        (normal("widen", INTERMEDIATE * HIDDEN), normal("intermediate bias", INTERMEDIATE));
    let output = normal("narrow", HIDDEN * INTERMEDIATE);

    let mut group = criterion.benchmark_group("attend");
    count(&mut group, ATTEND);
    for (name, precision) in precisions() {
        let weights = AttendWeights { inward: &inward, inward_bias: &inward_bias, outward: &outward, precision };
        let attention = Attention { offsets: &offsets, lengths: &lengths, heads: HEADS, dropout: Dropout::none() };
        group.bench_function(name, |bencher| bencher.iter(|| attend(&x, &weights, &attention, &mut y)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("feed");
    count(&mut group, FEED);
    for (name, precision) in precisions() {
        let (intermediate, intermediate_bias, output) = (&intermediate[..], &intermediate_bias[..], &output[..]);
        let weights =
            FeedForwardWeights { intermediate, intermediate_bias, output, activation: Activation::Gelu, precision };
        group.bench_function(BenchmarkId::new("learning", name), |bencher| {
            bencher.iter(|| feed_forward(&x, &weights, &mut y));
        });
        group.bench_function(BenchmarkId::new("answering", name), |bencher| {
            bencher.iter(|| feed_forward_only(&x, &weights, &mut y));
        });
    }
    group.finish();
}

fn rows(criterion: &mut Criterion) {
    let (x, residual) = (normal("states", TOKENS * HIDDEN), normal("residual", TOKENS * HIDDEN));
    let (bias, gamma, beta) = (normal("bias", HIDDEN), normal("gamma", HIDDEN), normal("beta", HIDDEN));
    let (positions, types) = (normal("positions", POSITIONS * HIDDEN), normal("types", 2 * HIDDEN));
    let mut out = vec![0f32; TOKENS * HIDDEN];

    let mut group = criterion.benchmark_group("rows");
    count(&mut group, TOKENS * HIDDEN);
    let weights = NormWeights { bias: &bias, gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    for (name, dropout) in [("plain", Dropout::none()), ("dropout", Dropout::new(0.1, 7))] {
        group.bench_function(BenchmarkId::new("norm", name), |bencher| {
            bencher.iter(|| add_norm(&x, &residual, &weights, dropout, &mut out));
        });
    }
    let weights = EmbedWeights { positions: &positions, types: &types, gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    let position_of: Vec<u32> = (0..TOKENS).map(|token| (token % LENGTH) as u32).collect();
    let places = Places { positions: &position_of, types: &[0; TOKENS] };
    group.bench_function("embed", |bencher| {
        bencher.iter(|| embed(&x, &weights, places, Dropout::none(), &mut out));
    });
    group.finish();
}

/// The whole encoder; a backward counts twice a forward.
fn encoder(criterion: &mut Criterion) {
    let config = serde_json::json!({
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE, "max_position_embeddings": POSITIONS,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    });
    let model = random(&Default::default(), "bert", &config, Key::new(1)).expect("a valid configuration");
    let mut params = Params::new(&candle_core::Device::Cpu, candle_core::DType::F32);
    model.insert("shared", &mut params).expect("names that are free");
    let mut stream = Key::new(2).stream();
    let texts: Vec<Encoded> = (0..TEXTS)
        .map(|_| Encoded {
            ids: (0..LENGTH).map(|_| stream.below(VOCABULARY) as u32).collect(),
            segments: vec![0; LENGTH],
            ..Encoded::default()
        })
        .collect();
    let tokens = Packed::new(&texts);

    let mut group = criterion.benchmark_group("encoder");
    group.sample_size(10);
    count(&mut group, LAYERS * (ATTEND + FEED));
    group.bench_function("forward", |bencher| {
        bencher.iter(|| model.encoder.states("shared", &params, &tokens, &mut Pass::evaluation()).expect("states"));
    });
    count(&mut group, 3 * LAYERS * (ATTEND + FEED));
    group.bench_function("forward and backward", |bencher| {
        bencher.iter(|| {
            let mut pass = Pass::training(Key::new(3));
            let states = model.encoder.states("shared", &params, &tokens, &mut pass).expect("states");
            let loss = states.sqr().and_then(|squares| squares.mean_all()).expect("a loss");
            pass.backward(&loss, &params).expect("a gradient")
        });
    });
    group.finish();
}

criterion_group!(benches, products, blocks, rows, encoder);
criterion_main!(benches);
