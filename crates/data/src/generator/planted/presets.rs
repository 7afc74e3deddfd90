//! Graphs that have a name.

use super::graph::{Form, Node};

/// A graph with a name.
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// How many rows a run takes of tasks that have few.
    nodes: fn(usize) -> Vec<Node>,
}

/// Rows of tasks that have many.
const MANY: usize = 1000;

pub(super) const PRESETS: &[Preset] = &[
    Preset { name: "related", nodes: |few| vec![large("topic"), genre(few)] },
    Preset { name: "conflict", nodes: |few| vec![large("topic"), clash(few)] },
    Preset { name: "unrelated", nodes: |few| vec![large("place"), node("genre", 2, few)] },
    Preset { name: "mixed", nodes: |few| vec![large("topic"), genre(few), clash(few)] },
    Preset { name: "clusters", nodes: clusters },
    Preset { name: "text", nodes: |_| text() },
];

impl Preset {
    /// Its tasks, small ones of `few` rows.
    pub(super) fn graph(&self, few: usize) -> Vec<Node> {
        (self.nodes)(few)
    }
}

fn node(name: &str, classes: usize, size: usize) -> Node {
    Node { name: name.into(), classes, size, ..Node::default() }
}

fn large(name: &str) -> Node {
    node(name, 4, MANY)
}

/// Two classes, each of two of `topic`'s.
fn genre(few: usize) -> Node {
    related(node("genre", 2, few), "topic")
}

/// Two classes across all of `topic`'s.
fn clash(few: usize) -> Node {
    conflicting(node("clash", 2, few), "topic")
}

fn related(node: Node, to: &str) -> Node {
    Node { related: [(to.to_string(), 1.)].into(), ..node }
}

fn conflicting(node: Node, with: &str) -> Node {
    Node { conflict: [(with.to_string(), 1.)].into(), ..node }
}

/// Eight tasks in three clusters, each of one large task and its small relatives. The second reads the words of the
/// first across, the third words of its own.
fn clusters(few: usize) -> Vec<Node> {
    vec![
        large("topic"),
        genre(few),
        related(node("theme", 4, few), "topic"),
        conflicting(large("rhyme"), "topic"),
        related(node("metre", 2, few), "rhyme"),
        related(node("verse", 4, few), "rhyme"),
        large("place"),
        related(node("region", 2, few), "place"),
    ]
}

/// Text of four lists, whose words keep company by a reading that no other preset's task has: what is learnt of it says
/// nothing of their labels.
fn text() -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut text = Node { kind: Form::Text, ..node("text", 4, 0) };
    for list in ["one", "two", "three", "four"] {
        let across = format!("{list}-across");
        nodes.push(node(list, 4, 0));
        nodes.push(conflicting(node(&across, 4, 0), list));
        text.conflict.extend([list.to_string(), across].map(|name| (name, 0.25)));
    }
    nodes.push(text);
    nodes
}

#[cfg(test)]
mod tests {
    use super::super::graph::{Relation, readings, relation};
    use super::*;

    fn relations(name: &str) -> Vec<(String, String, Relation)> {
        let graph = PRESETS.iter().find(|preset| preset.name == name).expect("a preset").graph(50);
        let found = readings(&graph).expect("a valid graph");
        let pairs = (0..graph.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        pairs.map(|(i, j)| (graph[i].name.clone(), graph[j].name.clone(), relation(&found[i], &found[j]))).collect()
    }

    #[test]
    fn presets_relate_their_tasks_as_their_names_say() {
        let of = |name: &str| relations(name).into_iter().map(|(_, _, relation)| relation).collect::<Vec<_>>();
        assert_eq!(of("related"), [Relation::Related]);
        assert_eq!(of("conflict"), [Relation::Conflicting]);
        assert_eq!(of("unrelated"), [Relation::Unrelated]);
        // topic–genre, topic–clash, genre–clash.
        assert_eq!(of("mixed"), [Relation::Related, Relation::Conflicting, Relation::Conflicting]);
    }

    /// Every list of any preset is in the text, by a reading that no task has.
    #[test]
    fn the_text_knows_all_words_and_no_task() {
        let of = |name: &str| {
            let preset = PRESETS.iter().find(|preset| preset.name == name).expect("a preset");
            readings(&preset.graph(50)).expect("a valid graph")
        };
        let text = of("text").pop().expect("tasks");
        assert_eq!(
            text.iter().map(|reading| (reading.list, reading.reading)).collect::<Vec<_>>(),
            [(0, 2), (1, 2), (2, 2), (3, 2)]
        );
        for preset in PRESETS.iter().filter(|preset| preset.name != "text") {
            assert!(of(preset.name).iter().flatten().all(|reading| reading.list < 4 && reading.reading < 2));
        }
    }

    #[test]
    fn eight_tasks_stand_in_three_clusters() {
        let cluster = |name: &str| match name {
            "topic" | "genre" | "theme" => 0,
            "rhyme" | "metre" | "verse" => 1,
            _ => 2,
        };
        let found = relations("clusters");
        assert_eq!(found.len(), 28);
        for (a, b, relation) in found {
            let wanted = match (cluster(&a), cluster(&b)) {
                (one, other) if one == other => Relation::Related,
                (0 | 1, 0 | 1) => Relation::Conflicting,
                _ => Relation::Unrelated,
            };
            assert_eq!(relation, wanted, "{a} and {b}");
        }
    }
}
