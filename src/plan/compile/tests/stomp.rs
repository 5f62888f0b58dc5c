//! What may be said of STOMP's NACK, and what is told of what may not.

use super::*;

fn sub(settings: &str) -> String {
    format!("{{clients: {{sub: {{protocol: {{stomp: {settings}}}}}}}}}")
}

#[test]
fn a_share_of_deliveries_may_be_refused() {
    for (settings, expected) in [
        ("{}", 0),
        ("{ack: client, nack: 5%}", 50_000),
        ("{ack: client_individual, nack: 100%}", 1_000_000),
    ] {
        let compiled = compiled(&sub(settings));
        let ProtocolConfig::Stomp(config) = &compiled.plan.groups()[0].protocol else {
            panic!("{settings}");
        };
        assert_eq!(config.nack_millionths, expected, "{settings}");
    }
}

#[test]
fn what_cannot_be_refused_is_told() {
    for (settings, text) in [
        ("{nack: 5%}", "nothing to refuse"),
        ("{ack: client, nack: 0%}", "more than 0%"),
        ("{ack: client, nack: 5%, versions: ['1.0']}", "no NACK"),
    ] {
        let path = "clients.sub.protocol.stomp.nack";
        one_problem(Level::Error, &[(&sub(settings), path, text)]);
    }
}
