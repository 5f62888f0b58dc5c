//! What a Close frame says.

use super::violation::Violation;

/// The content of a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// The code; `None`: the frame was empty (which APIs show as 1005).
    pub code: Option<u16>,
    /// The reason: untrusted text, at most 123 bytes.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Reads a Close frame's payload.
    ///
    /// # Errors
    /// A payload of one byte, a code that must not be sent, a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return match payload {
                [] => Ok(Close {
                    code: None,
                    reason: "",
                }),
                _ => Err(Violation::CloseLength),
            };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
        Ok(Close {
            code: Some(code),
            reason,
        })
    }
}

/// RFC 6455 §7.4 and the IANA registry: 1004 is reserved, 1005, 1006 and 1015 exist only in APIs.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
