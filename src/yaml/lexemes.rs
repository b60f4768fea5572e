//! Tokens of more than one sign: scalars, anchors, tags and directives.

use super::cursor::{Cursor, TextMark};
use super::token::{ScalarStyle, TokenKind};
use super::tree::YamlError;

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// `&name` or `*name`.
pub(super) fn anchor(cursor: &mut Cursor<'_>) -> Result<TokenKind, YamlError> {
    let start = cursor.mark;
    let is_alias = cursor.byte(0) == b'*';
    cursor.skip();
    let mut name = String::new();
    while is_name(cursor.byte(0)) {
        cursor.read(&mut name);
    }
    if name.is_empty() || !(cursor.is_gap(0) || b"?:,]}%@`".contains(&cursor.byte(0))) {
        return cursor.refuse(start, "no name of an anchor: a text that begins with `&` or `*` needs quotes");
    }
    Ok(if is_alias { TokenKind::Alias(name) } else { TokenKind::Anchor(name) })
}

/// `!name`, `!!name`, `!handle!name` or `!<name>`.
pub(super) fn tag(cursor: &mut Cursor<'_>) -> Result<TokenKind, YamlError> {
    const BROKEN: &str =
        "no tag that Helm reads: a text that begins with `!` needs quotes, and a tag a blank behind it";
    let start = cursor.mark;
    cursor.skip();
    let tag = if cursor.byte(0) == b'<' {
        cursor.skip();
        let mut name = String::new();
        let is_whole = uri(cursor, &mut name)? && !name.is_empty() && cursor.byte(0) == b'>';
        if !is_whole {
            return cursor.refuse(start, BROKEN);
        }
        cursor.skip();
        Some(name.strip_prefix("tag:yaml.org,2002:").map_or(name.clone(), |name| format!("!!{name}")))
    } else {
        let mut name = String::new();
        while is_name(cursor.byte(0)) {
            cursor.read(&mut name);
        }
        let has_handle = cursor.byte(0) == b'!';
        let is_standard = has_handle && name.is_empty();
        if has_handle {
            cursor.skip();
        }
        let mut rest = String::new();
        if !uri(cursor, &mut rest)? || (has_handle && rest.is_empty()) {
            return cursor.refuse(start, BROKEN);
        }
        match (has_handle, is_standard) {
            (true, true) => Some(format!("!!{rest}")),
            (true, false) => None,
            (false, _) => Some(format!("!{name}{rest}")),
        }
    };
    if !cursor.is_gap(0) {
        return cursor.refuse(start, BROKEN);
    }
    Ok(TokenKind::Tag(tag))
}

/// The characters of an address; false for a broken escape.
fn uri(cursor: &mut Cursor<'_>, text: &mut String) -> Result<bool, YamlError> {
    while is_name(cursor.byte(0)) || (!cursor.is_end() && b";/?:@&=+$,.!~*'()[]%".contains(&cursor.byte(0))) {
        if cursor.byte(0) != b'%' {
            cursor.read(text);
            continue;
        }
        let mut bytes = Vec::new();
        loop {
            let octet = hex(cursor, 1, 2).filter(|_| cursor.byte(0) == b'%');
            let Some(octet) = octet.and_then(|octet| u8::try_from(octet).ok()) else { return Ok(false) };
            bytes.push(octet);
            (0..3).for_each(|_| cursor.skip());
            match std::str::from_utf8(&bytes) {
                Ok(char) => {
                    text.push_str(char);
                    break;
                }
                Err(error) if error.error_len().is_some() || bytes.len() > 3 => return Ok(false),
                Err(_) => {}
            }
        }
    }
    Ok(true)
}

/// The number that some hexadecimal digits write.
fn hex(cursor: &Cursor<'_>, ahead: usize, digits: usize) -> Option<u32> {
    let text = cursor.text.as_bytes().get(cursor.mark.at + ahead..cursor.mark.at + ahead + digits)?;
    if !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// A line that begins with `%`. What it says does not matter: no document of Helm's can have one before it.
pub(super) fn directive(cursor: &mut Cursor<'_>) -> Result<(), YamlError> {
    let start = cursor.mark;
    cursor.skip();
    let mut name = String::new();
    while is_name(cursor.byte(0)) {
        cursor.read(&mut name);
    }
    let is_known = cursor.is_gap(0)
        && match name.as_str() {
            "YAML" => version(cursor),
            "TAG" => handle(cursor)?,
            _ => false,
        };
    cursor.skip_blanks();
    cursor.skip_comment();
    if !is_known || !cursor.is_line_over() {
        return cursor.refuse(start, "a line that begins with `%` and is no directive: such a text needs quotes");
    }
    cursor.skip_line();
    Ok(())
}

fn version(cursor: &mut Cursor<'_>) -> bool {
    cursor.skip_blanks();
    let number = |cursor: &mut Cursor<'_>| {
        let start = cursor.mark.at;
        while cursor.byte(0).is_ascii_digit() {
            cursor.skip();
        }
        (1..=2).contains(&(cursor.mark.at - start))
    };
    number(cursor) && cursor.byte(0) == b'.' && {
        cursor.skip();
        number(cursor)
    }
}

fn handle(cursor: &mut Cursor<'_>) -> Result<bool, YamlError> {
    cursor.skip_blanks();
    if cursor.byte(0) != b'!' {
        return Ok(false);
    }
    cursor.skip();
    let mut name = String::new();
    while is_name(cursor.byte(0)) {
        cursor.read(&mut name);
    }
    match cursor.byte(0) {
        b'!' => cursor.skip(),
        _ if !name.is_empty() => return Ok(false),
        _ => {}
    }
    if !cursor.is_blank(0) {
        return Ok(false);
    }
    cursor.skip_blanks();
    let mut prefix = String::new();
    Ok(uri(cursor, &mut prefix)? && !prefix.is_empty() && cursor.is_gap(0))
}

/// The blanks and line ends between two words, of which some become part of the text.
#[derive(Default)]
struct Gap {
    blanks: String,
    first_end: String,
    more_ends: String,
    /// Whether a line has ended.
    is_lines: bool,
}

impl Gap {
    fn is_empty(&self) -> bool {
        !self.is_lines && self.blanks.is_empty()
    }

    fn end_line(&mut self, cursor: &mut Cursor<'_>) {
        if self.is_lines {
            cursor.read_line(&mut self.more_ends);
        } else {
            self.blanks.clear();
            cursor.read_line(&mut self.first_end);
            self.is_lines = true;
        }
    }

    /// One end of a line is a blank, of several one is lost.
    fn fold_into(&mut self, text: &mut String) {
        let gap = std::mem::take(self);
        if !gap.is_lines {
            text.push_str(&gap.blanks);
        } else if !gap.first_end.starts_with('\n') {
            text.push_str(&gap.first_end);
            text.push_str(&gap.more_ends);
        } else if gap.more_ends.is_empty() {
            text.push(' ');
        } else {
            text.push_str(&gap.more_ends);
        }
    }
}

/// A text without quotes, where it ends, and whether a line ended behind it.
pub(super) fn plain(
    cursor: &mut Cursor<'_>,
    margin: isize,
    in_brackets: bool,
) -> Result<(String, TextMark, bool), YamlError> {
    let (mut text, mut gap) = (String::new(), Gap::default());
    let mut end = cursor.mark;
    while !cursor.is_document_sign() && cursor.byte(0) != b'#' {
        while !cursor.is_gap(0) {
            let is_sign = in_brackets && b",?[]{}".contains(&cursor.byte(0));
            if is_sign || (cursor.byte(0) == b':' && cursor.is_gap(1)) {
                break;
            }
            if !gap.is_empty() {
                gap.fold_into(&mut text);
            }
            cursor.read(&mut text);
            end = cursor.mark;
        }
        if !(cursor.is_blank(0) || cursor.is_break(0)) {
            break;
        }
        while cursor.is_blank(0) || cursor.is_break(0) {
            if cursor.is_break(0) {
                gap.end_line(cursor);
            } else if !gap.is_lines {
                cursor.read(&mut gap.blanks);
            } else if (cursor.mark.column as isize) < margin + 1 && cursor.byte(0) == b'\t' {
                return cursor.refuse(cursor.mark, "a tab where only blanks may stand");
            } else {
                cursor.skip();
            }
        }
        if !in_brackets && (cursor.mark.column as isize) < margin + 1 {
            break;
        }
    }
    Ok((text, end, gap.is_lines))
}

/// A text in quotes of either kind.
pub(super) fn quoted(cursor: &mut Cursor<'_>) -> Result<TokenKind, YamlError> {
    let (start, quote) = (cursor.mark, cursor.byte(0));
    let mut text = String::new();
    cursor.skip();
    loop {
        if cursor.is_document_sign() || cursor.is_end() {
            return cursor.refuse(start, "the quote that begins here has no end");
        }
        let mut gap = Gap::default();
        while !cursor.is_gap(0) {
            match (quote, cursor.byte(0), cursor.byte(1)) {
                (b'\'', b'\'', b'\'') => {
                    cursor.skip();
                    cursor.read(&mut text);
                }
                (quote, sign, _) if sign == quote => break,
                (b'"', b'\\', _) if cursor.is_break(1) => {
                    cursor.skip();
                    cursor.skip_line();
                    gap.is_lines = true;
                    break;
                }
                (b'"', b'\\', _) => text.push(escape(cursor)?),
                _ => cursor.read(&mut text),
            }
        }
        if cursor.byte(0) == quote {
            break;
        }
        while cursor.is_blank(0) || cursor.is_break(0) {
            if cursor.is_break(0) {
                gap.end_line(cursor);
            } else if gap.is_lines {
                cursor.skip();
            } else {
                cursor.read(&mut gap.blanks);
            }
        }
        gap.fold_into(&mut text);
    }
    cursor.skip();
    Ok(TokenKind::Scalar(text, ScalarStyle::Quoted))
}

/// What a backslash and what follows it stand for.
fn escape(cursor: &mut Cursor<'_>) -> Result<char, YamlError> {
    let start = cursor.mark;
    let digits = match cursor.byte(1) {
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        _ => 0,
    };
    let char = match cursor.byte(1) {
        b'0' => '\0',
        b'a' => '\u{7}',
        b'b' => '\u{8}',
        b't' | b'\t' => '\t',
        b'n' => '\n',
        b'v' => '\u{b}',
        b'f' => '\u{c}',
        b'r' => '\r',
        b'e' => '\u{1b}',
        sign @ (b' ' | b'"' | b'\'' | b'\\') => char::from(sign),
        b'N' => '\u{85}',
        b'_' => '\u{a0}',
        b'L' => '\u{2028}',
        b'P' => '\u{2029}',
        b'x' | b'u' | b'U' => match hex(cursor, 2, digits).and_then(char::from_u32) {
            Some(char) => char,
            None => {
                return cursor
                    .refuse(start, "this escape is no character: half of a surrogate pair, or too few digits");
            }
        },
        _ => {
            return cursor
                .refuse(start, "an escape that Helm does not know: double the backslash, or use single quotes");
        }
    };
    (0..2 + digits).for_each(|_| cursor.skip());
    Ok(char)
}

/// A block (`|` or `>`), where its text begins, and where it ends.
pub(super) fn block(cursor: &mut Cursor<'_>, margin: isize) -> Result<(String, TextMark, TextMark), YamlError> {
    let is_literal = cursor.byte(0) == b'|';
    cursor.skip();
    let (keep, width) = block_header(cursor)?;
    let mut wanted = width.map_or(0, |width| usize::try_from(margin.max(0)).unwrap_or(0) + width);
    let (mut text, mut last_end, mut more_ends) = (String::new(), String::new(), String::new());
    let mut end = block_margin(cursor, &mut wanted, margin, &mut more_ends)?;
    let begin = if cursor.mark.column == wanted { cursor.mark } else { end };
    let mut was_blank = false;
    while cursor.mark.column == wanted && !cursor.is_end() {
        let is_blank = cursor.is_blank(0);
        if !is_literal && last_end.starts_with('\n') && !was_blank && !is_blank {
            if more_ends.is_empty() {
                text.push(' ');
            }
        } else {
            text.push_str(&last_end);
        }
        text.push_str(&more_ends);
        last_end.clear();
        more_ends.clear();
        was_blank = is_blank;
        while !cursor.is_line_over() {
            cursor.read(&mut text);
        }
        cursor.read_line(&mut last_end);
        end = block_margin(cursor, &mut wanted, margin, &mut more_ends)?;
    }
    if keep != Some(false) {
        text.push_str(&last_end);
    }
    if keep == Some(true) {
        text.push_str(&more_ends);
    }
    Ok((text, begin, end))
}

/// What stands behind the sign of a block: whether line ends at its end are kept (`+`) or dropped (`-`), and the width of
/// its margin.
fn block_header(cursor: &mut Cursor<'_>) -> Result<(Option<bool>, Option<usize>), YamlError> {
    let (start, mut keep, mut width) = (cursor.mark, None, None);
    for _ in 0..2 {
        match cursor.byte(0) {
            sign @ (b'+' | b'-') if keep.is_none() => keep = Some(sign == b'+'),
            b'0' if width.is_none() => return cursor.refuse(start, "a block's margin cannot be 0 wide"),
            digit @ b'1'..=b'9' if width.is_none() => width = Some(usize::from(digit - b'0')),
            _ => break,
        }
        cursor.skip();
    }
    cursor.skip_blanks();
    cursor.skip_comment();
    if !cursor.is_line_over() {
        return cursor
            .refuse(start, "text behind the sign of a block: a text that begins with `|` or `>` needs quotes");
    }
    cursor.skip_line();
    Ok((keep, width))
}

/// Passes over the margin of a block's next line, and the empty lines before it. The first line that has text tells how
/// wide the margin is, where nothing has yet.
fn block_margin(
    cursor: &mut Cursor<'_>,
    wanted: &mut usize,
    margin: isize,
    ends: &mut String,
) -> Result<TextMark, YamlError> {
    let (mut end, mut widest) = (cursor.mark, 0);
    loop {
        let is_margin = |cursor: &Cursor<'_>| *wanted == 0 || cursor.mark.column < *wanted;
        while is_margin(cursor) && cursor.byte(0) == b' ' {
            cursor.skip();
        }
        widest = widest.max(cursor.mark.column);
        if is_margin(cursor) && cursor.byte(0) == b'\t' {
            return cursor.refuse(cursor.mark, "a tab where only blanks may stand");
        }
        if !cursor.is_break(0) {
            break;
        }
        cursor.read_line(ends);
        end = cursor.mark;
    }
    if *wanted == 0 {
        *wanted = widest.max(usize::try_from(margin + 1).unwrap_or(0)).max(1);
    }
    Ok(end)
}
