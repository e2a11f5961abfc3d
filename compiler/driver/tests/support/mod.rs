//! What several tests of the driver share.

use tile_driver::testing::FileReport;

/// Everything in a report that is no success: faults of the file, failed cases, and rungs that a case did not climb.
pub fn failures(report: &FileReport) -> Vec<String> {
    let mut failed: Vec<String> = report.diagnostics.iter().map(|d| d.message.clone()).collect();
    for case in &report.cases {
        let stopped = case.stopped.iter().flat_map(|s| &s.because);
        let told = case.failures.iter().chain(stopped);
        failed.extend(told.map(|d| format!("{}: {} {}", case.label, d.code, d.message)));
    }
    failed
}
