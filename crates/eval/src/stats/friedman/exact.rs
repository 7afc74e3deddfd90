//! The null distribution of Friedman's statistic: every block's ranks, ties included, in every order.
//!
//! The statistic grows with Σ Rⱼ², which does not change if methods change places. Nor does the share of the orders that
//! lead from one set of rank sums to another, so sums are kept sorted, and few of them stand for many.

use std::collections::HashMap;

use mtl_task::rng::Key;

/// Ranks doubled, so that shared ones are whole numbers.
type Doubled = Vec<u32>;

/// More sums than these, times the orders of a block, are drawn and not counted.
const MOST_COUNTED: usize = 4_000_000;

/// Draws where orders cannot be counted: p is right to 0.0007 (a standard error) at 0.05.
pub(super) const DRAWS: usize = 100_000;

/// How often Σ Rⱼ² comes out at least as large as in `blocks`, and how often as large as it can be, over all orders of
/// the ranks in each block; `None` if they are too many to be counted. `blocks` is `[blocks][methods]`.
pub(super) fn counted(blocks: &[Doubled]) -> Option<(f64, f64)> {
    let methods = blocks.first().map_or(0, Vec::len);
    let mut sums: HashMap<Doubled, f64> = HashMap::from([(vec![0; methods], 1.)]);
    for block in blocks {
        let orders = orders(block)?;
        if sums.len().saturating_mul(orders.len()) > MOST_COUNTED {
            return None;
        }
        let share = 1. / orders.len() as f64;
        let mut next: HashMap<Doubled, f64> = HashMap::new();
        // In one order, so that the same scores give the same bits.
        let mut known: Vec<(Doubled, f64)> = sums.into_iter().collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        for (sum, probability) in known {
            for order in &orders {
                let mut reached: Doubled = sum.iter().zip(order).map(|(sum, rank)| sum + rank).collect();
                reached.sort_unstable();
                *next.entry(reached).or_default() += probability * share;
            }
        }
        sums = next;
    }
    let (observed, largest) = (spread(&observed(blocks)), spread(&agreed(blocks)));
    let mut known: Vec<(u64, f64)> = sums.iter().map(|(sum, probability)| (spread(sum), *probability)).collect();
    known.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let at_least = |bound| known.iter().filter(|(spread, _)| *spread >= bound).map(|(_, share)| share).sum();
    Some((at_least(observed), at_least(largest)))
}

/// As [`counted`], by [`DRAWS`] draws, of which the observed order counts as one (Phipson and Smyth 2010), so that p is
/// never 0.
pub(super) fn drawn(blocks: &[Doubled]) -> f64 {
    let observed = spread(&observed(blocks));
    let methods = blocks.first().map_or(0, Vec::len);
    let mut stream = Key::new(0).named("friedman").stream();
    let mut blocks = blocks.to_vec();
    let mut sums = vec![0; methods];
    let mut reached = 1usize;
    for _ in 0..DRAWS {
        sums.fill(0);
        for block in &mut blocks {
            stream.shuffle(block);
            sums.iter_mut().zip(block.iter()).for_each(|(sum, rank)| *sum += rank);
        }
        reached += usize::from(spread(&sums) >= observed);
    }
    reached as f64 / (DRAWS + 1) as f64
}

/// Σ Rⱼ² of doubled ranks.
fn spread(sums: &[u32]) -> u64 {
    sums.iter().map(|sum| u64::from(*sum).pow(2)).sum()
}

fn observed(blocks: &[Doubled]) -> Doubled {
    let mut sums = vec![0; blocks.first().map_or(0, Vec::len)];
    blocks.iter().for_each(|block| sums.iter_mut().zip(block).for_each(|(sum, rank)| *sum += rank));
    sums
}

/// The rank sums if every block put the methods into one order: no other order has a larger Σ Rⱼ² (rearrangement).
fn agreed(blocks: &[Doubled]) -> Doubled {
    let sorted: Vec<Doubled> = blocks
        .iter()
        .map(|block| {
            let mut sorted = block.clone();
            sorted.sort_unstable();
            sorted
        })
        .collect();
    observed(&sorted)
}

/// The different orders of `ranks`, each as likely as the others; `None` if they are too many.
fn orders(ranks: &[u32]) -> Option<Vec<Doubled>> {
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    let mut orders = vec![sorted.clone()];
    // The next larger order of all, as in Knuth's algorithm L (The Art of Computer Programming 7.2.1.2).
    while let Some(pivot) = (1..sorted.len()).rev().find(|&at| sorted[at - 1] < sorted[at]) {
        let larger = (pivot..sorted.len()).rev().find(|&at| sorted[at] > sorted[pivot - 1])?;
        sorted.swap(pivot - 1, larger);
        sorted[pivot..].reverse();
        orders.push(sorted.clone());
        if orders.len() > MOST_COUNTED {
            return None;
        }
    }
    Some(orders)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orders of a block, one by one.
    fn enumerated(blocks: &[Doubled]) -> (f64, f64) {
        let all: Vec<Vec<Doubled>> = blocks.iter().map(|block| orders(block).expect("few")).collect();
        let count: usize = all.iter().map(Vec::len).product();
        let (bound, largest) = (spread(&observed(blocks)), spread(&agreed(blocks)));
        let (mut reached, mut most) = (0usize, 0usize);
        for mut at in 0..count {
            let mut chosen = Vec::new();
            for orders in &all {
                chosen.push(orders[at % orders.len()].clone());
                at /= orders.len();
            }
            let found = spread(&observed(&chosen));
            reached += usize::from(found >= bound);
            most += usize::from(found >= largest);
        }
        (reached as f64 / count as f64, most as f64 / count as f64)
    }

    #[test]
    fn sums_that_stand_for_many_give_the_share_of_all_orders() {
        for blocks in [
            vec![vec![2, 4, 6], vec![4, 2, 6], vec![2, 4, 6], vec![6, 4, 2]],
            vec![vec![3, 3, 6], vec![2, 5, 5], vec![2, 4, 6]],
            vec![vec![2, 4, 6, 8], vec![5, 5, 5, 5], vec![2, 5, 5, 8]],
            vec![vec![2, 4]; 4],
        ] {
            let (p, least) = counted(&blocks).expect("few");
            let (expected, smallest) = enumerated(&blocks);
            assert!((p - expected).abs() < 1e-12 && (least - smallest).abs() < 1e-12, "{blocks:?}: {p} {least}");
        }
    }

    #[test]
    fn draws_come_near_to_what_is_counted() {
        let blocks = vec![vec![2, 4, 6, 8], vec![2, 6, 4, 8], vec![4, 2, 6, 8], vec![2, 4, 8, 6], vec![8, 4, 6, 2]];
        let (p, _) = counted(&blocks).expect("few");
        // Five standard errors.
        assert!(
            (drawn(&blocks) - p).abs() < 5. * (p * (1. - p) / DRAWS as f64).sqrt(),
            "{} against {p}",
            drawn(&blocks)
        );
        assert!(counted(&vec![(1..=10).map(|rank| 2 * rank).collect(); 3]).is_none(), "10! orders a block");
    }
}
