//! Every round's figures as a file.

use crate::figures::{Round, Row};
use crate::run::Results;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) fn write(path: &Path, results: &Results) -> Result<()> {
    let rows: Vec<Value> = results.rows.iter().map(row).collect();
    let sizes = &results.sizes;
    let value = json!({
        "machine": results.machine,
        "component_bytes": sizes.component_bytes,
        "precompiled_bytes": sizes.precompiled_bytes,
        "compile_s": sizes.compile.as_secs_f64(),
        "load_s": sizes.load.as_secs_f64(),
        "rows": rows,
    });
    std::fs::write(path, format!("{value:#}\n"))
        .with_context(|| format!("writing {}", path.display()))
}

fn row(row: &Row) -> Value {
    let rounds: Vec<Value> = row.rounds.iter().map(round).collect();
    json!({ "name": row.measurement.title(), "measurement": row.measurement, "rounds": rounds })
}

fn round(round: &Round) -> Value {
    json!({
        "native": round.native,
        "component": round.component,
        "python": round.python,
    })
}
