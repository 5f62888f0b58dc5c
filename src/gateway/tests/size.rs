//! What a million connections cost: nothing of this may grow unnoticed.

use super::super::client::Client;
use super::super::connection::Connection;
use super::super::listener;
use super::super::topic::Subscription;
use tokio::net::TcpStream;

fn size_of_future<T, F: Future>(_: fn(T) -> F) -> usize {
    size_of::<F>()
}

/// About 1.2 KiB of user memory an idle connection, as measured: these, and what tokio holds for a task
/// and a socket (128 and 256 bytes), and the tables' places.
#[test]
fn a_connection_that_waits_is_small() {
    let connection = size_of::<Connection<TcpStream>>();
    assert!(connection <= 400, "{connection} bytes a connection");
    let future = size_of_future(listener::serve::<TcpStream>);
    assert!(future <= connection, "{future} bytes a task's future");
    let client = size_of::<Client>();
    assert!(client <= 128, "{client} bytes a client");
    let subscription = size_of::<Subscription>();
    assert!(subscription <= 24, "{subscription} bytes a subscription");
}
