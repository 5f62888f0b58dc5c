//! Texts that somebody else wrote, made harmless. Every renderer goes through here, whatever was cleaned before:
//! a summary may be read back from a file that anybody could have edited.

/// Longest text shown, in characters.
const LONGEST: usize = 400;

/// One line without controls, terminal escapes, direction overrides or invisible characters.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    for c in text.chars() {
        let c = match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            c if hidden(c) => continue,
            c => c,
        };
        if kept == LONGEST {
            out.push('…');
            break;
        }
        kept += 1;
        out.push(c);
    }
    out
}

/// Characters that act instead of showing: controls, bidirectional marks, zero-width, tags, noncharacters.
pub(super) fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
        || (c as u32) & 0xfffe == 0xfffe
}

/// For Markdown as GitHub reads it, inside and outside of tables: no markup, links, mentions or references.
pub(super) fn markdown(text: &str) -> String {
    // An invisible space parts what GitHub would make a mention, a reference or a link of; it looks at the
    // rendered text, so that escapes would not help.
    const PART: char = '\u{200b}';
    let text = clean(text);
    let mut out = String::with_capacity(text.len() + 16);
    let mut word = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' => out.push_str("&#124;"),
            '`' => out.push_str("&#96;"),
            '\\' => out.push_str("&#92;"),
            '*' | '_' | '[' | ']' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '@' | '#' => {
                out.push(c);
                out.push(PART);
            }
            // The scheme of an address is parted from its `//`.
            '/' if out.ends_with(':') => {
                out.push(PART);
                out.push(c);
            }
            '.' if word.eq_ignore_ascii_case("www") => {
                out.push(PART);
                out.push(c);
            }
            c => out.push(c),
        }
        if c.is_alphanumeric() {
            word.push(c)
        } else {
            word.clear()
        }
    }
    out
}

/// For a cell of a CSV file that a spreadsheet may open: nothing that it would take for a formula.
pub(super) fn cell(text: &str) -> String {
    let text = clean(text);
    if text
        .trim_start()
        .starts_with(['=', '+', '-', '@', '−', '＝', '＋', '－', '＠'])
    {
        format!("'{text}")
    } else {
        text
    }
}

/// Columns that a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    match c as u32 {
        0x300..=0x36f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => {
            2
        }
        0xff01..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The text cut to so many columns, with `…` where something was cut.
pub(super) fn fit(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += columns(c);
        if used > limit {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_leaves_one_plain_line() {
        for (from, to) in [
            ("plain – naïve 日本", "plain – naïve 日本"),
            ("a\nb\tc\r\u{2028}d", "a b c  d"),
            ("\x1b[2Jx\x07\x00\u{9b}31m", "[2Jx31m"),
            ("\u{202e}evil\u{2066}\u{200f}\u{feff}\u{200b}", "evil"),
            ("tag\u{e0041}\u{fffe}\u{1ffff}", "tag"),
        ] {
            assert_eq!(clean(from), to);
        }
        assert_eq!(clean(&"x".repeat(LONGEST)).chars().count(), LONGEST);
        assert_eq!(clean(&"x".repeat(5000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn markdown_has_no_markup_left() {
        for (from, to) in [
            ("a|b", "a&#124;b"),
            ("<script>", "&lt;script&gt;"),
            ("](javascript:x)", "\\](javascript:x)"),
            ("`code`", "&#96;code&#96;"),
            ("\\|", "&#92;&#124;"),
            (
                "@user #12 https://x www.x.y",
                "@\u{200b}user #\u{200b}12 https:\u{200b}//x www\u{200b}.x.y",
            ),
            (
                "*b* _i_ ~s~ $m$ [x]",
                "\\*b\\* \\_i\\_ \\~s\\~ \\$m\\$ \\[x\\]",
            ),
            ("p99 < 5", "p99 &lt; 5"),
        ] {
            assert_eq!(markdown(from), to);
        }
    }

    #[test]
    fn cells_are_never_formulas() {
        for (from, to) in [
            ("=1+1", "'=1+1"),
            (" @x", "' @x"),
            ("steady", "steady"),
            ("\t-2", "' -2"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(cell(from), to);
        }
    }

    #[test]
    fn fitting_counts_columns() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 5), "abcd…");
        assert_eq!(width("日本"), 4);
        assert_eq!(fit("日本語", 5), "日本…");
    }
}
