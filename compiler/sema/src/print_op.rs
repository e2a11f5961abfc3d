//! The text form of a typed op.

use crate::{kernel::relation_text, typed::*};
use tile_base::signature::ParamKind;

impl TypedProgram {
    /// Temporaries, steps, then each kernel.
    pub fn print(&self) -> String {
        let mut out = format!("op {}\n", self.name);
        for t in &self.temps {
            let shape: Vec<String> = t.shape.iter().map(|s| s.to_string()).collect();
            out.push_str(&format!("    temp {}: {}[{}]\n", t.name, t.dtype, shape.join(", ")));
        }
        print_steps(self, &self.steps, 1, &mut out);
        for k in &self.kernels {
            out.push_str(&k.print());
        }
        out
    }

    fn show_arg(&self, a: &HostArg) -> String {
        match a {
            HostArg::Param(n) => self.signature.params.get(*n).map_or("?", ParamKind::name).to_string(),
            HostArg::Temp(n) => self.temps.get(*n).map_or("?".into(), |t| t.name.clone()),
            HostArg::Part { of, subscripts } => {
                let subs: Vec<String> = subscripts
                    .iter()
                    .map(|s| match s {
                        HostPart::At(v) => v.to_string(),
                        HostPart::All => ":".into(),
                        HostPart::Range(lo, hi) => format!("{lo}..{hi}"),
                    })
                    .collect();
                format!("{}[{}]", self.show_arg(of), subs.join(", "))
            }
            HostArg::Size(s) => s.to_string(),
            HostArg::Float(v) => format!("{v:?}"),
            HostArg::Absent => "absent".into(),
        }
    }
}

fn print_steps(p: &TypedProgram, steps: &[HostStep], depth: usize, out: &mut String) {
    let pad = "    ".repeat(depth);
    for s in steps {
        match s {
            HostStep::Launch { kernel, args, .. } => {
                let name = p.kernels.get(*kernel).map_or("?", |k| k.name.as_str());
                let args: Vec<String> = args.iter().map(|a| p.show_arg(a)).collect();
                out.push_str(&format!("{pad}launch {kernel} {name}({})\n", args.join(", ")));
            }
            HostStep::Let { name, value } => out.push_str(&format!("{pad}let {name} = {value}\n")),
            HostStep::For { name, lo, hi, body } => {
                out.push_str(&format!("{pad}for {name} in {lo}..{hi}\n"));
                print_steps(p, body, depth + 1, out);
            }
            HostStep::If { lhs, op, rhs, then, otherwise } => {
                out.push_str(&format!("{pad}if {lhs} {} {rhs}\n", relation_text(*op)));
                print_steps(p, then, depth + 1, out);
                if !otherwise.is_empty() {
                    out.push_str(&format!("{pad}else\n"));
                    print_steps(p, otherwise, depth + 1, out);
                }
            }
        }
    }
}
