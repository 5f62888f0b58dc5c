//! Texts that came from the target, made safe to show: no control characters, no terminal escapes, no
//! direction overrides, bounded length. HTML escaping is the report's own duty.

/// Longest text kept, in characters.
pub(super) const LONGEST: usize = 200;

/// Decodes lossily, drops what could move a cursor, hide or reorder text, and cuts to 200 characters (the last one `…` then).
///
/// Runs of white space (line ends and tabs too) become one space.
pub fn clean(bytes: &[u8]) -> String {
    // A character has 4 bytes at most; escapes may take more, so look at a bounded multiple of it.
    let bounded = bytes.get(..LONGEST * 16).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bounded);
    let mut out = String::new();
    let mut length = 0;
    let mut space = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' || c == '\u{9b}' {
            skip_escape(c, &mut rest);
            continue;
        }
        if c.is_whitespace() {
            space = length > 0;
            continue;
        }
        if c.is_control() || invisible(c) {
            continue;
        }
        let needed = 1 + usize::from(space);
        if length + needed > LONGEST {
            // Make room for the mark that something is missing.
            while length >= LONGEST {
                out.pop();
                length -= 1;
            }
            out.push('…');
            return out;
        }
        if space {
            out.push(' ');
            space = false;
        }
        out.push(c);
        length += needed;
    }
    out
}

/// Skips what follows ESC (or the one-character CSI): ECMA-48 control sequences whole, and two-character escapes.
fn skip_escape(first: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let kind = if first == '\u{9b}' {
        Some('[')
    } else {
        rest.next_if(char::is_ascii)
    };
    match kind {
        // CSI: parameters and intermediates 0x20–0x3f, then one final byte.
        Some('[') => {
            while rest
                .next_if(|c| ('\u{20}'..='\u{3f}').contains(c))
                .is_some()
            {}
            rest.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        // Strings (OSC, DCS, SOS, PM, APC) end with BEL or ST; without an end all of the rest belongs to it.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                if c == '\u{07}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Characters without a shape that change how others are shown: bidi controls, zero-width ones, tags, the byte order mark.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dangerous_texts_become_plain() {
        let table: &[(&[u8], &str)] = &[
            (b"going away", "going away"),
            (b"  two\r\n lines\t ", "two lines"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]8;;http://x\x1b\\link", "link"),
            (b"a\x1bPq...\x1b\\b", "ab"),
            (b"a\x1bcb", "ab"),
            (b"a\xc2\x9b2Jb", "ab"),
            (b"a\x1b]open", "a"),
            (b"nul\0bell\x07del\x7f", "nulbelldel"),
            (b"bad \xff utf8", "bad \u{fffd} utf8"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}".as_bytes(), "abcd"),
            ("żółć 🦀".as_bytes(), "żółć 🦀"),
            (b"", ""),
            (b"\x1b", ""),
        ];
        for (input, expected) in table {
            assert_eq!(clean(input), *expected, "{input:?}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let exact = "x".repeat(200);
        assert_eq!(clean(exact.as_bytes()), exact);
        let cut = clean("x".repeat(201).as_bytes());
        assert_eq!(cut, format!("{}…", "x".repeat(199)));
        let spaced = clean(format!("{} y", "x".repeat(199)).as_bytes());
        assert_eq!(spaced, format!("{}…", "x".repeat(199)));
        assert_eq!(
            clean(format!("{} y", "x".repeat(198)).as_bytes())
                .chars()
                .count(),
            200
        );
        assert!(clean(&vec![b'z'; 10_000_000]).chars().count() == 200);
        // The length is of characters, however many bytes they take.
        let wide = "🦀".repeat(200);
        assert_eq!(clean(wide.as_bytes()), wide);
    }

    proptest! {
        #[test]
        fn nothing_dangerous_passes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let text = clean(&bytes);
            prop_assert!(text.chars().count() <= LONGEST);
            prop_assert!(!text.chars().any(|c| c.is_control() || invisible(c)));
        }

        #[test]
        fn cleaning_twice_changes_nothing(text in "\\PC{0,300}") {
            let once = clean(text.as_bytes());
            prop_assert_eq!(clean(once.as_bytes()), once);
        }
    }
}
