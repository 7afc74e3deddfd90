//! Settings of single tasks in a recipe: how they may be written, what is refused, and what a resolved recipe says.

use mtl_train::{Keep, Recipe};

const CHECKPOINT: &str = "checkpoint = \"m\"\n";

fn parse(text: &str, overrides: &[&str]) -> anyhow::Result<Recipe> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    Recipe::parse(&Default::default(), "my.toml", text, &overrides).map(|(recipe, _)| recipe)
}

fn refused(text: &str, overrides: &[&str], named: &[&str]) {
    let error = format!("{:#}", parse(text, overrides).expect_err("a recipe that cannot be"));
    for part in named {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
}

/// `text` and what it resolves to, read back.
fn resolved(text: &str, overrides: &[&str]) -> (Recipe, String) {
    let recipe = parse(text, overrides).unwrap_or_else(|error| panic!("{overrides:?}: {error:#}\n{text}"));
    let resolved = recipe.to_toml().expect("TOML");
    let again = Recipe::parse_resolved(&Default::default(), "again", &resolved);
    let again = again.unwrap_or_else(|error| panic!("{error:#}\n{resolved}"));
    assert_eq!(again, recipe, "{resolved}");
    assert_eq!(again.to_toml().expect("TOML"), resolved);
    assert_eq!(parse(&resolved, &[]).expect("a recipe"), recipe);
    (recipe, resolved)
}

#[test]
fn every_way_to_write_settings_says_the_same() {
    let ways = [
        format!("{CHECKPOINT}tasks = [\"a\", {{ name = \"b\", limit = 50, head = {{ hidden = 8 }} }}, \"c\"]\n"),
        format!(
            "{CHECKPOINT}tasks = [\"a\", \"b\", \"c\"]\n[[task]]\nname = \"b\"\nlimit = 50\nhead = {{ hidden = 8 }}\n"
        ),
        format!("{CHECKPOINT}tasks = [\"a\", \"b\", \"c\"]\n[task.b]\nlimit = 50\nhead = {{ hidden = 8 }}\n"),
        format!(
            "{CHECKPOINT}[[task]]\nname = \"a\"\n[[task]]\nname = \"b\"\nlimit = 50\nhead.hidden = 8\n[[task]]\nname = \
             \"c\"\n"
        ),
        format!(
            "{CHECKPOINT}tasks = [\"a\", \"b\"]\n[[task]]\nname = \"c\"\n[[task]]\nname = \"b\"\nlimit = 50\nhead.hidden = 8\n"
        ),
    ];
    let (first, text) = resolved(&ways[0], &[]);
    assert_eq!((first.task("b").limit, first.task("a").limit), (Some(50), None));
    assert_eq!((first.head_of("b").hidden, first.head_of("a").hidden), (8, 0));
    assert_eq!(first.head_of("b").dropout, first.head.dropout, "what is left out is as for all");
    assert!(text.contains("tasks = [\"a\", \"b\", \"c\"]") && text.contains("[task.b]\nlimit = 50"), "{text}");
    for way in &ways[1..] {
        assert_eq!(resolved(way, &[]).0, first, "{way}");
    }
    let plain = format!("{CHECKPOINT}tasks = [\"a\", \"b\", \"c\"]\n");
    for overrides in [
        &["task.b.limit=50", "task.b.head.hidden=8"][..],
        &["task.b.limit=7", "task.\"b\".limit=50", "task.b.head={ hidden = 8 }"],
        &["tasks=[\"a\", { name = \"b\", limit = 50, head = { hidden = 8 } }, \"c\"]"],
        &["tasks=[\"a\", { name = \"b\", limit = 7 }, \"c\"]", "task.b.limit=50", "task.b.head.hidden=8"],
        &["task.b.limit=7", "task.b.head.hidden=8", "tasks=[\"a\", { name = \"b\", limit = 50 }, \"c\"]"],
    ] {
        assert_eq!(resolved(&plain, overrides).0, first, "{overrides:?}");
    }
    // Without any, a resolved recipe is what it was before there were any.
    assert!(!resolved(&plain, &[]).1.contains("[task"));
}

#[test]
fn every_setting_is_reached_by_the_name_that_reports_use() {
    let text = format!("{CHECKPOINT}tasks = [\"my/tickets.toml:team\", \"tickets.urgency\", \"spam-assassin\"]\n");
    let set = [
        "task.tickets.team.limit=5",
        "task.tickets.team.head.hidden=4",
        "task.tickets.urgency.dev_limit=6",
        "task.tickets.urgency.test_limit=7",
        "task.tickets.urgency.patience=3",
        "task.spam-assassin.learning_rate=1e-3",
        "task.spam-assassin.loss_weight=2",
        "task.spam-assassin.weight=0.5",
        "task.tickets.team.batch=4",
        "task.tickets.team.metric=matthews",
    ];
    let (recipe, _) = resolved(&text, &set);
    let (team, urgency, spam) =
        (recipe.task("tickets.team"), recipe.task("tickets.urgency"), recipe.task("spam-assassin"));
    assert_eq!((team.limit, team.batch, team.metric.as_deref()), (Some(5), Some(4), Some("matthews")));
    assert_eq!((urgency.dev_limit, urgency.test_limit, urgency.patience), (Some(6), Some(7), Some(3)));
    assert_eq!((spam.learning_rate, spam.loss_weight, spam.weight), (Some(1e-3), Some(2.), Some(0.5)));
    assert_eq!(recipe.task_names(), ["tickets.team", "tickets.urgency", "spam-assassin"]);
    let options = recipe.load_options_of("tickets.team");
    assert_eq!((options.limit_train, options.limit_dev), (5, recipe.evaluation.dev_limit()));
    let options = recipe.load_options_of("tickets.urgency");
    assert_eq!((options.limit_train, options.limit_dev, options.limit_test), (0, 6, 7));
    let (limited, _) = resolved(&text, &["evaluation.limit=9", "task.tickets.team.dev_limit=0", "train.limit=3"]);
    let options = limited.load_options_of("tickets.team");
    assert_eq!((options.limit_train, options.limit_dev, options.limit_test), (3, 0, 9), "a task's own goes first");
}

#[test]
fn settings_that_cannot_be_are_refused_where_they_stand() {
    let text = |more: &str| format!("{CHECKPOINT}tasks = [\"a\", \"b\"]\n{more}\n");
    refused(&text("[task.b]\nlimti = 3"), &[], &["my.toml:4:1", "`limti` in [task.b]", "did you mean `limit`?"]);
    refused(&text("[[task]]\nname = \"b\"\nlimti = 3"), &[], &["my.toml:5:1", "did you mean `limit`?"]);
    let inline = format!("{CHECKPOINT}tasks = [\"a\", {{ name = \"b\", limti = 3 }}]\n");
    refused(&inline, &[], &["my.toml:2:29", "did you mean `limit`?"]);
    refused(&text("[task.bb]\nlimit = 3"), &[], &["my.toml:3:", "no task `bb`", "did you mean `b`?", "there are a, b"]);
    refused(&text("[task.b]\nlimit = -3"), &[], &["my.toml:4:1", "`limit` cannot be -3"]);
    refused(&text("[[task]]\nlimit = 3"), &[], &["without a `name`"]);
    refused(&text("[[task]]\nname = 3"), &[], &["`name` must be the name"]);
    refused(&text("task = 3"), &[], &["`task` must be tables"]);
    refused(&text("task = [3]"), &[], &["[[task]] holds 3"]);
    refused(&text("[task]\nb = 3"), &[], &["the settings of `b` must be a table"]);
    let twice = "[[task]]\nname = \"b\"\nlimit = 3\n[[task]]\nname = \"b\"\nbatch = 3";
    refused(&text(twice), &[], &["settings of task `b` are listed twice"]);
    refused(&text("[[task]]\nname = \"c\"\n[[task]]\nname = \"c\""), &[], &["two tasks are called `c`"]);
    for (key, named) in [
        ("task.bb.limit=3", "no task `bb` (did you mean `b`?)"),
        ("task.b.limti=3", "did you mean `limit`?"),
        ("task.b.batch=0", "`batch` must be at least 1"),
        ("task.b.batch=100000", "`batch` may be at most 65536"),
        ("task.b.loss_weight=0.0", "`loss_weight` must be a finite number above 0"),
        ("task.b.loss_weight=nan", "`loss_weight` must be finite"),
        ("task.b.weight=-1.0", "`weight` must be a finite number above 0"),
        ("task.b.learning_rate=-1.0", "`learning_rate` must be at least 0"),
        ("task.b.head=3", "`head` must be a table"),
        ("task.b.head.hiden=3", "did you mean `hidden`?"),
        ("task.b.head.dropout=1.0", "`dropout` must lie in [0, 1)"),
        ("task.b.head.pooling=most", "`pooling` cannot be \"most\""),
        ("task.b.metric=3", "`metric` cannot be 3"),
    ] {
        refused(&text(""), &[key], &[named, &format!("--set {}", key.split('=').next().unwrap_or_default())]);
    }
    refused(&text(""), &["task.b=3"], &["--set task.b=3", "task.NAME.key=value"]);
    refused(&text(""), &["task.b.batch=2", "task.b.weight=2.0"], &["task.b.weight", "would change nothing"]);
    parse(&text(""), &["task.b.batch=2", "task.b.weight=2.0", "train.step=one"]).expect("drawn by weight");
    let both = "[optimizer]\ntask_rates = { a = 1e-3 }\n[task.b]\nlearning_rate = 1e-3";
    refused(&text(both), &[], &["my.toml:6:1", "two answers to one question"]);
    let over =
        parse(&text("[task.b]\nlearning_rate = 1e-3"), &["optimizer.task_rates={ a = 1e-2 }"]).expect("in its place");
    assert_eq!((over.task("b").learning_rate, over.task_rates.len()), (None, 1));
}

#[test]
fn tasks_that_an_override_leaves_out_take_their_settings_along() {
    let text = format!("{CHECKPOINT}tasks = [\"a\", {{ name = \"b\", limit = 3 }}]\n");
    let set = ["tasks=[\"a\"]".to_string()];
    let (recipe, dropped) = Recipe::parse(&Default::default(), "my.toml", &text, &set).expect("a recipe");
    assert!(recipe.task_settings.is_empty());
    assert_eq!(dropped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["[task] keys of `b` dropped: limit"]);
    refused(&text, &["tasks=[\"a\"]", "task.b.limit=4"], &["--set task.b.limit", "no task `b`"]);
}

#[test]
fn a_task_with_patience_keeps_its_own_best_weights() {
    let text = format!("{CHECKPOINT}tasks = [\"a\", \"b\"]\n");
    assert_eq!(resolved(&text, &["task.a.patience=2"]).0.evaluation.keep, Keep::Each);
    assert_eq!(resolved(&text, &["task.a.patience=0"]).0.evaluation.keep, Keep::Best);
    refused(&text, &["task.a.patience=2", "evaluation.keep=best"], &["task.a.patience", "keep = \"each\""]);
    refused(&text, &["task.a.patience=2", "evaluation.every=0"], &["task.a.patience", "has only one"]);
    // Krum goes on among fewer tasks; a rule that cannot is refused beforehand.
    let four = format!("{CHECKPOINT}tasks = [\"a\", \"b\", \"c\", \"d\"]\n");
    resolved(&four, &["weighting.rule=krum", "task.b.patience=2"]);
    let mut registries = mtl_train::Registries::default();
    let krum = *registries.rules.find("krum").expect("it is there");
    let rigid = mtl_weighting::Rule { name: "rigid", aliases: &[], select: None, ..krum };
    registries.rules = registries.rules.with(rigid).expect("a new name");
    let set = ["weighting.rule=rigid".to_string(), "task.b.patience=2".into()];
    let error = Recipe::parse(&registries.into(), "my.toml", &four, &set).expect_err("refused").to_string();
    for part in ["--set task.b.patience", "rule `rigid` would decide among 3", "needs at least 4"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    for strategy in ["hard", "single", "soft", "cross-stitch"] {
        let strategy = format!("sharing.strategy={strategy}");
        assert_eq!(resolved(&text, &[&strategy, "evaluation.keep=each"]).0.evaluation.keep, Keep::Each);
    }
}

#[test]
fn epochs_stand_in_place_of_steps() {
    let text = |more: &str| format!("{CHECKPOINT}tasks = [\"a\", \"my/b.toml\"]\n[train]\n{more}\n");
    let (recipe, written) = resolved(&text("epochs = 3\nepochs_of = \"b\""), &[]);
    assert_eq!((recipe.train.epochs, recipe.train.epochs_of.as_deref(), recipe.train.steps), (Some(3.), Some("b"), 0));
    assert!(written.contains("epochs = 3.0") && !written.contains("\nsteps"), "{written}");
    refused(&text("epochs = 3\nsteps = 4"), &[], &["my.toml:4:1", "two answers to one question"]);
    refused(&text("epochs = 0.0"), &[], &["`epochs` must be a finite number above 0"]);
    refused(&text("epochs = 3\nepochs_of = \"bb\""), &[], &["my.toml:5:1", "no task `bb` (did you mean `b`?)"]);
    refused(&text("epochs_of = \"b\""), &[], &["there is no `epochs`"]);
    refused(&text("steps = 0"), &[], &["`steps` must be at least 1"]);
    // An override of the one takes the place of the other.
    assert_eq!(resolved(&text("steps = 5"), &["train.epochs=2"]).0.train.epochs, Some(2.));
    let counted = resolved(&text("epochs = 3\nepochs_of = \"b\""), &["train.steps=7"]).0.train;
    assert_eq!((counted.steps, counted.epochs, counted.epochs_of), (7, None, None));
}
