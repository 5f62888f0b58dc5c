//! The pipeline, readable top to bottom: scenario → plan → fabric → metrics → gates → reports → exit code.

mod clock;
mod cost;
mod deploy;
mod drive;
mod embedded;
mod http;
pub mod machine;
mod outcome;
mod places;
mod progress;
mod scrape;
mod signals;
mod storm;
mod tokens;
mod verdict;

use crate::exit::Exit;
use crate::fabric::local::Local;
use crate::plan::{self, Compiled, Plan};
use crate::report::{self, Bundle, CostSample, Look, Outcome, Redactor, TargetMemory};
use crate::scenario::{self, Document, Problem};
use cost::Meter;
use deploy::Deploys;
use drive::Course;
use embedded::Gateway;
use progress::{Display, Progress};
use scrape::Scraper;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use storm::{StormOrder, storm};
use tokio::sync::mpsc::UnboundedReceiver;

/// For the embedded gateway to end after a run, beyond what it takes by itself.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(2);

/// Fetched tokens that are looked for in all that is written, each in many forms. (JWTs are known by their look, all of them.)
const MASKED: usize = 10_000;

/// What to run, and how to show it.
pub struct Order {
    /// The scenario.
    pub file: PathBuf,
    /// What the command line adds to it.
    pub options: scenario::Options,
    /// Reports land in a folder of their own under this one.
    pub out: PathBuf,
    /// No progress.
    pub quiet: bool,
    /// Colours on standard error.
    pub styled: bool,
    /// How the summary looks.
    pub look: Look,
}

/// What was measured, and how it was set up.
struct Measured {
    course: Course,
    plan: Plan,
    target: String,
    started: String,
    against: Vec<String>,
    cost: Vec<CostSample>,
    memory: Option<TargetMemory>,
    /// Fetched for it: secrets too.
    tokens: Vec<String>,
}

/// Runs a scenario to its verdict. Prints progress and problems to standard error, the summary to
/// standard output.
pub fn run(order: &Order) -> Exit {
    summarized(order).unwrap_or_else(|exit| exit)
}

fn summarized(order: &Order) -> Result<Exit, Exit> {
    // 1. What was written, and what will run.
    let (document, compiled) = ready(order, &order.options)?;
    let ran = one(&document, &compiled, order, &mut interrupts()?)?;
    let mut summary = Vec::new();
    let _ = report::terminal(&ran.outcome, &ran.files, &order.look, &mut summary);
    print(&summary);
    Ok(ran.exit)
}

/// [`prepare`]s the order's scenario with these options, and says what is wrong with it.
fn ready(order: &Order, options: &scenario::Options) -> Result<(Document, Compiled), Exit> {
    prepare(&order.file, options).map_err(|problems| {
        say(&problems.render(order.styled));
        Exit::ScenarioInvalid
    })
}

/// Begins to listen to signals.
fn interrupts() -> Result<UnboundedReceiver<()>, Exit> {
    signals::listen().map_err(|error| {
        say(&format!("squall: cannot listen to signals: {error}\n"));
        Exit::NothingRan
    })
}

/// A run that came to a verdict.
pub struct Ran {
    /// Secrets masked.
    pub outcome: Outcome,
    /// The files of its report, the page first; none when they could not be written.
    pub files: Vec<PathBuf>,
    /// The verdict.
    pub exit: Exit,
}

/// Runs what was prepared, and writes its report. Prints progress and what went wrong to standard error.
///
/// # Errors
/// The exit code when nothing ran.
fn one(
    document: &Document,
    compiled: &Compiled,
    order: &Order,
    interrupts: &mut UnboundedReceiver<()>,
) -> Result<Ran, Exit> {
    let mut redact = Redactor::new(document.secrets());
    warn(document, compiled, order.styled);
    if let Some(why) = refusal(compiled) {
        say(&format!("squall: {why}\n"));
        return Err(Exit::ScenarioInvalid);
    }
    // Better to hear of it now than after the run.
    if let Err(error) = writable(&order.out) {
        say(&format!(
            "squall: cannot write to {}: {error}\n",
            order.out.display()
        ));
        return Err(Exit::NotWritten);
    }

    // 2. Shards do it; the gateway, where it is embedded, is there for them.
    let mut display = Display::new(order.quiet, redact.clone());
    let folder = order.file.parent().unwrap_or(Path::new(""));
    let measured = match measure(document, compiled, folder, interrupts, &mut display) {
        Ok(measured) => measured,
        Err(why) => {
            say(&format!("squall: {}\n", redact.text(&why)));
            return Err(Exit::NothingRan);
        }
    };
    display.end();
    redact.also(measured.tokens.iter().take(MASKED));

    // 3. What it was worth.
    let Measured {
        course,
        plan,
        target,
        started,
        against,
        cost,
        memory,
        tokens: _,
    } = measured;
    let facts = outcome::Facts {
        plan: &plan,
        gates: &compiled.gates,
        description: document
            .scenario()
            .description
            .as_deref()
            .unwrap_or_default(),
        started,
        target,
        against,
        cost,
        memory,
        kernel: embedded_kernel(document),
        warnings: compiled.warnings.iter().map(worded).collect(),
    };
    let outcome = outcome::assemble(facts, &course);
    let exit = Exit::of(outcome.exit_code);
    let bundle = Bundle {
        histograms: outcome::histograms(&plan, &course.totals),
        outcome,
        scenario_yaml: document.redacted_yaml(),
    };

    // 4. What is left of it.
    let (files, exit) = match report::write(&order.out, &bundle, &redact) {
        Ok(files) => (files, exit),
        Err(error) => {
            say(&format!("squall: {}\n", redact.text(&error.to_string())));
            (Vec::new(), Exit::NotWritten)
        }
    };
    let mut outcome = redact.outcome(&bundle.outcome);
    // A verdict that no file holds is not one to build on.
    outcome.exit_code = exit.code();
    outcome.verdict = exit.label().to_owned();
    Ok(Ran {
        outcome,
        files,
        exit,
    })
}

/// Loads and compiles a scenario against this machine.
///
/// # Errors
/// All that is wrong with it, each at its place, whichever stage finds it.
pub fn prepare(
    file: &Path,
    options: &scenario::Options,
) -> Result<(Document, Compiled), scenario::Report> {
    let machine = machine::read();
    let compile =
        |document: &Document| plan::compile(document.scenario(), document.files(), &machine);
    let document = scenario::load(file, options)
        .map_err(|report| report.also(|rest| compile(rest).err().unwrap_or_default()))?;
    match compile(&document) {
        Ok(compiled) => Ok((document, compiled)),
        Err(problems) => Err(document.report(problems)),
    }
}

/// Warnings of the plan, and what this machine is short of.
fn warn(document: &Document, compiled: &Compiled, styled: bool) {
    if !compiled.warnings.is_empty() {
        say(&document.report(compiled.warnings.clone()).render(styled));
    }
    for shortage in compiled.needs.shortages.iter().filter(|s| !s.fatal) {
        say(&format!("squall: warning: rather few {shortage}\n"));
    }
}

/// Why this machine cannot carry the plan out, and the commands that change it; `None` when it can. A run
/// begun all the same would die half-way.
pub fn refusal(compiled: &Compiled) -> Option<String> {
    let fatal = compiled.needs.shortages.iter().filter(|s| s.fatal);
    let fatal: Vec<String> = fatal.map(|s| format!("too few {s}")).collect();
    (!fatal.is_empty()).then(|| {
        format!(
            "this machine cannot run the scenario:\n  {}",
            fatal.join("\n  ")
        )
    })
}

fn worded(problem: &Problem) -> String {
    match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    }
}

/// Starts everything, drives the run, ends everything. The error says why nothing could be started.
fn measure(
    document: &Document,
    compiled: &Compiled,
    folder: &Path,
    interrupts: &mut UnboundedReceiver<()>,
    display: &mut Display,
) -> Result<Measured, String> {
    let program = std::env::current_exe().map_err(|e| format!("cannot find squall itself: {e}"))?;
    // One thread, this one: children die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        let mut plan = compiled.plan.clone();
        let tokens = tokio::select! {
            biased;
            _ = interrupts.recv() => return Err("interrupted while tokens were fetched".into()),
            fetched = tokens::fetch(&mut plan) => fetched?,
        };
        let mut gateway = None;
        if let Some(embedded) = &document.scenario().target.embedded {
            let started = Gateway::start(&program, embedded)
                .await
                .map_err(|e| e.to_string())?;
            started.aim(&mut plan);
            gateway = Some(started);
        }
        let target = described(&plan, gateway.is_some());
        let started = clock::wall();
        let served_by = gateway.as_ref().map(Gateway::processes);
        let mut served_by = served_by.unwrap_or_default();
        // A target of somebody else's, where its process is named.
        if let (None, Some(pid)) = (&gateway, compiled.process) {
            served_by.add(pid);
            if let Some(named) = &document.scenario().target.pid_file {
                served_by.follow(folder.join(named));
            }
        }
        let scraper = compiled.page.clone().map(Scraper::start);
        let mut meter = Meter::new(display, served_by);
        meter.also(scraper.as_ref().map(Scraper::asks));
        let mut redact = Redactor::new(document.secrets());
        redact.also(tokens.iter().take(MASKED));
        let deploys = Deploys::new(&plan, gateway.as_ref().map(Gateway::roller), redact);
        let course = shards(&program, &plan, interrupts, deploys, &mut meter).await?;
        let cost = meter.samples();
        let memory = scraper.map(Scraper::finish);
        let mut against = Vec::new();
        if let Some(mut gateway) = gateway {
            if let Some(how) = gateway.ended() {
                against.push(format!("the embedded gateway ended during the run ({how})"));
            }
            against.extend(gateway.stop(GATEWAY_PATIENCE).await);
        }
        Ok(Measured {
            course,
            plan,
            target,
            started,
            against,
            cost,
            memory,
            tokens,
        })
    })
}

async fn shards(
    program: &Path,
    plan: &Plan,
    interrupts: &mut UnboundedReceiver<()>,
    deploys: Deploys,
    display: &mut impl Progress,
) -> Result<Course, String> {
    let mut fabric = Local::spawn(program, plan.generator().shards)
        .map_err(|e| format!("cannot start the shards: {e}"))?;
    let run = clock::run_tag();
    Ok(drive::drive(
        &mut fabric,
        plan,
        run,
        clock::monotonic,
        interrupts,
        deploys,
        display,
    )
    .await)
}

/// Bytes that the kernel may hold for a connection of the embedded gateway, where it was told: it doubles what it is told.
fn embedded_kernel(document: &Document) -> Option<f64> {
    let embedded = document.scenario().target.embedded.as_ref()?;
    Some(2.0 * embedded.send_buffer?.0 as f64)
}

/// The target in words: addresses only, for the rest of a URL may hold secrets.
fn described(plan: &Plan, embedded: bool) -> String {
    const SHOWN: usize = 3;
    let endpoints = &plan.target().endpoints;
    let mut words: Vec<String> = endpoints
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if endpoints.len() > SHOWN {
        words.push(format!("{} more", endpoints.len() - SHOWN));
    }
    let mut words = words.join(", ");
    if let Some(proxy) = &plan.target().proxy {
        words.push_str(&format!(" through {proxy}"));
    }
    if embedded {
        format!("embedded gateway at {words}")
    } else {
        words
    }
}

/// Whether a report folder can be made there.
fn writable(out: &Path) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    let probe = out.join(format!(".squall-{}", std::process::id()));
    std::fs::File::create(&probe)?;
    std::fs::remove_file(&probe)
}

/// Prints a result. A reader that left early still gets the exit code.
fn print(text: &[u8]) {
    let mut out = io::stdout();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
