//! The largest elements of a vector, by magnitude.

/// The magnitudes of a task vector, rounded to f32, in which published code ranks them too.
pub(crate) fn magnitudes(delta: &[f64]) -> Vec<f32> {
    delta.iter().map(|value| value.abs() as f32).collect()
}

/// Which elements are among the `count` largest. Of equal ones the first count as larger.
pub(crate) fn largest(magnitudes: &[f32], count: usize) -> Vec<bool> {
    let length = magnitudes.len();
    if count == 0 || count >= length {
        return vec![count > 0; length];
    }
    let mut copy = magnitudes.to_vec();
    let (_, &mut bound, _) = copy.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    let mut left = count - magnitudes.iter().filter(|value| **value > bound).count();
    let kept = magnitudes.iter().map(|value| {
        let equal = *value == bound && left > 0;
        left -= usize::from(equal);
        *value > bound || equal
    });
    kept.collect()
}

/// How many of `length` elements a share is, rounded down; at least one of a share above 0.
pub(crate) fn count_of(share: f64, length: usize) -> usize {
    let count = (share * length as f64) as usize;
    if share > 0.0 { count.clamp(1.min(length), length) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_kept_as_were_asked_for_also_of_equal_ones() {
        let values = [0.5, 2.0, 0.5, 0.1, 0.5, 3.0];
        assert_eq!(largest(&values, 2), [false, true, false, false, false, true]);
        assert_eq!(largest(&values, 4), [true, true, true, false, false, true]);
        assert_eq!(largest(&values, 0), [false; 6]);
        assert_eq!(largest(&values, 9), [true; 6]);
        assert_eq!(largest(&[], 1), [true; 0]);
        assert_eq!(largest(&[0.0; 3], 1), [true, false, false]);
    }

    #[test]
    fn a_share_of_some_is_at_least_one() {
        assert_eq!(
            [count_of(0.2, 48), count_of(0.01, 6), count_of(0.0, 6), count_of(1.0, 6), count_of(0.5, 0)],
            [9, 1, 0, 6, 0]
        );
    }
}
