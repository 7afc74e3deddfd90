//! Recipes: what is refused, where, and with which remedy; overrides; the resolved recipe.

use mtl_train::Recipe;
use mtl_train::Registries;

const PLAIN: &str = "tasks = [\"a\", \"b\", \"c\", \"d\"]\ncheckpoint = \"m\"\n";

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

#[test]
fn an_unknown_key_is_refused_with_line_column_and_the_nearest_known() {
    let text = |line: &str| format!("{PLAIN}{line}\n");
    refused(&text("chekpoint = 1"), &[], &["my.toml:3:1", "unknown key `chekpoint`", "did you mean `checkpoint`?"]);
    refused(
        &text("[train]\nbatch = 4\nstesp = 3"),
        &[],
        &["my.toml:5:1", "`stesp` in [train]", "did you mean `steps`?"],
    );
    refused(&text("train = { batch = 4, stesp = 3 }"), &[], &["my.toml:3:22", "`stesp` in [train]"]);
    refused(
        &text("[weighting]\nrule = \"nash\"\n  max_nrom = 1.0"),
        &[],
        &["my.toml:5:3", "`max_nrom` in [weighting]", "did you mean `max_norm`?"],
    );
    refused(&text("[optimizer]\nname = \"sgd\"\nbeta1 = 0.9"), &[], &["my.toml:5:1", "`beta1`", "momentum"]);
    refused(&text("[head]\nhiden = 3"), &[], &["my.toml:4:1", "`hiden`", "did you mean `hidden`?"]);
    refused(&text("[evaluation]\nevry = 3"), &[], &["my.toml:4:1", "did you mean `every`?"]);
    refused(&text("[schedule]\nwarmup = 3"), &[], &["my.toml:4:1", "did you mean `warmup_"]);
    refused(PLAIN, &["train.stesp=3"], &["--set train.stesp", "did you mean `steps`?"]);
    refused("tasks = [\n", &[], &["my.toml", "line 1"]);
}

#[test]
fn names_of_members_are_refused_with_the_nearest() {
    for (key, nearest) in [
        ("weighting.rule=nahs", "did you mean `nash`?"),
        ("sharing.strategy=hrad", "did you mean `hard`?"),
        ("sampler.name=uniforn", "did you mean `uniform`?"),
        ("optimizer.name=adam", "did you mean `adamw`?"),
        ("schedule.name=lineal", "did you mean `linear`?"),
    ] {
        let section = key.split('.').next().unwrap_or_default();
        refused(PLAIN, &[key], &[section, "unknown", nearest, "there are"]);
    }
}

#[test]
fn tasks_are_names_of_their_own() {
    let tasks = |list: &str| format!("checkpoint = \"m\"\ntasks = {list}\n");
    refused(&tasks("[\"spam\", \"mood\", \"spam\"]"), &[], &["my.toml:2:1", "two tasks are called `spam`"]);
    refused(&tasks("[]"), &[], &["`tasks` is empty"]);
    refused(&tasks("\"spam\""), &[], &["a list of dataset names"]);
    refused(&tasks("[1]"), &[], &["holds 1"]);
    refused("checkpoint = \"m\"\n", &[], &["`tasks` must be a list"]);
    refused("tasks = [\"a\"]\n", &[], &["`checkpoint` is missing"]);
}

#[test]
fn values_of_the_wrong_type_or_size_are_refused_with_their_place() {
    for (key, named) in [
        ("train.steps=many", "`steps` cannot be \"many\""),
        ("train.steps=-1", "`steps` cannot be -1"),
        ("train.steps=0", "`steps` must be at least 1"),
        ("train.batch=0", "`batch` must be at least 1"),
        ("train.accumulate=0", "`accumulate` must be at least 1"),
        ("train.max_tokens=2", "`max_tokens` must be at least 3"),
        ("train.clip=-1", "`clip` must be at least 0"),
        ("train.clip=nan", "`clip`"),
        ("train.divergence=1.5", "`divergence` must be 0 or at least 2, found 1.5"),
        ("train.divergence=-3.0", "`divergence` must be 0 or at least 2"),
        ("train.divergence=inf", "`divergence` must be finite"),
        ("train.dropout=nan", "`dropout` must be finite"),
        ("train.divergence_steps=0", "`divergence_steps` must be at least 1"),
        ("train.dropout=1.0", "`dropout` must lie in [0, 1)"),
        ("train.step=both", "`step` cannot be \"both\""),
        ("train.precision=f16", "`precision` cannot be"),
        ("head.dropout=-0.5", "`dropout` must lie in [0, 1)"),
        ("evaluation.batch=0", "`batch` must be at least 1"),
        ("evaluation.test=closed", "`test` cannot be"),
        ("schedule.warmup_ratio=2.0", "`warmup_ratio` must lie in [0, 1]"),
        ("schedule.warmup_steps=1000", "there are 300 steps"),
        ("optimizer.rate=fast", "invalid type: string \"fast\""),
        ("optimizer.rate=-1.0", "`rate` must be"),
        ("optimizer.beta1=1.5", "`beta1` must lie in [0, 1)"),
        ("weighting.private=mine", "`private` cannot be"),
        ("sampler.name=3", "`name` must be a name"),
        ("train=3", "`train` must be a section"),
        ("a.b.c=3", "unknown key `a`"),
        ("a..c=3", "neither a key nor section.key"),
        ("steps", "write it as section.key=value"),
    ] {
        refused(PLAIN, &[key], &[named, key.split('=').next().unwrap_or_default()]);
    }
    refused(PLAIN, &["evaluation.patience=2", "evaluation.every=0"], &["`patience` counts looks at dev"]);
    refused(PLAIN, &["sampler.name=annealed", "sampler.floor=3.0"], &["--set sampler", "`floor` must lie in [0, 1]"]);
}

#[test]
fn cells_of_the_grid_that_cannot_run_are_refused_with_reason_and_remedy() {
    for rule in Registries::default().rules.iter().filter(|rule| rule.class != mtl_weighting::Class::Losses) {
        let set = format!("weighting.rule={}", rule.name);
        refused(
            PLAIN,
            &[&set, "sharing.strategy=single"],
            &[rule.name, "strategy `single` shares none", "take a rule over losses", "a strategy that shares (hard)"],
        );
        refused(
            PLAIN,
            &[&set, "train.step=one"],
            &[rule.name, "every task in every step", "set train.step = \"joint\""],
        );
        parse(PLAIN, &[&set]).unwrap_or_else(|error| panic!("{}: {error:#}", rule.name));
    }
    for rule in Registries::default().rules.iter().filter(|rule| rule.class == mtl_weighting::Class::Losses) {
        let set = format!("weighting.rule={}", rule.name);
        refused(PLAIN, &[&set, "weighting.over=layerwise"], &["weighting.over", "sees losses alone", "nash"]);
        parse(PLAIN, &[&set, "sharing.strategy=single"]).unwrap_or_else(|error| panic!("{}: {error:#}", rule.name));
    }
    refused(PLAIN, &["weighting.rule=graddrop", "weighting.over=layerwise"], &["coordinate by coordinate", "\"all\""]);
    refused(PLAIN, &["weighting.rule=fixed", "weighting.weights=[1.0]"], &["weighting", "1 weights for 4 tasks"]);
}

#[test]
fn another_member_drops_the_old_ones_keys_and_says_which() {
    let text = format!(
        "{PLAIN}[weighting]\nrule = \"nash\"\nmax_norm = 2.0\nprivate = \"own\"\n[optimizer]\nname = \"sgd\"\n\
         momentum = 0.5\nrate = 0.1\n"
    );
    let set = ["weighting.rule=uncertainty".to_string(), "optimizer.name=adamw".into(), "optimizer.rate=0.5".into()];
    let (recipe, dropped) = Recipe::parse(&Default::default(), "my.toml", &text, &set).expect("a recipe");
    let said: Vec<String> = dropped.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["[weighting] keys of `nash` dropped: max_norm", "[optimizer] keys of `sgd` dropped: momentum, rate"]
    );
    assert_eq!(
        (recipe.weighting.name.as_str(), recipe.optimizer.settings["rate"].as_f64()),
        ("uncertainty", Some(0.5))
    );
    assert_eq!(recipe.private, mtl_weighting::Private::Own, "a key of no member stays");
    let same = ["weighting.rule=nash".to_string(), "train.seed=7".into()];
    let (recipe, dropped) = Recipe::parse(&Default::default(), "my.toml", &text, &same).expect("a recipe");
    assert!(dropped.is_empty() && recipe.weighting.settings["max_norm"] == 2.0 && recipe.train.seed == 7);
}

#[test]
fn a_value_that_is_not_toml_is_a_string() {
    let recipe = parse(PLAIN, &["checkpoint=some model, v2", "weighting.over=layerwise", "weighting.rule=nash"]);
    assert_eq!(recipe.expect("a recipe").checkpoint, "some model, v2");
    let recipe = parse(PLAIN, &["tasks=[\"x\", \"y\"]"]).expect("a recipe");
    assert_eq!(recipe.tasks, ["x", "y"]);
}

#[test]
fn a_resolved_recipe_reads_back_as_itself() {
    let mut cells: Vec<Vec<String>> = Registries::default()
        .rules
        .iter()
        .map(|rule| vec![format!("weighting.rule={}", rule.name)])
        .chain(Registries::default().optimizers.iter().map(|entry| vec![format!("optimizer.name={}", entry.name)]))
        .chain(Registries::default().samplers.iter().map(|entry| vec![format!("sampler.name={}", entry.name)]))
        .chain(Registries::default().schedules.iter().map(|entry| vec![format!("schedule.name={}", entry.name)]))
        .chain(mtl_sharing::STRATEGIES.iter().map(|entry| vec![format!("sharing.strategy={}", entry.name)]))
        .collect();
    let more = ["weighting.rule=nash", "weighting.over=[\"layer.0\"]", "weighting.private=normalised"];
    cells.push(more.map(String::from).to_vec());
    let more = ["train.dropout=0.25", "evaluation.limit=0", "train.precision=f64", "train.clip=0.1"];
    cells.push(more.map(String::from).to_vec());
    cells.push(["train.divergence=3.0", "train.divergence_steps=7"].map(String::from).to_vec());
    cells.push(vec!["train.divergence=0.0".to_string()]);
    for cell in cells {
        let (recipe, _) = Recipe::parse(&Default::default(), "my.toml", PLAIN, &cell)
            .unwrap_or_else(|error| panic!("{cell:?}: {error:#}"));
        let text = recipe.to_toml().expect("TOML");
        let again = parse(&text, &[]).unwrap_or_else(|error| panic!("{cell:?}: {error:#}\n{text}"));
        assert_eq!(again, recipe, "{cell:?}");
        assert_eq!(again.to_toml().expect("TOML"), text, "{cell:?}");
    }
}
