//! What a run found, for people and as JSON.
//!
//! ```json
//! { "verdict": "refuted",
//!   "findings": [{ "kind": "OutOfBounds", "message": "…", "line": 13, "source_line": 0, "cta": [0, 0, 0],
//!                  "warp": 0, "lane": 31, "other": null, "missing": null }],
//!   "notes": [],
//!   "counters": { "ctas": 1, "thread_instructions": 320 } }
//! ```

use ptx_sim::{Fault, Summary};
use serde_json::{Value, json};

/// The summary of a run that came to its end, or the one fault that ended it.
pub struct Report {
    pub findings: Vec<Fault>,
    pub summary: Option<Summary>,
}

impl Report {
    pub fn clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Suspicious, and no reason to fail.
    fn notes(&self) -> &[Fault] {
        self.summary.as_ref().map_or(&[], |s| &s.notes)
    }

    fn verdict(&self) -> &'static str {
        if self.clean() { "clean" } else { "refuted" }
    }

    pub fn json(&self) -> Value {
        let mut report = json!({
            "verdict": self.verdict(),
            "findings": self.findings.iter().map(describe).collect::<Vec<_>>(),
            "notes": self.notes().iter().map(describe).collect::<Vec<_>>(),
        });
        if let Some(s) = &self.summary {
            report["counters"] = json!({ "ctas": s.ctas, "thread_instructions": s.thread_instructions });
            if !s.printed.is_empty() {
                report["printed"] = json!(s.printed);
            }
        }
        report
    }

    pub fn text(&self) -> String {
        let printed = self.summary.as_ref().map_or("", |s| &s.printed);
        let mut lines: Vec<String> = printed.lines().map(|l| format!("printed: {l}")).collect();
        lines.extend(self.findings.iter().map(|f| format!("refuted: {f}")));
        lines.extend(self.notes().iter().map(|f| format!("note: {f}")));
        if let (true, Some(s)) = (self.clean(), &self.summary) {
            lines.push(format!("clean: {} CTAs, {} thread-instructions", s.ctas, s.thread_instructions));
        }
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
        "other": fault.other.map(|o| json!({
            "line": o.line, "source_line": o.loc.1, "cta": o.cta, "warp": o.warp,
        })),
        "missing": fault.missing,
    })
}
