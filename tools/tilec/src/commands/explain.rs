//! `tilec explain T0203`: the page of a code, as it stands in `docs/diagnostics`.

use crate::output;

pub fn run(code: &str) -> bool {
    let code = code.to_ascii_uppercase();
    match tile_base::explain(&code) {
        Some(page) => {
            output::print(&format!("{}\n", page.trim_end()));
            true
        }
        None => {
            output::tell(&format!(
                "error: there is no diagnostic `{code}`; codes are T and four digits, such as T0203"
            ));
            false
        }
    }
}
