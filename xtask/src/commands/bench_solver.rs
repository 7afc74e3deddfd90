//! `bench solver`: what one Nash bargaining costs, how exact it is and how it ends, by number of tasks and kind of
//! Gram matrix.
//!
//! A cell of the table is a set of matrices of one kind and size. Each is solved many times, and the cell's time is the
//! median over its matrices of the median over the repeats. `docs/benches/peers/solver_peer.py` hands in its own
//! matrices with `--grams`, so that other solvers are timed on the same ones.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mtl_nash::{Gram, Settings, bargain};
use mtl_task::rng::{Key, Stream};
use serde::{Deserialize, Serialize};

/// Time the Nash solver over easy, scaled, collinear and conflicting Gram matrices.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BenchSolver {
    /// Numbers of tasks
    #[arg(long, value_delimiter = ',', default_value = "2,3,5,8,16,32,64,128")]
    pub tasks: Vec<usize>,
    /// Matrices a cell
    #[arg(long, default_value_t = 31)]
    pub matrices: usize,
    /// Milliseconds spent on each matrix
    #[arg(long, default_value_t = 5)]
    pub budget: u64,
    /// Solve these instead: JSON, [{"class": "…", "gram": [[…], …]}, …]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tasks", "matrices"])]
    pub grams: Option<PathBuf>,
    /// Print JSON, one object a cell
    #[arg(long)]
    pub json: bool,
}

/// A Gram matrix from outside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    class: String,
    gram: Vec<Vec<f64>>,
}

/// One cell of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    /// The kind of matrix.
    pub class: String,
    /// K.
    pub tasks: usize,
    /// How many matrices.
    pub matrices: usize,
    /// Microseconds a solve: the median over the matrices of each one's median.
    pub median_us: f64,
    /// Microseconds a solve of the slowest matrix, its median.
    pub slowest_us: f64,
    /// The most Newton steps.
    pub iterations: usize,
    /// The largest residual among the agreements.
    pub residual: f64,
    /// How many matrices ended in each status.
    pub statuses: BTreeMap<String, usize>,
}

impl BenchSolver {
    /// Measures and prints.
    ///
    /// # Errors
    /// If the file of matrices cannot be read or holds a matrix that is not square.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let budget = Duration::from_millis(self.budget);
        let cells: Vec<Cell> = self.cells()?.into_iter().map(|(class, grams)| measure(class, &grams, budget)).collect();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&cells)?);
        } else {
            print(&cells);
        }
        Ok(())
    }

    /// The matrices of each cell, in the order of the table.
    fn cells(&self) -> anyhow::Result<Vec<(String, Vec<Gram>)>> {
        let Some(path) = &self.grams else {
            ensure!(self.matrices > 0 && !self.tasks.contains(&0), "a cell has at least one matrix, a matrix one task");
            return Ok(CLASSES
                .iter()
                .flat_map(|class| self.tasks.iter().map(move |&tasks| (class, tasks)))
                .map(|((name, draw), tasks)| {
                    let key = Key::new(0).named(name).with(tasks as u64);
                    let gram = |index| Gram::of_rows(&draw(&mut key.with(index).stream(), tasks));
                    ((*name).to_owned(), (0..self.matrices as u64).map(gram).collect())
                })
                .collect());
        };
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let given: Vec<Given> =
            serde_json::from_str(&text).with_context(|| format!("{} is no list of Gram matrices", path.display()))?;
        let mut cells: Vec<(String, Vec<Gram>)> = Vec::new();
        for (index, Given { class, gram }) in given.into_iter().enumerate() {
            let square = gram.iter().all(|row| row.len() == gram.len());
            ensure!(square && !gram.is_empty(), "matrix {index} of {} is not square, or empty", path.display());
            let gram = Gram::from_rows(&gram);
            match cells.iter_mut().find(|(name, grams)| *name == class && grams[0].tasks() == gram.tasks()) {
                Some((_, grams)) => grams.push(gram),
                None => cells.push((class, vec![gram])),
            }
        }
        Ok(cells)
    }
}

/// Solves each matrix again and again for the time allowed, five times at the least.
fn measure(class: String, grams: &[Gram], budget: Duration) -> Cell {
    let mut cell = Cell {
        class,
        tasks: grams[0].tasks(),
        matrices: grams.len(),
        median_us: 0.0,
        slowest_us: 0.0,
        iterations: 0,
        residual: 0.0,
        statuses: BTreeMap::new(),
    };
    let settings = Settings::default();
    let mut medians = Vec::new();
    for gram in grams {
        let agreement = bargain(gram, &settings);
        cell.iterations = cell.iterations.max(agreement.iterations);
        if agreement.status == mtl_nash::Status::Agreed {
            cell.residual = cell.residual.max(agreement.residual);
        }
        *cell.statuses.entry(agreement.status.to_string()).or_default() += 1;
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < 5 || start.elapsed() < budget {
            let before = Instant::now();
            black_box(bargain(black_box(gram), &settings));
            times.push(before.elapsed().as_secs_f64() * 1e6);
        }
        medians.push(median(&mut times));
    }
    cell.median_us = median(&mut medians);
    cell.slowest_us = medians[medians.len() - 1];
    cell
}

/// The middle one, the later of two; sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(cells: &[Cell]) {
    println!(
        "{:<12} {:>4} {:>10} {:>10} {:>6} {:>9}  statuses",
        "class", "K", "median µs", "slowest", "steps", "residual"
    );
    for cell in cells {
        let statuses: Vec<String> = cell.statuses.iter().map(|(status, count)| format!("{status} {count}")).collect();
        println!(
            "{:<12} {:>4} {:>10.2} {:>10.2} {:>6} {:>9.1e}  {}",
            cell.class,
            cell.tasks,
            cell.median_us,
            cell.slowest_us,
            cell.iterations,
            cell.residual,
            statuses.join(", ")
        );
    }
    let sizes: BTreeMap<usize, &Cell> = cells.iter().fold(BTreeMap::new(), |mut worst, cell| {
        let slowest = worst.entry(cell.tasks).or_insert(cell);
        if cell.median_us > slowest.median_us {
            *slowest = cell;
        }
        worst
    });
    let worst: Vec<String> =
        sizes.values().map(|c| format!("K={} {} {:.2} µs", c.tasks, c.class, c.median_us)).collect();
    println!("\nslowest class: {}", worst.join("; "));
}

type Draw = fn(&mut Stream, usize) -> Vec<Vec<f64>>;

/// The kinds of task gradients, `[K, 4K + 16]`.
const CLASSES: &[(&str, Draw)] =
    &[("easy", easy), ("scaled", scaled), ("collinear", collinear), ("conflicting", conflicting)];

/// Independent normal entries.
fn easy(stream: &mut Stream, tasks: usize) -> Vec<Vec<f64>> {
    (0..tasks).map(|_| (0..4 * tasks + 16).map(|_| stream.normal()).collect()).collect()
}

/// The same, each task's times a factor over twelve decades.
fn scaled(stream: &mut Stream, tasks: usize) -> Vec<Vec<f64>> {
    let mut rows = easy(stream, tasks);
    for row in &mut rows {
        let factor = 10f64.powf(12.0 * stream.uniform() - 6.0);
        row.iter_mut().for_each(|x| *x *= factor);
    }
    rows
}

/// One gradient, and a thousandth of noise.
fn collinear(stream: &mut Stream, tasks: usize) -> Vec<Vec<f64>> {
    let mut rows = easy(stream, tasks);
    let common = easy(stream, tasks).swap_remove(0);
    rows.iter_mut().for_each(|row| row.iter_mut().zip(&common).for_each(|(x, shared)| *x = shared + 1e-3 * *x));
    rows
}

/// Pairs that are opposite but for a hundredth.
fn conflicting(stream: &mut Stream, tasks: usize) -> Vec<Vec<f64>> {
    let mut rows = easy(stream, tasks);
    for pair in rows.chunks_exact_mut(2) {
        let [one, other] = pair else { continue };
        other.iter_mut().zip(one).for_each(|(y, x)| *y = 1e-2 * *y - *x);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(grams: Option<PathBuf>) -> BenchSolver {
        BenchSolver { tasks: vec![2, 5], matrices: 3, budget: 0, grams, json: false }
    }

    #[test]
    fn every_cell_is_measured_and_agrees() {
        let cells = bench(None).cells().unwrap();
        assert_eq!(cells.len(), 2 * CLASSES.len());
        for (class, grams) in cells {
            let cell = measure(class, &grams, Duration::ZERO);
            assert!(cell.median_us > 0.0 && cell.slowest_us >= cell.median_us);
            assert!(cell.residual <= 1e-9 && cell.statuses == BTreeMap::from([("agreed".to_owned(), 3)]), "{cell:?}");
        }
    }

    #[test]
    fn given_matrices_are_grouped_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grams.json");
        fs::write(&path, r#"[{"class":"a","gram":[[1]]},{"class":"b","gram":[[2]]},{"class":"a","gram":[[3]]}]"#)
            .unwrap();
        let cells = bench(Some(path.clone())).cells().unwrap();
        assert_eq!(
            cells.iter().map(|(name, grams)| (name.as_str(), grams.len())).collect::<Vec<_>>(),
            [("a", 2), ("b", 1)]
        );
        fs::write(&path, r#"[{"class":"a","gram":[[1, 2]]}]"#).unwrap();
        assert!(bench(Some(path)).cells().unwrap_err().to_string().contains("matrix 0"));
    }
}
