//! The exit codes, all of them. 99, 104 and 105 mean what they mean to k6's users.

/// How `squall` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything held.
    Passed = 0,
    /// Wrong usage of the command line.
    Usage = 2,
    /// A gate failed on evidence.
    GateFailed = 99,
    /// The scenario is invalid, or this machine cannot hold what it plans.
    ScenarioInvalid = 104,
    /// Interrupted by a signal.
    Interrupted = 105,
    /// The run cannot be believed: generator-limited, a lost shard, a telemetry gap.
    RunInvalid = 106,
    /// No gate failed on evidence, but at least one had none: empty metric, too few samples, phase not reached.
    Inconclusive = 107,
    /// Results could not be written.
    NotWritten = 108,
    /// Nothing ran: no connection ever became ready.
    NothingRan = 109,
}

impl Exit {
    /// Every code, for the documentation and its test.
    pub const ALL: &'static [Exit] = &[
        Exit::Passed,
        Exit::Usage,
        Exit::GateFailed,
        Exit::ScenarioInvalid,
        Exit::Interrupted,
        Exit::RunInvalid,
        Exit::Inconclusive,
        Exit::NotWritten,
        Exit::NothingRan,
    ];

    /// The number handed to the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit of a number; a number that is none of them means the run cannot be believed.
    pub fn of(code: u8) -> Exit {
        let found = Exit::ALL.iter().find(|exit| exit.code() == code);
        found.copied().unwrap_or(Exit::RunInvalid)
    }

    /// In a word or two, for summaries.
    pub fn label(self) -> &'static str {
        match self {
            Exit::Passed => "PASSED",
            Exit::Usage => "WRONG USAGE",
            Exit::GateFailed => "FAILED",
            Exit::ScenarioInvalid => "SCENARIO INVALID",
            Exit::Interrupted => "INTERRUPTED",
            Exit::RunInvalid => "RUN INVALID",
            Exit::Inconclusive => "INCONCLUSIVE",
            Exit::NotWritten => "RESULTS NOT WRITTEN",
            Exit::NothingRan => "NOTHING RAN",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}
