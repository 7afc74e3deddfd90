//! A table as Markdown and as LaTeX.

use crate::latex;
use crate::markdown;
use crate::table::Table;

/// The table as GitHub-flavoured Markdown, its title as a heading of the second level.
pub(super) fn markdown_of(table: &Table) -> String {
    let cell = |text: &str| markdown::escape(text);
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("## {}\n\n{}\n\n", cell(&table.title), cell(&table.note));
    text += &line(table.columns.iter().map(|column| cell(&column.name)).collect());
    text += &line(table.columns.iter().map(|column| if column.number { "--:" } else { "---" }.into()).collect());
    for row in &table.rows {
        let one = |found: &crate::table::Cell| match found.strong && !found.text.is_empty() {
            true => format!("**{}**", cell(&found.text)),
            false => cell(&found.text),
        };
        text += &line(row.iter().map(one).collect());
    }
    text
}

/// The table as a `table` environment; needs `booktabs` and `graphicx`, as [`crate::latex()`] does.
pub(super) fn latex_of(table: &Table, label: &str) -> String {
    let kinds: String = table.columns.iter().map(|column| if column.number { 'r' } else { 'l' }).collect();
    let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let head = line(table.columns.iter().map(|column| latex::escape(&column.name)).collect());
    let mut body = String::new();
    for row in &table.rows {
        let one = |found: &crate::table::Cell| match found.strong && !found.text.is_empty() {
            true => format!("\\textbf{{{}}}", number(&found.text)),
            false => number(&found.text),
        };
        body += &line(row.iter().map(one).collect());
    }
    format!(
        "% Needs \\usepackage[T1]{{fontenc}}, booktabs, graphicx and textcomp.\n\\begin{{table}}\n  \\centering\n  \
         \\caption{{{}: {}}}\n  \\label{{tab:{label}}}\n  \\vspace{{4pt}}\n  \\footnotesize\n  \
         \\setlength{{\\tabcolsep}}{{4pt}}\n  \
         \\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{\\ignorespaces\n  \
         \\begin{{tabular}}{{@{{}}{kinds}@{{}}}}\n    \\toprule\n{head}    \\midrule\n{body}    \\bottomrule\n  \
         \\end{{tabular}}}}\n\\end{{table}}\n",
        latex::escape(&table.title),
        latex::escape(&table.note)
    )
}

/// Text with the minus signs of its numbers set as such.
fn number(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        let signs = letter == '-' && matches!(before, ' ' | '[') && letters.peek().is_some_and(char::is_ascii_digit);
        if signs {
            out += &latex::escape(&std::mem::take(&mut plain));
            out += "$-$";
        } else {
            plain.push(letter);
        }
        before = letter;
    }
    out + &latex::escape(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Cell;

    #[test]
    fn cells_are_text_and_numbers_have_their_signs() {
        let mut table = Table::new("x", "a_b", "50 % of α", &["arm", "#gain"]);
        table.rows.push(vec![Cell::text("a|b & c-1"), Cell::of(-0.5, "-0.5 [-1, +0.1] ± 2").strong_if(true)]);
        let text = markdown_of(&table);
        assert!(text.contains("| a\\|b &amp; c-1 | **-0.5 \\[-1, +0.1\\] ± 2** |\n"), "{text}");
        assert!(text.contains("| --- | --: |\n"), "{text}");
        let text = latex_of(&table, "x");
        let row = "a{\\textbar}b";
        assert!(
            !text.contains(row) && text.contains("a\\textbar{}b \\& c-1 & \\textbf{$-$0.5 {[}$-$1, +0.1{]}"),
            "{text}"
        );
        assert!(
            text.contains("$\\pm$ 2") && text.contains("\\toprule") && text.contains("50 \\% of $\\alpha$"),
            "{text}"
        );
    }
}
