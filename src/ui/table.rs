//! Tables: fitted to a terminal, tab-separated elsewhere.

use unicode_width::UnicodeWidthStr;

use super::escape;
use super::page::Page;
use super::styled::{Role, Styled};

/// A column is not made narrower than this, or than its head.
const LEAST: usize = 8;
/// Between two columns.
const GAP: usize = 2;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    head: &'static str,
    spare: bool,
    whole: bool,
}

impl Column {
    /// A column that a narrow terminal leaves out, since another says the same in fewer words.
    pub const fn spare(head: &'static str) -> Self {
        Self { head, spare: true, whole: false }
    }

    /// A column that is never shortened: a time, a state, a version.
    pub const fn whole(head: &'static str) -> Self {
        Self { head, spare: false, whole: true }
    }
}

impl From<&'static str> for Column {
    fn from(head: &'static str) -> Self {
        Self { head, spare: false, whole: false }
    }
}

impl Page {
    /// A table, one row a line.
    ///
    /// On a terminal the first column is whole, since it is what other commands take; where the row does not fit, spare
    /// columns are left out from the right, then the widest cells are shortened in their middle. With `-v` nothing is:
    /// the rows are then paragraphs, and so they are on a terminal too narrow for any of this. Elsewhere the cells stand
    /// between single tabs, so that `cut` and `awk` find them whatever they hold.
    pub fn table<H: Into<Column> + Copy, C: Into<Styled> + Clone>(&mut self, heads: &[H], rows: &[Vec<C>]) {
        let mut columns: Vec<Column> = heads.iter().map(|head| (*head).into()).collect();
        let cell = |cell: &C| self.safe(cell.clone().into(), |text| escape::one_line(text).into_owned());
        let mut rows: Vec<Vec<Styled>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let Some(width) = self.width() else {
            self.push(joined(columns.iter().map(|column| Styled::from(column.head))));
            return rows.into_iter().for_each(|row| self.push(joined(row.into_iter())));
        };
        while !self.is_verbose() && total(&natural(&columns, &rows)) > width {
            let Some(spare) = columns.iter().rposition(|column| column.spare) else { break };
            columns.remove(spare);
            rows.iter_mut().filter(|row| row.len() > spare).for_each(|row| drop(row.remove(spare)));
        }
        let widths = natural(&columns, &rows);
        let fitting =
            if self.is_verbose() { (total(&widths) <= width).then_some(widths) } else { fit(widths, &columns, width) };
        let Some(widths) = fitting else { return self.stacked(&columns, rows) };
        let heads = columns.iter().map(|column| Styled::new(Role::Faint, column.head)).collect();
        for row in std::iter::once(heads).chain(rows) {
            self.push(aligned(row, &widths));
        }
    }

    fn stacked(&mut self, columns: &[Column], rows: Vec<Vec<Styled>>) {
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                self.gap();
            }
            let fields: Vec<(&str, Styled)> =
                columns.iter().map(|column| column.head).zip(row).filter(|(_, cell)| !cell.is_empty()).collect();
            self.fields(&fields);
        }
    }
}

fn joined(cells: impl Iterator<Item = Styled>) -> Styled {
    cells.enumerate().fold(Styled::default(), |line, (index, cell)| match index {
        0 => line.join(cell),
        _ => line.then(Role::Plain, "\t").join(cell),
    })
}

fn aligned(row: Vec<Styled>, widths: &[usize]) -> Styled {
    let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
    let cells = row.into_iter().zip(widths).take(last + 1).enumerate();
    cells.fold(Styled::default(), |line, (index, (cell, width))| {
        let cell = cell.fitted(*width);
        line.join(if index == last { cell } else { cell.padded(width + GAP) })
    })
}

fn natural(columns: &[Column], rows: &[Vec<Styled>]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.head.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    widths
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Takes columns away from the widest, the first and those that stay whole excepted, until all fit; nothing when they cannot.
fn fit(mut widths: Vec<usize>, columns: &[Column], width: usize) -> Option<Vec<usize>> {
    while total(&widths) > width {
        let least = |index: usize| columns[index].head.width().max(LEAST);
        let widest = (1..widths.len())
            .filter(|index| !columns[*index].whole && widths[*index] > least(*index))
            .max_by_key(|index| widths[*index])?;
        widths[widest] -= 1;
    }
    Some(widths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> Vec<Vec<&'static str>> {
        vec![
            vec![
                "restore-20260820T101500Z-0a1b2c",
                "2026-08-20 10:15Z",
                "open",
                "stage: the session with pod opschain-db-1 broke",
            ],
            vec!["create-20260819T020000Z-ffe012", "2026-08-19 02:00Z", "done", ""],
        ]
    }

    fn written(width: Option<usize>, verbose: bool) -> String {
        let mut page = Page::new(width).verbose(verbose);
        page.table(&["run".into(), Column::spare("begun"), "state".into(), "where it stands".into()], &rows());
        page.plain()
    }

    #[test]
    fn a_wide_terminal_shows_every_column_whole() {
        assert_eq!(
            written(Some(120), false),
            "run                              begun              state  where it stands\n\
             restore-20260820T101500Z-0a1b2c  2026-08-20 10:15Z  open   stage: the session with pod opschain-db-1 broke\n\
             create-20260819T020000Z-ffe012   2026-08-19 02:00Z  done\n"
        );
    }

    #[test]
    fn a_narrow_one_leaves_out_what_is_spare_and_shortens_the_longest() {
        assert_eq!(
            written(Some(80), false),
            "run                              state  where it stands\n\
             restore-20260820T101500Z-0a1b2c  open   stage: the session w…opschain-db-1 broke\n\
             create-20260819T020000Z-ffe012   done\n"
        );
    }

    #[test]
    fn what_stays_whole_is_shortened_on_no_terminal() {
        let mut page = Page::new(Some(60));
        page.table(
            &["run".into(), Column::whole("begun"), "state".into()],
            &[vec!["create-1", "2026-08-20 10:15Z", "stage: the session with pod opschain-db-1 broke"]],
        );
        assert!(page.plain().contains("2026-08-20 10:15Z") && page.plain().contains('…'), "{}", page.plain());
    }

    #[test]
    fn all_of_it_where_that_is_asked_for_and_where_nothing_else_fits() {
        let whole = written(Some(80), true);
        assert!(whole.contains("begun            2026-08-20 10:15Z\n"), "{whole}");
        assert!(whole.contains("where it stands  stage: the session with pod opschain-db-1 broke\n\nrun "), "{whole}");
        assert!(written(Some(30), false).starts_with("run:\n  restore-20260820T101500Z-0a1b2c\n"));
    }

    #[test]
    fn a_pipe_gets_one_row_a_line_with_single_tabs() {
        assert_eq!(
            written(None, false),
            "run\tbegun\tstate\twhere it stands\n\
             restore-20260820T101500Z-0a1b2c\t2026-08-20 10:15Z\topen\tstage: the session with pod opschain-db-1 broke\n\
             create-20260819T020000Z-ffe012\t2026-08-19 02:00Z\tdone\t\n"
        );
    }

    proptest! {
        #[test]
        fn rows_are_lines_and_columns_stand_under_each_other(
            cells in proptest::collection::vec(proptest::collection::vec("\\PC{0,30}|[\n\t\u{1b}\u{9b}東e\u{301}]{0,9}", 3), 1..5),
            width in 40usize..130,
        ) {
            let cells: Vec<Vec<String>> = cells;
            let mut piped = Page::new(None);
            piped.table(&["first", "second", "third"], &cells);
            let piped = piped.plain();
            prop_assert_eq!(piped.lines().count(), cells.len() + 1);
            prop_assert!(piped.lines().all(|line| line.matches('\t').count() == 2));
            let mut page = Page::new(Some(width));
            page.table(&["first", "second", "third"], &cells);
            let page = page.plain();
            if page.lines().next().is_some_and(|heads| heads.ends_with("third")) {
                prop_assert_eq!(page.lines().count(), cells.len() + 1);
                prop_assert!(page.lines().all(|line| line.width() <= width), "{}", page);
            }
        }
    }
}
