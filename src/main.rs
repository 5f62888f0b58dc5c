//! The `squall` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    squall::cli::main()
}
