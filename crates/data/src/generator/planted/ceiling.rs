//! The best score that can be expected of any model, which is what noise in the labels and ambiguous words leave.

use std::collections::BTreeMap;

/// Accuracy of the likeliest class given `cues` words that are drawn independently, classes being equally frequent:
/// Σₓ maxₖ P(k)·Πᵢ P(xᵢ | k) over all sequences x, exactly. `words` holds P(word | class), a row a word, `[words][classes]`.
/// Words that speak for the classes in the same proportions count as one.
pub(super) fn bayes_accuracy(words: &[Vec<f64>], cues: usize) -> f64 {
    let classes = words.first().map_or(0, Vec::len);
    let mut merged: BTreeMap<Vec<i64>, Vec<f64>> = BTreeMap::new();
    for word in words {
        let sum: f64 = word.iter().sum();
        if sum > 0. {
            let proportions = word.iter().map(|share| (share / sum * 1e9).round() as i64).collect();
            let all = merged.entry(proportions).or_insert_with(|| vec![0.; classes]);
            all.iter_mut().zip(word).for_each(|(all, share)| *all += share);
        }
    }
    let merged: Vec<Vec<f64>> = merged.into_values().collect();
    let prior = vec![1. / classes.max(1) as f64; classes];
    expected(&merged, &prior, cues)
}

/// Σ maxₖ of `so_far`·Π P over the sequences of `left` more words.
fn expected(words: &[Vec<f64>], so_far: &[f64], left: usize) -> f64 {
    if left == 0 {
        return so_far.iter().copied().fold(0., f64::max);
    }
    let after = |word: &Vec<f64>| so_far.iter().zip(word).map(|(before, share)| before * share).collect::<Vec<_>>();
    words.iter().map(|word| expected(words, &after(word), left - 1)).sum()
}

/// `accuracy` of the true class, where a share `noise` of the labels is drawn from all `classes` alike.
pub(super) fn with_noise(accuracy: f64, noise: f64, classes: usize) -> f64 {
    (1. - noise) * accuracy + noise / classes as f64
}

/// Pearson's correlation of what words say with what labels show; none if either is constant.
pub(super) fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|pair| of(pair.0 - x, pair.1 - y)).sum::<f64>();
    let (xx, yy, xy) = (sum(&|x, _| x * x), sum(&|_, y| y * y), sum(&|x, y| x * y));
    (xx > 0. && yy > 0.).then(|| (xy / (xx * yy).sqrt()).min(1.))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_class_each_leave_no_error() {
        let words = vec![vec![0.5, 0.], vec![0.5, 0.], vec![0., 0.25], vec![0., 0.75]];
        assert!((bayes_accuracy(&words, 3) - 1.).abs() < 1e-12);
        // Four classes, a label in twenty drawn from all four: 0.95 + 0.05/4.
        assert!((with_noise(1., 0.05, 4) - 0.9625).abs() < 1e-12);
    }

    /// One word that says the class in 7 of 10 cases: 0.7. By three: at least two of three, 0.7³ + 3·0.7²·0.3 = 0.784.
    #[test]
    fn a_majority_of_doubtful_words_is_counted_exactly() {
        let words = vec![vec![0.7, 0.3], vec![0.3, 0.7]];
        assert!((bayes_accuracy(&words, 1) - 0.7).abs() < 1e-12);
        assert!((bayes_accuracy(&words, 3) - 0.784).abs() < 1e-12);
        // The same words, halved: nothing that tells classes apart has changed.
        let halves: Vec<Vec<f64>> = words.iter().flat_map(|word| vec![vec![word[0] / 2., word[1] / 2.]; 2]).collect();
        assert!((bayes_accuracy(&halves, 3) - 0.784).abs() < 1e-12);
        // Words that say nothing leave chance.
        assert!((bayes_accuracy(&[vec![1.; 4]], 4) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_correlation_is_that_of_the_textbook() {
        // Deviations (−1, 0, 1) and (−1, 1, 0): 1/√(2·2).
        assert_eq!(correlation(&[(0., 0.), (1., 2.), (2., 1.)]), Some(0.5));
        assert_eq!(correlation(&[(1., 0.), (1., 2.)]), None);
    }
}
