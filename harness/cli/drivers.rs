//! Which system is driven.

use super::args::Which;
use super::output;
use anyhow::{Context as _, Result, bail};
#[cfg(feature = "component")]
use beaver_harness::driver::ComponentDriver;
#[cfg(feature = "native")]
use beaver_harness::driver::NativeDriver;
use beaver_harness::driver::reference::Defect;
use beaver_harness::driver::validate;
use beaver_harness::driver::{Driver, PythonDriver, Reference, StdioDriver, own, serve};
use std::process::ExitCode;

/// The driver that the command line names.
pub(crate) fn open(which: &Which) -> Result<Box<dyn Driver>> {
    if let Some((program, arguments)) = which.command.split_first() {
        if which.driver.is_some() {
            bail!("either --driver or a command behind --, not both");
        }
        return Ok(Box::new(StdioDriver::new(program).args(arguments)));
    }
    let component = which.component.clone();
    Ok(match which.driver.as_deref().unwrap_or("component") {
        #[cfg(feature = "component")]
        "component" => Box::new(ComponentDriver::new(component)),
        "processes" => Box::new(own::processes(None, component)?),
        "native" => Box::new(own::native(None)?),
        "both" => Box::new(own::both(None, component)?),
        "reference" => Box::new(reference(which)?),
        name => match name.split_once(':') {
            Some(("python", version)) => {
                Box::new(PythonDriver::new(version, which.python.clone())?)
            }
            _ => bail!("there is no driver {name:?}; `beaver-harness help` names them"),
        },
    })
}

/// The store in memory, with `--set defect=NAME` one that is wrong at every tenth opportunity, or
/// at every N-th with `--set every=N`.
fn reference(which: &Which) -> Result<Reference> {
    let Some(name) = which.settings.get("defect") else {
        return Ok(Reference::new());
    };
    let every = which
        .settings
        .get("every")
        .map_or(Some(10), serde_json::Value::as_u64);
    let every = every
        .filter(|every| *every > 0)
        .context("every takes a number from 1")?;
    let defect = Defect::ALL
        .iter()
        .find(|defect| name.as_str() == Some(defect.name()));
    let Some(defect) = defect else {
        let names: Vec<_> = Defect::ALL.iter().map(|defect| defect.name()).collect();
        bail!("there is no defect {name}; there are {}", names.join(", "));
    };
    Ok(Reference::broken(*defect, every))
}

/// Tries whether a driver keeps to the protocol.
pub(crate) fn check(which: &Which) -> Result<ExitCode> {
    // What lies in a temporary folder must outlive the trial.
    let python: PythonDriver;
    let command = match (which.command.split_first(), which.driver.as_deref()) {
        (Some((program, arguments)), None) => StdioDriver::new(program).args(arguments),
        (None, Some("processes")) => own::processes(None, which.component.clone())?,
        (None, Some("native")) => own::native(None)?,
        (None, Some(name)) if name.starts_with("python:") => {
            let version = name.trim_start_matches("python:");
            python = PythonDriver::new(version, which.python.clone())?;
            python.command().clone()
        }
        _ => bail!(
            "check-driver expects a command behind --, or --driver processes, native or python:VERSION"
        ),
    };
    let verdict = validate::validate(&command, &which.settings, validate::PATIENCE)?;
    if let Some(description) = &verdict.description {
        output::say(format_args!("{} {}", description.name, description.version))?;
    }
    for tried in &verdict.tried {
        output::say(format_args!("  ok: {tried}"))?;
    }
    match verdict.fault {
        None => {
            output::say("the driver keeps to the protocol, as far as was tried")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(fault) => {
            output::say(fault)?;
            if !verdict.notes.trim().is_empty() {
                output::say(format_args!(
                    "it wrote to standard error:\n{}",
                    verdict.notes.trim_end()
                ))?;
            }
            Ok(ExitCode::from(1))
        }
    }
}

/// Is a driver, until standard input ends.
pub(crate) fn serve(which: &Which) -> Result<ExitCode> {
    let driver: Box<dyn Driver> = match which.driver.as_deref() {
        #[cfg(feature = "component")]
        Some("component") => Box::new(ComponentDriver::new(which.component.clone())),
        #[cfg(feature = "native")]
        Some("native") => Box::new(NativeDriver),
        Some("reference") => Box::new(reference(which)?),
        other => bail!("{other:?} can't be served: there are component, native and reference"),
    };
    serve::serve(driver.as_ref()).context("serving")?;
    Ok(ExitCode::SUCCESS)
}
