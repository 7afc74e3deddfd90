//! How the numbers of a verdict and of a report are written.

use crate::stats::Interval;

/// A score.
pub fn score(value: f64) -> String {
    format!("{value:.3}")
}

/// A difference, its sign always shown; one that rounds to 0 has none.
pub fn signed(value: f64, digits: usize) -> String {
    let text = format!("{value:+.digits$}");
    if text.trim_start_matches(['+', '-']).bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        return format!("{:.digits$}", 0.);
    }
    text
}

/// A p, whose smaller values are told apart by their decade alone.
pub fn probability(p: f64) -> String {
    if p < 1e-4 {
        "< 0.0001".to_string()
    } else if p < 0.01 {
        format!("{p:.4}")
    } else {
        format!("{p:.3}")
    }
}

/// A p as a sentence holds it: `p = 0.031`, `p < 0.0001`.
pub fn p_is(p: f64) -> String {
    let text = probability(p);
    if text.starts_with('<') { format!("p {text}") } else { format!("p = {text}") }
}

/// An interval without its estimate.
pub fn ends(interval: &Interval, digits: usize) -> String {
    format!("[{}, {}]", signed(interval.low, digits), signed(interval.high, digits))
}

/// Coverage or level in percent: 95 for 0.95.
pub fn percent(fraction: f64) -> String {
    let text = format!("{:.1}", 100. * fraction);
    text.strip_suffix(".0").unwrap_or(&text).to_string()
}

/// A list as a sentence reads it: `a, b and c`.
pub fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A word for one, or its plural, with the count before it.
pub fn counted(count: usize, one: &str, many: &str) -> String {
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
        assert_eq!((p_is(3e-7), p_is(0.5)), ("p < 0.0001".to_string(), "p = 0.500".to_string()));
        assert_eq!((percent(0.95), percent(0.999)), ("95".to_string(), "99.9".to_string()));
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!((counted(1, "run", "runs"), counted(2, "run", "runs")), ("1 run".to_string(), "2 runs".to_string()));
    }
}
