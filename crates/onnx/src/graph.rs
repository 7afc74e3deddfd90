//! A graph under construction: every value has a name of its own, and is made before it is read.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use prost::Message;

use crate::proto::{
    AttributeProto, AttributeType, DataLocation, DataType, DimensionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

/// Version of the operators: the first one with `LayerNormalization`.
pub const OPERATOR_SET: i64 = 17;

/// Version of the format that belongs to it.
const FORMAT: i64 = 8;

/// Most bytes of constants that lie in the model's own file, in bytes: no protobuf message is longer than 2³¹ − 1, and
/// the nodes need some of these.
pub const MOST_INLINE: usize = 2_000_000_000;

/// A value of a graph, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A dimension of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Always that many.
    Fixed(usize),
    /// As many as the caller has, under a name.
    Dynamic(&'static str),
}

/// A setting of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
}

/// A model's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The `.onnx` file.
    pub model: Vec<u8>,
    /// The file that holds its constants, where they are too many for the first.
    pub data: Option<Vec<u8>>,
}

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Graph {
    proto: GraphProto,
    names: BTreeSet<String>,
    constant_bytes: usize,
}

impl Graph {
    /// An empty graph called `name`.
    pub fn new(name: &str) -> Self {
        Self { proto: GraphProto { name: Some(name.into()), ..GraphProto::default() }, ..Self::default() }
    }

    /// A value that has to be given.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn input(&mut self, name: &str, element: DataType, dimensions: &[Dimension]) -> Result<Value> {
        let value = self.named(name)?;
        self.proto.input.push(info(name, element, dimensions));
        Ok(value)
    }

    /// A constant of `values`, row by row.
    ///
    /// # Errors
    /// If the name is taken, there are not as many values as `shape` says, or one of them is not finite.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<Value> {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            bail!("tensor `{name}` holds {value}; finite numbers were expected");
        }
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, values.len(), DataType::Float, bytes)
    }

    /// A constant of whole numbers.
    ///
    /// # Errors
    /// As [`Graph::floats`].
    pub fn integers(&mut self, name: &str, shape: &[usize], values: &[i64]) -> Result<Value> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, values.len(), DataType::Int64, bytes)
    }

    fn constant(
        &mut self,
        name: &str,
        shape: &[usize],
        count: usize,
        element: DataType,
        raw: Vec<u8>,
    ) -> Result<Value> {
        let wanted: usize = shape.iter().product();
        ensure!(count == wanted, "tensor `{name}` has {count} values; its shape {shape:?} makes {wanted}");
        let value = self.named(name)?;
        self.constant_bytes += raw.len();
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(element as i32),
            name: Some(name.into()),
            raw_data: Some(raw),
            ..TensorProto::default()
        });
        Ok(value)
    }

    /// The result of `operator` over `inputs`, called `name`.
    ///
    /// # Errors
    /// If the name is taken, or an input is not a value of this graph.
    pub fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Result<Value> {
        if let Some(unknown) = inputs.iter().find(|input| !self.names.contains(&input.0)) {
            bail!("node `{name}` reads `{}`, which is no value of this graph", unknown.0);
        }
        let value = self.named(name)?;
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|input| input.0.clone()).collect(),
            output: vec![name.into()],
            name: Some(name.into()),
            op_type: Some(operator.into()),
            attribute: attributes.iter().map(|(name, attribute)| attribute.named(name)).collect(),
        });
        Ok(value)
    }

    /// Makes `value` an output of numbers.
    ///
    /// # Errors
    /// If it is not a value of this graph.
    pub fn output(&mut self, value: &Value, dimensions: &[Dimension]) -> Result<()> {
        ensure!(self.names.contains(&value.0), "output `{}` is no value of this graph", value.0);
        self.proto.output.push(info(&value.0, DataType::Float, dimensions));
        Ok(())
    }

    fn named(&mut self, name: &str) -> Result<Value> {
        ensure!(!name.is_empty(), "a value of a graph needs a name");
        ensure!(self.names.insert(name.into()), "the graph has a value called `{name}` already; rename the task");
        Ok(Value(name.into()))
    }

    /// The files of the model, with facts for its users. Constants lie in the second file, called `data_file`, if they are
    /// more than `most_inline` bytes (for use: [`MOST_INLINE`]).
    ///
    /// # Errors
    /// If the graph answers nothing.
    pub fn files(self, facts: &[(&str, String)], data_file: &str, most_inline: usize) -> Result<Files> {
        ensure!(!self.proto.output.is_empty(), "a graph without outputs answers nothing");
        let mut graph = self.proto;
        let data = (self.constant_bytes > most_inline).then(|| moved_out(&mut graph.initializer, data_file));
        let entry =
            |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
        let model = ModelProto {
            ir_version: Some(FORMAT),
            producer_name: Some("mtl".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPERATOR_SET) }],
            metadata_props: facts.iter().map(|(key, value)| entry(key, value)).collect(),
        };
        Ok(Files { model: model.encode_to_vec(), data })
    }
}

/// The elements of large constants, taken out of these, end to end; each begins at a page, so that it can be mapped.
fn moved_out(constants: &mut [TensorProto], file: &str) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut all = Vec::new();
    for constant in constants {
        // Shapes and other small constants have to be known before any other file is read.
        let Some(raw) = constant.raw_data.take_if(|raw| raw.len() >= PAGE / 4) else { continue };
        all.resize(all.len().next_multiple_of(PAGE), 0);
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        constant.external_data = vec![
            entry("location", file.to_string()),
            entry("offset", all.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        constant.data_location = Some(DataLocation::External as i32);
        all.extend_from_slice(&raw);
    }
    all
}

impl Attribute {
    fn named(&self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
        let held = match self {
            Self::Float(number) => {
                proto.f = Some(*number);
                AttributeType::Float
            }
            Self::Int(number) => {
                proto.i = Some(*number);
                AttributeType::Int
            }
            Self::Ints(numbers) => {
                proto.ints.clone_from(numbers);
                AttributeType::Ints
            }
        };
        proto.r#type = Some(held as i32);
        proto
    }
}

fn info(name: &str, element: DataType, dimensions: &[Dimension]) -> ValueInfoProto {
    let dim = dimensions.iter().map(|dimension| match dimension {
        Dimension::Fixed(size) => DimensionProto { dim_value: Some(*size as i64), dim_param: None },
        Dimension::Dynamic(name) => DimensionProto { dim_value: None, dim_param: Some((*name).into()) },
    });
    let tensor =
        TensorTypeProto { elem_type: Some(element as i32), shape: Some(TensorShapeProto { dim: dim.collect() }) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum() -> Graph {
        let mut graph = Graph::new("sum");
        let x = graph.input("x", DataType::Float, &[Dimension::Dynamic("batch"), Dimension::Fixed(300)]).expect("x");
        let w = graph.floats("w", &[300], &[0.5; 300]).expect("w");
        let small = graph.integers("axes", &[1], &[1]).expect("axes");
        let y = graph.node("Add", "y", &[&x, &w], &[]).expect("y");
        let z = graph.node("ReduceSum", "z", &[&y, &small], &[("keepdims", Attribute::Int(0))]).expect("z");
        graph.output(&z, &[Dimension::Dynamic("batch")]).expect("z");
        graph
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let files = sum().files(&[("key", "value".into())], "data", MOST_INLINE).expect("files");
        assert_eq!(files.data, None);
        let model = ModelProto::decode(files.model.as_slice()).expect("a message");
        assert_eq!(model.encode_to_vec(), files.model);
        assert_eq!((model.ir_version, model.opset_import[0].version), (Some(8), Some(17)));
        let graph = model.graph.expect("a graph");
        assert_eq!(graph.initializer[0].raw_data.as_ref().map(Vec::len), Some(1200));
        assert_eq!(graph.node[1].attribute[0].i, Some(0), "a zero is written too");
        // By hand, from onnx.proto: field 1 (varint) 8; field 2 (bytes) "mtl".
        assert_eq!(files.model.get(..7), Some([0x08, 8, 0x12, 3, b'm', b't', b'l'].as_slice()));
    }

    #[test]
    fn large_constants_move_into_a_file_of_their_own() {
        let files = sum().files(&[], "model.onnx.data", 1000).expect("files");
        let data = files.data.expect("too many bytes");
        assert_eq!(data.len(), 1200);
        let graph = ModelProto::decode(files.model.as_slice()).expect("a message").graph.expect("a graph");
        let (large, small) = (&graph.initializer[0], &graph.initializer[1]);
        assert_eq!((&large.raw_data, large.data_location), (&None, Some(1)));
        let told: Vec<_> = large.external_data.iter().map(|entry| entry.value.as_deref().unwrap_or("")).collect();
        assert_eq!(told, ["model.onnx.data", "0", "1200"]);
        assert!(small.raw_data.is_some() && small.data_location.is_none());
    }

    #[test]
    fn a_graph_that_no_runtime_takes_is_refused() {
        let (mut one, other) = (Graph::new("one"), Value("x".into()));
        let error = one.node("Add", "y", &[&other, &other], &[]).expect_err("not its own").to_string();
        assert_eq!(error, "node `y` reads `x`, which is no value of this graph");
        one.floats("w", &[2], &[1., 2.]).expect("a constant");
        assert!(one.floats("w", &[1], &[1.]).is_err_and(|error| error.to_string().contains("`w` already")));
        assert!(one.floats("v", &[3], &[1.]).is_err_and(|error| error.to_string().contains("has 1 values")));
        assert!(one.floats("v", &[1], &[f32::NAN]).is_err_and(|error| error.to_string().contains("holds NaN")));
        assert!(one.files(&[], "data", MOST_INLINE).is_err());
    }
}
