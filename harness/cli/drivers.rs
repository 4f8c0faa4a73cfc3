//! Which system is driven.

use super::args::Which;
use anyhow::{Context as _, Result, bail};
use beaver_harness::driver::validate::{self, Finding};
use beaver_harness::driver::{
    ComponentDriver, Driver, NativeDriver, PythonDriver, ReferenceDriver, StdioDriver, own, serve,
};
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
        "component" => Box::new(ComponentDriver::new(component)?),
        "processes" => Box::new(own::processes(None, component)?),
        "native" => Box::new(own::native(None)?),
        "reference" => Box::new(ReferenceDriver::new()),
        name => match name.split_once(':') {
            Some(("python", version)) => Box::new(PythonDriver::new(version, which.python.clone())?),
            _ => bail!("there is no driver {name:?}; `beaver-harness help` names them"),
        },
    })
}

/// Is a driver, until standard input ends.
pub(crate) fn serve(which: &Which) -> Result<ExitCode> {
    let driver: Box<dyn Driver> = match which.driver.as_deref() {
        Some("component") => Box::new(ComponentDriver::new(which.component.clone())?),
        Some("native") => Box::new(NativeDriver),
        Some("reference") => Box::new(ReferenceDriver::new()),
        other => bail!("{other:?} can't be served: there are component, native and reference"),
    };
    serve::serve(driver.as_ref()).context("serving")?;
    Ok(ExitCode::SUCCESS)
}
