//! Which tasks to train together: the partition into at most G groups with the largest Σⱼ mean_{i ∈ group(j), i ≠ j} Zᵢⱼ.
//!
//! Found exactly, by branch and bound over partitions (Fifty et al. 2021, section 4). A task alone scores 0: nobody
//! helps it and nobody harms it. Deviation: the paper's groups may overlap, these do not, so that they can be compared
//! with a true partition.

/// The group of each task, numbered in order of appearance, and the partition's score. `affinity` is `[i][j]`, of i
/// onto j; the first of equally good partitions wins.
pub fn grouping(affinity: &[Vec<f64>], most: usize) -> (Vec<u32>, f64) {
    let mut search = Search { affinity, most: most.max(1), best: Vec::new(), score: f64::NEG_INFINITY };
    search.place(&mut Vec::new(), 0);
    (search.best, search.score)
}

struct Search<'a> {
    affinity: &'a [Vec<f64>],
    most: usize,
    best: Vec<u32>,
    score: f64,
}

impl Search<'_> {
    /// Puts the next task into each group there is, and into a new one.
    fn place(&mut self, groups: &mut Vec<u32>, used: usize) {
        if groups.len() == self.affinity.len() {
            let score = self.value(groups);
            if score > self.score {
                (self.best, self.score) = (groups.clone(), score);
            }
            return;
        }
        for group in 0..(used + 1).min(self.most) {
            groups.push(group as u32);
            if self.bound(groups) > self.score {
                self.place(groups, used.max(group + 1));
            }
            groups.pop();
        }
    }

    fn value(&self, groups: &[u32]) -> f64 {
        (0..groups.len())
            .map(|j| {
                let others: Vec<f64> = (0..groups.len())
                    .filter(|&i| i != j && groups[i] == groups[j])
                    .map(|i| self.affinity[i][j])
                    .collect();
                if others.is_empty() { 0. } else { others.iter().sum::<f64>() / others.len() as f64 }
            })
            .sum()
    }

    /// No completion of `groups` scores more: a mean is at most its largest term, over all who may still join.
    fn bound(&self, groups: &[u32]) -> f64 {
        let placed = groups.len();
        (0..self.affinity.len())
            .map(|j| {
                let may_join = |i: usize| i >= placed || j >= placed || groups[i] == groups[j];
                let alone = j >= placed || !(0..placed).any(|i| i != j && groups[i] == groups[j]);
                (0..self.affinity.len())
                    .filter(|&i| i != j && may_join(i))
                    .map(|i| self.affinity[i][j])
                    .fold(if alone { 0. } else { f64::NEG_INFINITY }, f64::max)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use mtl_task::rng::Key;

    use super::*;

    #[test]
    fn friends_stay_together_and_enemies_apart() {
        let z = vec![vec![9., 1., -1., 0.], vec![1., 9., -2., 0.], vec![-1., -1., 9., -3.], vec![-1., 0., 0.1, 9.]];
        assert_eq!(grouping(&z, 4).0, [0, 0, 1, 2]);
        assert_eq!(grouping(&z, 1).0, [0, 0, 0, 0]);
        assert_eq!(grouping(&[], 3), (Vec::new(), 0.));
    }

    #[test]
    fn the_bound_cuts_off_nothing_that_is_best() {
        for trial in 0..20 {
            let mut stream = Key::new(trial).stream();
            let z: Vec<Vec<f64>> = (0..6).map(|_| (0..6).map(|_| stream.normal()).collect()).collect();
            let search = Search { affinity: &z, most: 3, best: Vec::new(), score: 0. };
            // Every assignment of 6 tasks to 3 labels, without a bound.
            let best = (0..729u32)
                .map(|code| search.value(&(0..6).map(|task| code / 3u32.pow(task) % 3).collect::<Vec<_>>()))
                .fold(f64::NEG_INFINITY, f64::max);
            let found = grouping(&z, 3);
            assert!((found.1 - best).abs() < 1e-12 && (search.value(&found.0) - best).abs() < 1e-12);
        }
    }
}
