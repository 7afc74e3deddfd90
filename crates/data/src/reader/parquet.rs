//! Parquet, as the Hugging Face Hub keeps datasets: flat columns of texts and numbers, or lists of them, plain or packed
//! by snappy, gzip, zstd, lz4 or brotli.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use mtl_task::Cell;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field as Value;

use super::record::{Field, NULL, Record};
use super::{Reader, Source, pages};
use crate::manifest::ReaderSpec;

pub(super) const READER: Reader =
    Reader { name: "parquet", about: "Apache Parquet, flat columns and lists", endings: &["parquet"], read };

fn read(source: &Source, _spec: &ReaderSpec) -> Result<Vec<Record>> {
    let bytes = source.bytes()?;
    if !bytes.starts_with(b"PAR1") || !bytes.ends_with(b"PAR1") {
        bail!(
            "{}: no Parquet file: it has to begin and end with the bytes `PAR1`; {}",
            source.name,
            if bytes.starts_with(b"PAR1") { "it is cut off, fetch it again" } else { "is it the right reader?" }
        );
    }
    let bytes = Bytes::from(bytes);
    let file = SerializedFileReader::new(bytes.clone()).with_context(|| format!("{}: its footer", source.name))?;
    pages::check(source, &bytes, file.metadata())?;
    let mut columns: Option<Arc<Vec<String>>> = None;
    let mut records = Vec::new();
    let mut unfolded = 0;
    for (index, row) in file.get_row_iter(None).with_context(|| format!("{}: its schema", source.name))?.enumerate() {
        let place = source.record(index + 1);
        let row = row.with_context(|| format!("{place}: a damaged page, or one packed in a way that is not read"))?;
        let (names, fields): (Vec<String>, Vec<Field>) =
            row.into_columns().into_iter().map(|(name, value)| (name, field(value))).unzip();
        // A text that is kept once may be in every row.
        unfolded += fields.iter().map(size).sum::<u64>();
        if unfolded > pages::MOST_BYTES {
            bail!("{place}: up to here it unfolds to more than {} bytes; split it", pages::MOST_BYTES);
        }
        let columns = columns.get_or_insert_with(|| Arc::new(names)).clone();
        records.push(Record { columns, fields, place });
    }
    Ok(records)
}

/// Bytes of a field's texts, and of what holds each.
fn size(field: &Field) -> u64 {
    const EACH: usize = 32;
    let bytes = match field {
        Field::Cell(Cell::Text(text)) => text.len() + EACH,
        Field::Cell(Cell::Many(list)) => list.iter().map(|text| text.len() + EACH).sum(),
        Field::Other(_) => EACH,
    };
    bytes as u64
}

fn field(value: Value) -> Field {
    let cell = match value {
        Value::ListInternal(list) => {
            list.elements().iter().cloned().map(text).collect::<Result<Vec<_>, _>>().map(Cell::Many)
        }
        other => text(other).map(Cell::Text),
    };
    cell.map_or_else(Field::Other, Field::Cell)
}

fn text(value: Value) -> Result<String, &'static str> {
    match value {
        Value::Str(text) => Ok(text),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Byte(value) => Ok(value.to_string()),
        Value::Short(value) => Ok(value.to_string()),
        Value::Int(value) => Ok(value.to_string()),
        Value::Long(value) => Ok(value.to_string()),
        Value::UByte(value) => Ok(value.to_string()),
        Value::UShort(value) => Ok(value.to_string()),
        Value::UInt(value) => Ok(value.to_string()),
        Value::ULong(value) => Ok(value.to_string()),
        Value::Float16(value) => Ok(value.to_string()),
        Value::Float(value) => Ok(value.to_string()),
        Value::Double(value) => Ok(value.to_string()),
        Value::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).map_err(|_| "bytes that are no UTF-8 text"),
        Value::Null => Err(NULL),
        Value::Group(_) => Err("a group of fields"),
        Value::ListInternal(_) => Err("a list of lists"),
        Value::MapInternal(_) => Err("a map"),
        _ => Err("a date or a decimal number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::path::Path;

    /// Three rows: a text, a number, and a list of words.
    fn written(at: &Path) {
        let schema = "message schema { REQUIRED BINARY text (UTF8); REQUIRED INT64 label; \
                      OPTIONAL GROUP words (LIST) { REPEATED GROUP list { REQUIRED BINARY element (UTF8); } } }";
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
        let file = std::fs::File::create(at).expect("created");
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        let mut next = group.next_column().expect("a column").expect("the first");
        let texts: Vec<ByteArray> = ["one", "zwei", "셋"].into_iter().map(ByteArray::from).collect();
        next.typed::<ByteArrayType>().write_batch(&texts, None, None).expect("written");
        next.close().expect("closed");
        let mut next = group.next_column().expect("a column").expect("the second");
        next.typed::<Int64Type>().write_batch(&[1, 0, -1], None, None).expect("written");
        next.close().expect("closed");
        let mut next = group.next_column().expect("a column").expect("the third");
        let words: Vec<ByteArray> = ["a", "b", "c"].into_iter().map(ByteArray::from).collect();
        next.typed::<ByteArrayType>().write_batch(&words, Some(&[2, 2, 2, 0]), Some(&[0, 1, 0, 0])).expect("written");
        next.close().expect("closed");
        group.close().expect("closed");
        writer.close().expect("closed");
    }

    #[test]
    fn texts_numbers_and_lists_are_read_and_damage_is_named() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("rows.parquet");
        written(&path);
        let records = read(&Source::new(&path), &ReaderSpec::default())?;
        assert_eq!(records.len(), 3);
        assert_eq!(records[2].field("text")?, &Cell::Text("셋".into()));
        assert_eq!(records[2].field("label")?, &Cell::Text("-1".into()));
        assert_eq!(records[0].field("words")?, &Cell::Many(vec!["a".into(), "b".into()]));
        let error = records[2].field("words").expect_err("null").to_string();
        assert!(error.contains("rows.parquet: record 3") && error.contains("null"), "{error}");
        let whole = std::fs::read(&path)?;
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            format!("{:#}", read(&Source::new(&path), &ReaderSpec::default()).expect_err("damaged"))
        };
        assert!(refused(&whole[..whole.len() - 9]).contains("cut off"));
        assert!(refused(b"text,label\na,b\n").contains("PAR1"));
        let mut damaged = whole.clone();
        let end = damaged.len() - 20;
        damaged[end..end + 8].fill(0xff);
        assert!(refused(&damaged).contains("rows.parquet"));
        Ok(())
    }
}
