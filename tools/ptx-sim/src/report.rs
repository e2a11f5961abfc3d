//! What a run found, for people and as JSON.
//!
//! ```json
//! { "verdict": "refuted",
//!   "findings": [{ "kind": "OutOfBounds", "message": "…", "line": 13, "source_line": 0, "cta": [0, 0, 0],
//!                  "warp": 0, "lane": 31, "other": null, "missing": null }],
//!   "notes": [],
//!   "printed": "",
//!   "shadow": { "bytes": 1024, "touched": 4096 },
//!   "counters": { "ctas": 1, "thread_instructions": 320 } }
//! ```
//!
//! `shadow` is there with `--check`: the memory that the check needed, of how much that the kernel touched. With `--count` the counters say far more: see [`counted`].

pub mod counted;

use counted::Counted;

use ptx_sim::{Fault, Severity, Summary};
use serde_json::{Value, json};

/// What a run found, and what it did if it came to its end.
pub struct Report {
    findings: Vec<Fault>,
    /// Suspicious, and no reason to fail.
    notes: Vec<Fault>,
    summary: Option<Summary>,
    counted: Option<Counted>,
}

impl Report {
    pub fn complete(mut summary: Summary, counted: Option<Counted>) -> Report {
        let (findings, notes) = (std::mem::take(&mut summary.findings), std::mem::take(&mut summary.notes));
        Report { findings, notes, summary: Some(summary), counted }
    }

    /// A fault ended the run; what was found before it comes first.
    pub fn cut_short(mut fault: Fault) -> Report {
        let before = std::mem::take(&mut fault.before);
        let (notes, mut findings): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|f| f.severity == Severity::Note);
        findings.push(fault);
        Report { findings, notes, summary: None, counted: None }
    }

    pub fn clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn verdict(&self) -> &'static str {
        if self.clean() { "clean" } else { "refuted" }
    }

    pub fn json(&self) -> Value {
        let mut report = json!({
            "verdict": self.verdict(),
            "findings": self.findings.iter().map(describe).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(describe).collect::<Vec<_>>(),
        });
        if let Some(s) = &self.summary {
            report["printed"] = json!(s.printed);
            if s.shadow.touched > 0 {
                report["shadow"] = json!({ "bytes": s.shadow.bytes, "touched": s.shadow.touched });
            }
            report["counters"] = match &self.counted {
                Some(counted) => counted.json(),
                None => json!({ "ctas": s.ctas, "thread_instructions": s.thread_instructions }),
            };
        }
        report
    }

    pub fn text(&self) -> String {
        let printed = self.summary.as_ref().map(|s| s.printed.trim_end_matches('\n').to_string());
        let mut lines: Vec<String> = printed.into_iter().filter(|p| !p.is_empty()).collect();
        lines.extend(self.findings.iter().map(|f| format!("refuted: {f}")));
        lines.extend(self.notes.iter().map(|f| format!("note: {f}")));
        if let (true, Some(s)) = (self.clean(), &self.summary) {
            lines.push(format!("clean: {} CTAs, {} thread-instructions", s.ctas, s.thread_instructions));
        }
        lines.extend(self.counted.as_ref().map(Counted::text));
        lines.join("\n")
    }
}

fn describe(fault: &Fault) -> Value {
    json!({
        "kind": format!("{:?}", fault.kind),
        "message": fault.message,
        "line": fault.line,
        "source_line": fault.loc.1,
        "cta": fault.cta,
        "warp": fault.warp,
        "lane": fault.lane,
        "other": fault.other.as_ref().map(|o| json!({
            "line": o.line, "source_line": o.loc.1, "cta": o.cta, "warp": o.warp,
        })),
        "missing": fault.missing,
    })
}
