//! What the pages of a Parquet file say they unfold to, before any is unfolded.
//!
//! A page's header stands before it, in the compact form of Thrift
//! (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>). The crate `parquet` gives
//! memory as a header asks for it; here headers are added up first.

use anyhow::{Context, Result, bail, ensure};
use parquet::file::metadata::ParquetMetaData;

use super::Source;
use super::source::MOST_CELLS;

/// Fewer cells and bytes than these are read whatever the size of the file.
const USUAL_CELLS: u64 = 1_000_000;
const USUAL_BYTES: u64 = 64 << 20;

/// A table that people made has fewer cells than this a byte of its file, and unfolds to fewer bytes.
const CELLS_A_BYTE: u64 = 4;
const BYTES_A_BYTE: u64 = 200;

/// The most bytes that a file may unfold to.
pub(super) const MOST_BYTES: u64 = 4 << 30;

/// Refuses a file of `bytes` that says it holds more than fits: by its footer `metadata`, and by its pages.
pub(super) fn check(source: &Source, bytes: &[u8], metadata: &ParquetMetaData) -> Result<()> {
    let (mut cells, mut unfolded) = (0u64, 0u64);
    for group in metadata.row_groups() {
        let rows = u64::try_from(group.num_rows()).with_context(|| format!("{}: rows in its footer", source.name))?;
        let mut most = rows;
        for (index, column) in group.columns().iter().enumerate() {
            let whole = |number: i64| {
                u64::try_from(number).with_context(|| format!("{}: column {index} in its footer", source.name))
            };
            let values = whole(column.num_values())?;
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let (start, length) = (whole(start)?, whole(column.compressed_size())?);
            let whole = |number: Option<u64>| usize::try_from(number?).ok();
            let range = whole(Some(start)).zip(whole(start.checked_add(length)));
            let chunk = range.and_then(|(start, end)| bytes.get(start..end));
            let chunk = chunk.with_context(|| {
                format!("{}: its footer places column {index} beyond the end of the file", source.name)
            })?;
            let pages = pages(chunk, values).with_context(|| format!("{}: a page of column {index}", source.name))?;
            most = most.max(values).max(pages.values);
            cells = cells.saturating_add(values.max(pages.values));
            unfolded = unfolded.saturating_add(pages.bytes);
        }
        cells = cells.max(most);
    }
    let length = bytes.len() as u64;
    if cells > MOST_CELLS as u64 || (cells > USUAL_CELLS && cells > CELLS_A_BYTE * length) {
        bail!(
            "{}: it says that its {length} bytes hold {cells} cells, so that nearly all rows are the same: write it \
             without repeated rows, and with no more than {MOST_CELLS} cells",
            source.name
        );
    }
    if unfolded > MOST_BYTES || (unfolded > USUAL_BYTES && unfolded > BYTES_A_BYTE * length) {
        bail!(
            "{}: its {length} bytes say that they unfold to {unfolded}: texts are not that repetitive, and at most \
             {MOST_BYTES} bytes are read",
            source.name
        );
    }
    Ok(())
}

#[derive(Default)]
struct Pages {
    values: u64,
    bytes: u64,
}

/// The pages of a column `chunk`, up to those that hold its `values`.
fn pages(mut chunk: &[u8], values: u64) -> Result<Pages> {
    let mut pages = Pages::default();
    while pages.values < values && !chunk.is_empty() {
        let mut header = Compact { bytes: chunk, depth: 0 };
        let page = header.page()?;
        pages.values = pages.values.saturating_add(page.values);
        pages.bytes = pages.bytes.saturating_add(page.unfolded);
        let length = usize::try_from(page.length)?;
        chunk = header.bytes.get(length..).context("it ends beyond its column")?;
    }
    Ok(pages)
}

#[derive(Default)]
struct Page {
    unfolded: u64,
    length: u64,
    values: u64,
}

/// Thrift's compact form.
struct Compact<'a> {
    bytes: &'a [u8],
    depth: usize,
}

/// Kinds of Thrift's values.
const STRUCT: u8 = 12;

impl Compact<'_> {
    /// `PageHeader`: fields 2 and 3 are its sizes; 5 and 8 (data pages) begin with their number of values.
    fn page(&mut self) -> Result<Page> {
        let mut page = Page::default();
        self.fields(&mut |this, field, kind| {
            match field {
                2 => page.unfolded = u64::try_from(this.integer()?)?,
                3 => page.length = u64::try_from(this.integer()?)?,
                5 | 8 if kind == STRUCT => this.fields(&mut |this, field, kind| match field {
                    1 => {
                        this.integer().and_then(|number| Ok(u64::try_from(number)?)).map(|number| page.values = number)
                    }
                    _ => this.skip(kind),
                })?,
                _ => this.skip(kind)?,
            }
            Ok(())
        })?;
        Ok(page)
    }

    /// Gives each field's number and kind to `each`, which reads its value.
    fn fields(&mut self, each: &mut dyn FnMut(&mut Self, i64, u8) -> Result<()>) -> Result<()> {
        self.deeper()?;
        let mut field = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                self.depth = self.depth.saturating_sub(1);
                return Ok(());
            }
            field = match head >> 4 {
                0 => self.integer()?,
                step => field.wrapping_add(i64::from(step)),
            };
            each(self, field, head & 15)?;
        }
    }

    /// A struct or a list begins.
    fn deeper(&mut self) -> Result<()> {
        self.depth = self.depth.saturating_add(1);
        ensure!(self.depth < 16, "its header is nested too deep");
        Ok(())
    }

    fn skip(&mut self, kind: u8) -> Result<()> {
        match kind {
            // True and false are their own kinds.
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.integer().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.number()?;
                self.take(usize::try_from(length)?)
            }
            9 | 10 => {
                self.deeper()?;
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                // In a list, true and false take a byte each, as all else does at least.
                ensure!(count <= self.bytes.len() as u64, "a list is longer than its column");
                let kind = if head & 15 <= 2 { 3 } else { head & 15 };
                (0..count).try_for_each(|_| self.skip(kind))?;
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            STRUCT => self.fields(&mut |this, _, kind| this.skip(kind)),
            other => bail!("no Thrift value is of kind {other} in a page's header"),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        bail!("a number of more than 64 bits")
    }

    fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.bytes.split_first().context("its header is cut off")?;
        self.bytes = rest;
        Ok(first)
    }

    fn take(&mut self, count: usize) -> Result<()> {
        self.bytes = self.bytes.get(count..).context("its header is cut off")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of a list of a list, each of one byte, would take as many frames of the stack.
    #[test]
    fn lists_in_lists_without_end_are_refused() {
        let mut nested = vec![0x19; 1_000_000];
        let refused = |bytes: &[u8]| format!("{:#}", pages(bytes, 1).err().expect("refused"));
        assert!(refused(&nested).contains("nested too deep"));
        // Beside each other they are as many as they like to be: field 9, a list of a hundred empty lists.
        nested = [&[0x99, 0xf9, 100][..], &[0x03; 100], &[0]].concat();
        assert!(!refused(&nested[..50]).contains("deep"));
        let page = Compact { bytes: &nested, depth: 0 }.page().expect("a page");
        assert_eq!((page.values, page.length), (0, 0));
    }
}
