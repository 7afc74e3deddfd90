//! Which tasks to train together: the partition into at most G groups with the largest Σⱼ mean_{i ∈ group(j), i ≠ j} Zᵢⱼ.
//!
//! Found exactly, by branch and bound over partitions (Fifty et al. 2021, section 4), for up to 12 tasks; for more by
//! joining the two groups that gain most, as long as nothing is lost. A task alone scores 0: nobody helps it and nobody
//! harms it. Deviation: the paper's groups may overlap, these do not, so that they can be compared with a true
//! partition.

/// Most tasks whose partitions are all looked through.
const EXACT: usize = 12;

/// The group of each task, numbered in order of appearance, and the partition's score. `affinity` is `[i][j]`, of i
/// onto j; the first of equally good partitions wins, and that is one of few groups.
pub fn grouping(affinity: &[Vec<f64>], most: usize) -> (Vec<u32>, f64) {
    let mut search = Search { affinity, most: most.max(1), best: Vec::new(), score: f64::NEG_INFINITY };
    match affinity.len() <= EXACT {
        true => search.place(&mut Vec::new(), 0),
        false => search.join(),
    }
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

    /// From every task alone, joins the two groups that gain most until that would lose something and there are few
    /// enough.
    fn join(&mut self) {
        let mut groups: Vec<u32> = (0..self.affinity.len() as u32).collect();
        let mut value = self.value(&groups);
        loop {
            let mut labels = groups.clone();
            labels.sort_unstable();
            labels.dedup();
            let pairs = labels.iter().enumerate().flat_map(|(at, a)| labels.iter().skip(at + 1).map(move |b| (*a, *b)));
            let joined = |(a, b): (u32, u32)| -> Vec<u32> {
                groups.iter().map(|&group| if group == b { a } else { group }).collect()
            };
            let mut best: Option<(f64, Vec<u32>)> = None;
            for groups in pairs.map(joined) {
                let value = self.value(&groups);
                if best.as_ref().is_none_or(|(most, _)| value > *most) {
                    best = Some((value, groups));
                }
            }
            match best {
                Some((found, joined)) if found >= value || labels.len() > self.most => {
                    (groups, value) = (joined, found);
                }
                _ => break,
            }
        }
        let mut seen: Vec<u32> = Vec::new();
        for group in &mut groups {
            let at = seen.iter().position(|known| known == group).unwrap_or(seen.len());
            if at == seen.len() {
                seen.push(*group);
            }
            *group = at as u32;
        }
        (self.best, self.score) = (groups, value);
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
    fn many_tasks_are_joined_as_far_as_it_gains() {
        // Two families of seven whose members help each other and harm the others; nobody is told apart from nobody.
        let family = |i: usize| i % 2;
        let z: Vec<Vec<f64>> =
            (0..14).map(|i| (0..14).map(|j| if family(i) == family(j) { 1. } else { -1. }).collect()).collect();
        let families: Vec<u32> = (0..14).map(|i| (i % 2) as u32).collect();
        assert_eq!(grouping(&z, 5), (families, 14.));
        assert_eq!(grouping(&z, 1).0, [0; 14]);
        assert_eq!(grouping(&vec![vec![0.; 14]; 14], 14).0, [0; 14]);
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
