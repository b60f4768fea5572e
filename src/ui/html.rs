//! Pages for browsers: one file, without scripts and without anything from elsewhere, for a screen, a phone or paper.
//!
//! Every text goes through the same mask as on a terminal, what would steer or hide is spelt out, and then it is escaped:
//! names and reasons come out of bundles, and a bundle may come from anybody. Should one get through all the same, the
//! page's own policy lets a browser run and fetch nothing, and take no style but this one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::escape;
use super::masked::masked;
use super::page::Mark;
use super::repeated::Repeated;
use super::styled::{Role, Styled};
use crate::values::Secrets;

/// What every such page begins with.
pub const HTML_BEGIN: &str = "<!doctype html>\n<!-- dr report -->\n";

const STYLE: &str = include_str!("../../templates/report.css");

/// A page under construction.
#[derive(Debug)]
pub struct HtmlPage {
    title: String,
    body: String,
    in_section: bool,
    secrets: Secrets,
    repeated: Repeated,
}

impl HtmlPage {
    pub(super) fn new(title: &str, secrets: Secrets, repeated: Repeated) -> Self {
        let mut page = Self { title: String::new(), body: String::new(), in_section: false, secrets, repeated };
        page.title = page.text(title);
        page.body = format!("<h1>{}</h1>\n", page.title);
        page
    }

    /// The sentence that matters most.
    pub fn lead(&mut self, mark: Mark, text: &str) {
        let (class, text) = (class(mark_role(mark)), self.running(text));
        self.body.push_str(&format!("<p class=\"lead {class}\">{text}</p>\n"));
    }

    /// A paragraph; commands in backticks are set as such.
    pub fn paragraph(&mut self, text: &str) {
        let text = self.running(text);
        self.body.push_str(&format!("<p>{text}</p>\n"));
    }

    /// The command that is next.
    pub fn next(&mut self, command: &str) {
        let command = self.command(command);
        self.body.push_str(&format!("<p><span class=\"pointer\">next:</span> {command}</p>\n"));
    }

    /// Begins a section, which ends where the next one begins.
    pub fn section(&mut self, heading: &str) {
        self.end_section();
        let heading = self.text(heading);
        self.body.push_str(&format!("<section>\n<h2>{heading}</h2>\n"));
        self.in_section = true;
    }

    fn end_section(&mut self) {
        if std::mem::take(&mut self.in_section) {
            self.body.push_str("</section>\n");
        }
    }

    /// Several fields under each other.
    pub fn fields<V: Into<Styled>>(&mut self, fields: impl IntoIterator<Item = (&'static str, V)>) {
        self.body.push_str("<dl>\n");
        for (name, value) in fields {
            let (name, value) = (self.text(name), self.styled(value.into()));
            self.body.push_str(&format!("<dt>{name}</dt><dd>{value}</dd>\n"));
        }
        self.body.push_str("</dl>\n");
    }

    /// Findings: the part that each is about, how it stands, what was seen, and the command that fixes it.
    pub fn findings<'f>(&mut self, findings: impl IntoIterator<Item = (&'f str, Mark, &'f str, Option<&'f str>)>) {
        self.head(&["part", "state", "what was seen"]);
        for (part, mark, text, fix) in findings {
            let fix = fix.map_or(String::new(), |fix| format!("<p>{}</p>", self.command(fix)));
            let (part, mark) = (self.text(part), self.styled(mark.into()));
            let text = self.running(text);
            self.body.push_str(&format!("<tr><td>{part}</td><td>{mark}</td><td>{text}{fix}</td></tr>\n"));
        }
        self.body.push_str("</tbody></table>\n");
    }

    /// A table. On a phone each row is a paragraph whose cells bear the heads.
    pub fn table(&mut self, heads: &[&str], rows: impl IntoIterator<Item = Vec<Styled>>) {
        self.head(heads);
        for row in rows {
            self.body.push_str("<tr>");
            for (head, cell) in heads.iter().zip(row) {
                let attribute = format!(" data-head=\"{}\"", escaped(head));
                // A cell with nothing in it bears no head.
                let attribute = if cell.is_empty() { String::new() } else { attribute };
                let cell = self.styled(cell);
                self.body.push_str(&format!("<td{attribute}>{cell}</td>"));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table>\n");
    }

    fn head(&mut self, heads: &[&str]) {
        let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escaped(head))).collect();
        self.body.push_str(&format!("<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"));
    }

    /// The whole page, with what stands under it.
    pub fn finish(mut self, footer: &str) -> String {
        self.end_section();
        let (title, footer) = (&self.title, self.running(footer));
        let digest = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'");
        format!(
            "{HTML_BEGIN}<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n\
             <footer><p>{footer}</p></footer>\n</body>\n</html>\n",
            self.body
        )
    }

    /// A command line, or what leads to some, completed with what was given.
    fn command(&self, line: &str) -> String {
        format!("<code>{}</code>", self.text(&self.repeated.in_line(line)))
    }

    fn text(&self, text: &str) -> String {
        self.harmless(Styled::from(text)).plain()
    }

    /// Running text. What stands between two backticks is code; an odd one quotes nothing.
    fn running(&self, text: &str) -> String {
        let text = self.text(&self.repeated.in_text(text));
        let parts: Vec<&str> = text.split('`').collect();
        if parts.len().is_multiple_of(2) {
            return text;
        }
        let code = |(place, part): (usize, &&str)| match place % 2 {
            1 => format!("<code>{part}</code>"),
            _ => (*part).to_owned(),
        };
        parts.iter().enumerate().map(code).collect()
    }

    fn styled(&self, text: Styled) -> String {
        let text = self.harmless(text);
        let span = |(role, piece): (Role, &str)| match class(role) {
            "" => piece.to_owned(),
            class => format!("<span class=\"{class}\">{piece}</span>"),
        };
        text.pieces().map(span).collect()
    }

    /// Masked first: what is escaped is found by no mask.
    fn harmless(&self, text: Styled) -> Styled {
        masked(&self.secrets, text, |text| escaped(&escape::lines(text)))
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

fn mark_role(mark: Mark) -> Role {
    match mark {
        Mark::Ok => Role::Good,
        Mark::Warn => Role::Caution,
        Mark::Bad => Role::Bad,
    }
}

fn class(role: Role) -> &'static str {
    match role {
        Role::Plain => "",
        Role::Strong => "strong",
        Role::Faint => "faint",
        Role::Good => "good",
        Role::Caution => "caution",
        Role::Bad => "bad",
        Role::Pointer => "pointer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(texts: &[String; 6], secrets: Secrets) -> String {
        let text = |index: usize| texts[index].as_str();
        let mut page = HtmlPage::new(text(0), secrets, Repeated::default());
        page.lead(Mark::Warn, text(1));
        page.paragraph(text(2));
        page.next(text(3));
        page.section(text(4));
        page.fields([("name", text(5)), ("other", text(0))]);
        page.findings([(text(1), Mark::Bad, text(2), Some(text(3)))]);
        page.table(&["one", "two"], [vec![Styled::new(Role::Bad, text(4)), text(5).into()]]);
        page.finish(text(0))
    }

    #[test]
    fn a_command_in_backticks_is_code_and_an_odd_one_quotes_nothing() {
        let mut page = HtmlPage::new("t", Secrets::default(), Repeated::default());
        page.paragraph("run `dr doctor` <now>");
        page.paragraph("it said ` and no more");
        assert!(page.body.contains("<p>run <code>dr doctor</code> &lt;now&gt;</p>"), "{}", page.body);
        assert!(page.body.contains("<p>it said ` and no more</p>"), "{}", page.body);
    }

    #[test]
    fn a_secret_with_signs_that_are_escaped_is_masked_all_the_same() {
        let secrets = Secrets::default();
        secrets.register(b"<hunter&2'hunter>");
        let texts = ["a", "<hunter&2'hunter>", "x <hunter&2'hunter>", "c", "d", "<hunter&2'hunter>"].map(str::to_owned);
        let page = page(&texts, secrets);
        assert!(!page.contains("hunter") && page.contains("••••••••"), "{page}");
    }

    /// The tags of a page, without what is written into them.
    fn skeleton(page: &str) -> Vec<String> {
        let tags = regex::Regex::new("<[^>]*>").unwrap();
        tags.find_iter(page).map(|tag| tag.as_str().to_owned()).collect()
    }

    proptest! {
        #[test]
        fn whatever_a_page_is_given_its_tags_are_its_own(
            texts in proptest::array::uniform6("[a<>&\"'/=!\\-\u{1b}\u{202e}]{0,12}|<script>alert\\(1\\)</script>|\" onload=\"x|--><b>|\\PC{0,12}"),
        ) {
            let own = page(&texts.clone().map(|_| "x".to_owned()), Secrets::default());
            let odd = page(&texts, Secrets::default());
            let without_code = |page: &str| -> Vec<String> {
                skeleton(page).into_iter().filter(|tag| !tag.contains("code>")).collect()
            };
            let heads = |page: &str| -> Vec<String> {
                // An empty cell bears no head.
                without_code(page).into_iter().map(|tag| if tag.starts_with("<td") { "<td>".into() } else { tag }).collect()
            };
            prop_assert_eq!(heads(&odd), heads(&own));
            prop_assert!(odd.chars().all(|c| c == '\n' || c == '\t' || crate::text::is_safe(c)), "{:?}", odd);
        }
    }
}
