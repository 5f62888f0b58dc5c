use super::*;

/// The transport's reader of Close frames refuses exactly the codes that a scenario may not send.
#[test]
fn what_may_be_sent_is_what_may_be_received() {
    for code in 0..=u16::MAX {
        let received = crate::transport::ws::Close::parse(&code.to_be_bytes()).is_ok();
        assert_eq!(sendable(code), received, "{code}");
    }
}
