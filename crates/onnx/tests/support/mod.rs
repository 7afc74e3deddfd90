//! A small runtime for the operators that graphs here have, by the definitions of ONNX's operator set 17: slow, plain,
//! and independent of what makes the graphs.

use std::collections::BTreeMap;

use mtl_onnx::proto::{AttributeProto, DataType, GraphProto, NodeProto};

/// A value: numbers and their shape. Whole numbers are exact up to 2⁵³.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    pub(crate) fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{shape:?}");
        Self { shape: shape.to_vec(), values }
    }

    fn whole(&self) -> Vec<i64> {
        self.values.iter().map(|value| *value as i64).collect()
    }

    fn strides(&self) -> Vec<usize> {
        (0..self.shape.len()).map(|axis| self.shape[axis + 1..].iter().product()).collect()
    }

    /// The element at `place`, whose shape this array is spread over.
    fn spread(&self, place: &[usize]) -> f64 {
        let skipped = place.len() - self.shape.len();
        let strides = self.strides();
        let at = place[skipped..].iter().zip(&self.shape).zip(strides);
        self.values[at.map(|((place, size), stride)| if *size == 1 { 0 } else { place * stride }).sum::<usize>()]
    }

    fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        Self::new(&self.shape, self.values.iter().map(|value| function(*value)).collect())
    }

    /// Every run of `length` values along the last dimension, changed.
    fn along_last(&self, function: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        let length = *self.shape.last().expect("a dimension");
        Self::new(&self.shape, self.values.chunks(length).flat_map(function).collect())
    }
}

/// Every place of `shape`, in order.
fn places(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &size in shape {
        all = all.into_iter().flat_map(|place| (0..size).map(move |at| [place.clone(), vec![at]].concat())).collect();
    }
    all
}

fn together(a: &[usize], b: &[usize]) -> Vec<usize> {
    let length = a.len().max(b.len());
    let padded = |shape: &[usize]| [vec![1; length - shape.len()], shape.to_vec()].concat();
    let both = padded(a).into_iter().zip(padded(b));
    both.map(|(a, b)| {
        if a == b || b == 1 {
            a
        } else {
            assert_eq!(a, 1, "shapes do not fit");
            b
        }
    })
    .collect()
}

fn pairwise(a: &Array, b: &Array, function: impl Fn(f64, f64) -> f64) -> Array {
    let shape = together(&a.shape, &b.shape);
    let values = places(&shape).iter().map(|place| function(a.spread(place), b.spread(place))).collect();
    Array::new(&shape, values)
}

fn product(a: &Array, b: &Array) -> Array {
    let (rows, inner) = (a.shape[a.shape.len() - 2], a.shape[a.shape.len() - 1]);
    let columns = b.shape[b.shape.len() - 1];
    assert_eq!(inner, b.shape[b.shape.len() - 2], "inner dimensions");
    let mut shape = together(&a.shape[..a.shape.len() - 2], &b.shape[..b.shape.len() - 2]);
    shape.extend([rows, columns]);
    let element = |place: &Vec<usize>| -> f64 {
        let (batch, ends) = place.split_at(place.len() - 2);
        let at = |row: usize, column: usize| [batch, &[row, column]].concat();
        (0..inner).map(|k| a.spread(&at(ends[0], k)) * b.spread(&at(k, ends[1]))).sum()
    };
    let values = places(&shape).iter().map(element).collect();
    Array::new(&shape, values)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

fn whole(node: &NodeProto, name: &str) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or_else(|| panic!("{name} of {:?}", node.name))
}

fn gather(table: &Array, index: &Array, axis: usize) -> Array {
    let shape = [&table.shape[..axis], &index.shape, &table.shape[axis + 1..]].concat();
    let element = |place: &Vec<usize>| {
        let (before, rest) = place.split_at(axis);
        let (chosen, after) = rest.split_at(index.shape.len());
        let at = index.spread(chosen) as usize;
        assert!(at < table.shape[axis], "index {at} of {}", table.shape[axis]);
        table.spread(&[before, &[at], after].concat())
    };
    Array::new(&shape, places(&shape).iter().map(element).collect())
}

fn reduced(x: &Array, axis: usize, start: f64, function: impl Fn(f64, f64) -> f64) -> Array {
    let mut shape = x.shape.clone();
    let size = shape.remove(axis);
    let element = |place: &Vec<usize>| {
        let (before, after) = place.split_at(axis);
        (0..size).fold(start, |sum, at| function(sum, x.spread(&[before, &[at], after].concat())))
    };
    Array::new(&shape, places(&shape).iter().map(element).collect())
}

fn transposed(x: &Array, order: &[i64]) -> Array {
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis as usize]).collect();
    let element = |place: &Vec<usize>| {
        let mut from = vec![0; place.len()];
        order.iter().zip(place).for_each(|(&axis, &at)| from[axis as usize] = at);
        x.spread(&from)
    };
    Array::new(&shape, places(&shape).iter().map(element).collect())
}

fn compute(node: &NodeProto, inputs: &[&Array]) -> Array {
    let x = inputs[0];
    let axis_of = |array: &Array| usize::try_from(array.whole()[0]).expect("an axis from the front");
    match node.op_type.as_deref().expect("an operator") {
        "Add" => pairwise(x, inputs[1], |a, b| a + b),
        "Sub" => pairwise(x, inputs[1], |a, b| a - b),
        "Mul" => pairwise(x, inputs[1], |a, b| a * b),
        "Div" => pairwise(x, inputs[1], |a, b| a / b),
        "Pow" => pairwise(x, inputs[1], f64::powf),
        "Cast" => x.clone(),
        "Erf" => x.map(libm::erf),
        "Tanh" => x.map(f64::tanh),
        "Relu" => x.map(|x| x.max(0.)),
        "Sigmoid" => x.map(|x| 1. / (1. + (-x).exp())),
        "MatMul" => product(x, inputs[1]),
        "Transpose" => transposed(x, &attribute(node, "perm").expect("an order").ints),
        "Gather" => gather(x, inputs[1], attribute(node, "axis").and_then(|axis| axis.i).unwrap_or(0) as usize),
        "Squeeze" => Array::new(&[], x.values.clone()),
        "Shape" => {
            let shape = &x.shape[whole(node, "start") as usize..whole(node, "end") as usize];
            Array::new(&[shape.len()], shape.iter().map(|size| *size as f64).collect())
        }
        "Range" => {
            let [start, end, step] = [x, inputs[1], inputs[2]].map(|scalar| scalar.whole()[0]);
            let values: Vec<f64> = (start..end).step_by(step as usize).map(|value| value as f64).collect();
            Array::new(&[values.len()], values)
        }
        "CumSum" => {
            assert_eq!((axis_of(inputs[1]), x.shape.len()), (1, 2));
            x.along_last(|row| {
                row.iter()
                    .scan(0., |sum, value| {
                        *sum += value;
                        Some(*sum)
                    })
                    .collect()
            })
        }
        "Unsqueeze" => {
            let mut shape = x.shape.clone();
            inputs[1].whole().iter().for_each(|&axis| shape.insert(axis as usize, 1));
            Array::new(&shape, x.values.clone())
        }
        "Reshape" => {
            let kept = inputs[1].whole().into_iter().enumerate();
            let shape: Vec<usize> =
                kept.map(|(at, size)| if size == 0 { x.shape[at] } else { size as usize }).collect();
            Array::new(&shape, x.values.clone())
        }
        "Softmax" => x.along_last(|row| {
            let highest = row.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = row.iter().map(|x| (x - highest).exp()).sum();
            row.iter().map(|x| (x - highest).exp() / sum).collect()
        }),
        "LayerNormalization" => {
            let epsilon = f64::from(attribute(node, "epsilon").and_then(|epsilon| epsilon.f).expect("an epsilon"));
            let normalised = x.along_last(|row| {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
                row.iter().map(|x| (x - mean) / (variance + epsilon).sqrt()).collect()
            });
            pairwise(&pairwise(&normalised, inputs[1], |a, b| a * b), inputs[2], |a, b| a + b)
        }
        "ReduceSum" => {
            assert_eq!(whole(node, "keepdims"), 0);
            reduced(x, axis_of(inputs[1]), 0., |a, b| a + b)
        }
        "ReduceMax" => {
            assert_eq!(whole(node, "keepdims"), 0);
            reduced(x, attribute(node, "axes").expect("an axis").ints[0] as usize, f64::MIN, f64::max)
        }
        other => panic!("no operator {other} is defined here"),
    }
}

/// The outputs of `graph` for `inputs`, by their names.
pub(crate) fn run(graph: &GraphProto, inputs: &[(&str, Array)]) -> BTreeMap<String, Array> {
    let mut known: BTreeMap<String, Array> =
        inputs.iter().map(|(name, array)| (name.to_string(), array.clone())).collect();
    for constant in &graph.initializer {
        let shape: Vec<usize> = constant.dims.iter().map(|size| *size as usize).collect();
        let raw = constant.raw_data.as_ref().expect("its elements");
        let values = match constant.data_type() {
            DataType::Float => {
                raw.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("four")))).collect()
            }
            DataType::Int64 => raw.chunks(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight")) as f64).collect(),
            other => panic!("a constant of {other:?}"),
        };
        known.insert(constant.name().to_string(), Array::new(&shape, values));
    }
    for node in &graph.node {
        let inputs: Vec<&Array> = node.input.iter().map(|name| &known[name]).collect();
        let made = compute(node, &inputs);
        known.insert(node.output[0].clone(), made);
    }
    graph.output.iter().map(|output| (output.name().to_string(), known[output.name()].clone())).collect()
}
