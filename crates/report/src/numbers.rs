//! Numbers in words: how many digits a score, a p or a size is shown with.

pub(crate) use mtl_eval::comparison::words::{counted, ends, p_is, percent, probability, score, signed};

/// What stands where there is nothing.
pub(crate) const NOTHING: &str = "–";

/// The smallest p that a test could have given.
pub(crate) fn smallest(p: f64) -> String {
    match p {
        p if p <= 0. => "no limit".to_string(),
        p if p < 1e-4 => format!("{p:.1e}"),
        p => probability(p),
    }
}

/// A count with its thousands apart by a space that no line breaks at.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    digits.bytes().enumerate().fold(String::new(), |mut text, (index, digit)| {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit.into());
        text
    })
}

/// Millions, with three digits that count.
pub(crate) fn millions(count: usize) -> String {
    let millions = count as f64 / 1e6;
    let digits = match millions {
        m if m >= 100. => 0,
        m if m >= 10. => 1,
        m if m >= 0.1 => 2,
        _ => 4,
    };
    format!("{millions:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well_at_both_ends() {
        assert_eq!((smallest(0.), smallest(2e-9)), ("no limit".to_string(), "2.0e-9".to_string()));
        assert_eq!((grouped(1234567), millions(22_713_216)), ("1\u{a0}234\u{a0}567".to_string(), "22.7".to_string()));
    }
}
