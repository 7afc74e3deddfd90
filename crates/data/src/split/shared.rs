//! Texts that stand in several tables: one split for all of them.
//!
//! Each table draws its splits by itself, so that one which shares no text with another gets the splits that it gets
//! alone. Then each text that another table has too is settled, in this order:
//!
//! 1. Where the source of another table gives its split (the latest of test, dev and train), the drawn ones follow.
//! 2. Where all tables draw, the texts that the same tables share are drawn once more, for all of them together: class
//!    by class of the first table, by name, that has classes, in the order of a hash of text and seed.
//!
//! So neither the order of the tasks nor of the rows matters, and no text that one task holds out is trained on by
//! another that draws. What sources give on both sides is left to [`overlap`](super::overlap).

#![expect(clippy::indexing_slicing, reason = "an index is a rank, of which there are as many as tables")]

use std::collections::{BTreeMap, HashMap, HashSet};

use mtl_task::rng::Key;

use super::{Entry, Part, Parted};

/// A table under the name that its draws are ordered by. Tasks over one table have one `identity`, and one draw.
pub(crate) struct Table<'a> {
    pub(crate) name: &'a str,
    pub(crate) identity: &'a str,
    pub(crate) parted: &'a mut Parted,
}

/// Where a text stands: tables by their ranks.
#[derive(Default)]
struct Found {
    /// Those that draw the split of it, and the class that it has there.
    drawn: Vec<(usize, String)>,
    /// Those whose source gives it.
    given: Vec<(usize, Part)>,
}

/// Gives every text one split over all of `tables`; answers, for each of them, how many of its texts others share and
/// are drawn together or follow another's split.
pub(crate) fn settle(tables: &mut [Table]) -> Vec<usize> {
    let ranks = ranks(tables);
    let distinct = ranks.iter().max().map_or(0, |most| most + 1);
    let none = vec![0; tables.len()];
    if distinct < 2 {
        return none;
    }
    let wanted = wanted(tables, &ranks, distinct);
    let mut counts = none;
    for ((table, rank), count) in tables.iter_mut().zip(&ranks).zip(&mut counts) {
        let parted = &mut *table.parted;
        let (of_dev, of_test) = (parted.draws(Part::Dev), parted.draws(Part::Test));
        let mut settled = HashSet::new();
        for (entry, place) in parted.pool.iter().zip(&mut parted.places) {
            let Some((part, followed)) = wanted[*rank].get(&entry.key) else { continue };
            *place = match (part, of_dev, of_test) {
                (Part::Dev, true, _) | (Part::Test, _, true) | (Part::Train, ..) => *part,
                // A split that the source gives gets nothing more. What others hold out is held out here too if all of
                // them draw; a given test does not go into a drawn dev.
                _ if *followed => continue,
                (_, true, _) => Part::Dev,
                _ => Part::Test,
            };
            settled.insert(entry.key.as_str());
        }
        *count = settled.len();
    }
    counts
}

/// The place of each table's identity among the identities, by the smallest name of each.
fn ranks(tables: &[Table]) -> Vec<usize> {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for table in tables {
        let name = first.entry(table.identity).or_insert(table.name);
        *name = (*name).min(table.name);
    }
    let mut order: Vec<(&str, &str)> = first.into_iter().map(|(identity, name)| (name, identity)).collect();
    order.sort_unstable();
    let rank = |table: &Table| order.iter().position(|(_, identity)| *identity == table.identity).unwrap_or(0);
    tables.iter().map(rank).collect()
}

/// By rank, the split of every shared text that the table draws, and whether it follows a source's.
fn wanted(tables: &[Table], ranks: &[usize], distinct: usize) -> Vec<HashMap<String, (Part, bool)>> {
    let mut found: HashMap<&str, Found> = HashMap::new();
    let mut of_rank: Vec<Option<&Parted>> = vec![None; distinct];
    for (table, &rank) in tables.iter().zip(ranks) {
        if of_rank[rank].is_some() {
            continue;
        }
        let parted = &*table.parted;
        of_rank[rank] = Some(parted);
        let draws = parted.draws(Part::Dev) || parted.draws(Part::Test);
        let told = |entry: &&Entry| !entry.example.texts.is_empty();
        for entry in parted.pool.iter().filter(told) {
            let found = found.entry(&entry.key).or_default();
            match draws {
                true if found.drawn.last().is_none_or(|(last, _)| *last != rank) => {
                    found.drawn.push((rank, entry.stratum.clone()));
                }
                true => {}
                false => found.given.push((rank, Part::Train)),
            }
        }
        for (part, rows) in [(Part::Dev, &parted.dev), (Part::Test, &parted.test)] {
            rows.iter().filter(told).for_each(|entry| found.entry(&entry.key).or_default().given.push((rank, part)));
        }
    }
    let mut wanted = vec![HashMap::new(); distinct];
    // Those that only drawing tables have, by these tables and the class.
    let mut together: BTreeMap<(Vec<usize>, String), Vec<&str>> = BTreeMap::new();
    for (text, mut found) in found {
        found.drawn.sort_unstable();
        let holders: Vec<usize> = found.drawn.iter().map(|(rank, _)| *rank).collect();
        let mut follows = false;
        for &rank in &holders {
            let given = found.given.iter().filter(|(other, _)| *other != rank).map(|(_, part)| *part).max();
            if let Some(part) = given {
                follows = true;
                wanted[rank].insert(text.to_string(), (part, true));
            }
        }
        if !follows && holders.len() > 1 {
            let class = found.drawn.iter().map(|(_, class)| class).find(|class| !class.is_empty());
            together.entry((holders, class.cloned().unwrap_or_default())).or_default().push(text);
        }
    }
    for ((holders, class), mut texts) in together {
        let parted: Vec<&Parted> = holders.iter().filter_map(|&rank| of_rank[rank]).collect();
        let share = |which: usize| parted.iter().map(|p| p.shares[which]).find(|share| *share > 0.).unwrap_or(0.);
        let seed = parted.first().map_or(0, |parted| parted.seed);
        let key = Key::new(seed).named("split").named("shared").named(&class);
        texts.sort_by_cached_key(|text| (key.named(text).bits(), *text));
        let count = |share: f64| (share * texts.len() as f64).round() as usize;
        let (test, dev) = (count(share(1)), count(share(0)));
        for (at, text) in texts.iter().enumerate() {
            let part = match at {
                _ if at < test => Part::Test,
                _ if at < test + dev => Part::Dev,
                _ => Part::Train,
            };
            for &rank in &holders {
                wanted[rank].insert((*text).to_string(), (part, false));
            }
        }
    }
    wanted
}
