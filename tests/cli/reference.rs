//! The reference of the command line is what the program says of itself.

use std::fmt::Write;

use dr::internals::ops::restore::{RestoreStrategy, step_names};

/// Writes the page with `DR_WRITE_DOCS=1`, and otherwise compares it.
#[test]
fn the_reference_page_is_what_help_says() {
    let mut page = String::from("# Command line\n\nWhat `dr --help` and the help of each verb say.\n");
    let mut command = dr::internals::cli::command();
    command.build();
    write_command(&mut page, &command, "dr");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/cli.md");
    if std::env::var_os("DR_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/cli.md is not what help says: DR_WRITE_DOCS=1 cargo test --test cli writes it"
    );
}

fn write_command(page: &mut String, command: &clap::Command, name: &str) {
    let depth = "#".repeat(name.split(' ').count() + 1);
    let help = command.clone().bin_name(name).color(clap::ColorChoice::Never).term_width(100).render_help();
    // The global flags stand at the top of the page only.
    let help = help.to_string();
    // The global flags stand at the top of the page only.
    let text = if name == "dr" { help.clone() } else { without_global(&help) };
    writeln!(page, "\n{depth} {name}\n\n```text\n{}\n```", text.trim_end()).unwrap();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_command(page, sub, &format!("{name} {}", sub.get_name()));
    }
}

fn without_global(help: &str) -> String {
    let Some((before, global)) = help.split_once("\nGlobal:\n") else { return help.to_owned() };
    let after = global.split_once("\n\n").map_or("", |(_, after)| after);
    format!("{before}\n{after}")
}

#[test]
fn every_verb_has_help_and_an_example() {
    let mut wanting = Vec::new();
    let mut command = dr::internals::cli::command();
    command.build();
    look(&command, "dr", &mut wanting);
    assert!(wanting.is_empty(), "{}", wanting.join(", "));
}

fn look(command: &clap::Command, name: &str, wanting: &mut Vec<String>) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("{name} {}", sub.get_name());
        if sub.get_about().is_none() {
            wanting.push(format!("{name} has no help"));
        }
        if sub.get_after_help().is_none_or(|text| !text.to_string().contains("Example")) {
            wanting.push(format!("{name} has no example"));
        }
        look(sub, &name, wanting);
    }
}

#[test]
fn the_runbook_explains_every_step_of_a_restore_in_its_order() {
    let runbook = include_str!("../../docs/runbooks/restore.md");
    let (first, second) = runbook.split_once("### By `adopt`").unwrap();
    let (second, third) = second.split_once("### Over an install that lives").unwrap();
    let tables =
        [(first, RestoreStrategy::Hibernate), (second, RestoreStrategy::Adopt), (third, RestoreStrategy::IntoExisting)];
    for (table, strategy) in tables {
        for (index, step) in step_names(strategy).iter().enumerate() {
            let row = format!("| {} | `{step}` |", index + 1);
            assert!(table.contains(&row), "docs/runbooks/restore.md lacks for {strategy:?}: {row}");
        }
    }
}
