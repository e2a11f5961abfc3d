//! Faults of a run in the user's names.

use crate::{
    emit::{Site, SiteKind},
    runtime::{Fault, memory::VALUE},
};
use tile_base::Diagnostic;
use tile_graph::Graph;

/// What a fault at a site says.
pub fn fault(graph: &Graph, sites: &[Site], fault: &Fault) -> Diagnostic {
    let Some(site) = sites.get(fault.site as usize) else {
        return Diagnostic::global("T0719", format!("`{}` stopped without saying where", graph.name));
    };
    let instance = format!("in instance {} of the launch of `{}`", fault.ticket, graph.name);
    match &site.what {
        SiteKind::Access { object, .. } if fault.dim == VALUE => {
            let message = format!(
                "{} is stored in the index tensor `{object}`, whose values lie in {}..{}",
                fault.value, fault.lo, fault.hi
            );
            Diagnostic::error("T0714", site.span, message).label("outside of its index type").note(instance)
        }
        SiteKind::Access { object, write, proven } => {
            let verb = if *write { "writes" } else { "reads" };
            let message = format!(
                "this {verb} `{object}` outside: subscript {} is {}, the limits are {}..{}",
                fault.dim, fault.value, fault.lo, fault.hi
            );
            let (code, help) = match proven {
                true => ("T0719", "the compiler had claimed that it stays inside; please report it"),
                false => ("T0710", "narrow the range, or say what outside means with `else`"),
            };
            Diagnostic::error(code, site.span, message)
                .label("outside of the tensor")
                .note(instance)
                .help(help)
        }
        SiteKind::Take => {
            let message =
                format!("`take` is given the position {}, the limits are 0..{}", fault.value, fault.hi);
            Diagnostic::error("T0711", site.span, message).note(instance)
        }
        SiteKind::DivisionByZero => {
            Diagnostic::error("T0712", site.span, "an integer is divided by zero").note(instance)
        }
        SiteKind::Overflow { name } => {
            let message =
                format!("`{name}` of {} and {} leaves the 64 bits of an index", fault.value, fault.lo);
            Diagnostic::error("T0715", site.span, message)
                .label("index arithmetic is exact")
                .note(instance)
                .help("limit the operands, with `min` or `%`, or use smaller dimensions")
        }
        SiteKind::Assert { message } => {
            Diagnostic::error("T0713", site.span, format!("the assertion does not hold: {message}"))
                .note(instance)
        }
        SiteKind::Print { label } => {
            Diagnostic::error("T0719", site.span, format!("`print` of {label} failed"))
        }
    }
}

pub fn no_memory(graph: &Graph, bytes: u64) -> Diagnostic {
    Diagnostic::global("T0706", format!("`{}` needs {bytes} bytes for its tiles", graph.name))
        .help("choose smaller tile sizes, or fewer threads")
}

/// Labels of `print`, by site.
pub fn labels(sites: &[Site]) -> Vec<String> {
    let label = |s: &Site| match &s.what {
        SiteKind::Print { label } => label.clone(),
        _ => String::new(),
    };
    sites.iter().map(label).collect()
}
