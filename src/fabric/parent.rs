//! A child of squall never outlives it.

/// Asks the kernel to kill this process when its parent dies, even while it is stopped. Children also
/// watch their standard input, which ends with the parent, for the moment before this is called.
pub fn die_with_parent() {
    // Cannot fail for a signal that exists; if it did, standard input would still tell.
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}
