//! `--in NAME=FILE` and `--arg NAME=V`: the arguments of a launch.

use super::twice;
use crate::cli::Data;
use tile_base::Diagnostic;
use tile_driver::{Session, choose::Given};
use tile_tensor::{Argument, Scalar, files};

/// Puts them among what is given; several faults are reported at once.
pub fn read_data(session: &mut Session, data: &Data, given: &mut Given, found: &mut Vec<Diagnostic>) {
    for (name, file) in &data.inputs {
        match session.timer.time("read", || files::read_tensor(file)) {
            Ok(t) => twice(
                given.arguments.insert(name.clone(), Argument::Tensor(t)).is_some(),
                "--in",
                name,
                found,
            ),
            Err(d) => found.push(d.note(format!("for `--in {name}={file}`"))),
        }
    }
    for (name, value) in &data.args {
        match scalar(value) {
            Some(s) => twice(
                given.arguments.insert(name.clone(), Argument::Scalar(s)).is_some(),
                "--arg",
                name,
                found,
            ),
            None => {
                let message =
                    format!("`--arg {name}={value}`: `{value}` is neither a number nor true or false");
                found.push(Diagnostic::global("T0827", message).help("write `--arg NAME=0.125`"));
            }
        }
    }
}

fn scalar(text: &str) -> Option<Scalar> {
    match text {
        "true" => Some(Scalar::Bool(true)),
        "false" => Some(Scalar::Bool(false)),
        _ => match text.parse::<i64>() {
            Ok(v) => Some(Scalar::Int(v)),
            Err(_) => text.parse::<f64>().ok().map(Scalar::Float),
        },
    }
}
