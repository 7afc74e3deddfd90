//! Numbers in words: how many digits a score, a p or a size is shown with.

use mtl_eval::stats::Interval;

/// What stands where there is nothing.
pub(crate) const NOTHING: &str = "–";

/// A score.
pub(crate) fn score(value: f64) -> String {
    format!("{value:.3}")
}

/// A difference, its sign always shown; one that rounds to 0 has none.
pub(crate) fn signed(value: f64, digits: usize) -> String {
    let text = format!("{value:+.digits$}");
    if text.trim_start_matches(['+', '-']).bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        return format!("{:.digits$}", 0.);
    }
    text
}

/// A p, whose smaller values are told apart by their decade alone.
pub(crate) fn probability(p: f64) -> String {
    if p < 1e-4 {
        "< 0.0001".to_string()
    } else if p < 0.01 {
        format!("{p:.4}")
    } else {
        format!("{p:.3}")
    }
}

/// The smallest p that a test could have given.
pub(crate) fn smallest(p: f64) -> String {
    match p {
        p if p <= 0. => "no limit".to_string(),
        p if p < 1e-4 => format!("{p:.1e}"),
        p => probability(p),
    }
}

/// An interval without its estimate.
pub(crate) fn ends(interval: &Interval, digits: usize) -> String {
    format!("[{}, {}]", signed(interval.low, digits), signed(interval.high, digits))
}

/// Coverage or level in percent: 95 for 0.95.
pub(crate) fn percent(fraction: f64) -> String {
    let text = format!("{:.1}", 100. * fraction);
    text.strip_suffix(".0").unwrap_or(&text).to_string()
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

/// A list as a sentence reads it: `a, b and c`.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A word for one, or its plural with the count before it.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well_at_both_ends() {
        assert_eq!(
            (signed(-0.0001, 2), signed(0.25, 2), signed(-1.5, 1)),
            ("0.00".into(), "+0.25".into(), "-1.5".into())
        );
        assert_eq!((probability(3e-7), probability(0.0625)), ("< 0.0001".to_string(), "0.062".to_string()));
        assert_eq!((smallest(0.), smallest(2e-9)), ("no limit".to_string(), "2.0e-9".to_string()));
        assert_eq!((percent(0.95), percent(0.999)), ("95".to_string(), "99.9".to_string()));
        assert_eq!((grouped(1234567), millions(22_713_216)), ("1\u{a0}234\u{a0}567".to_string(), "22.7".to_string()));
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
