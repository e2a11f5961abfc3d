//! `tilec doctor`: what was found on this machine. Always succeeds: nothing it lists is needed for the CPU device.

use crate::output;
use serde_json::json;
use tile_driver::facts;

pub fn run(as_json: bool) -> bool {
    let all = facts::all();
    if as_json {
        let list: Vec<_> = all
            .iter()
            .map(|f| json!({"name": f.name, "found": f.found, "value": f.value, "help": f.help}))
            .collect();
        output::print(&format!("{}\n", json!({ "facts": list })));
        return true;
    }
    let mut text = String::new();
    for f in &all {
        text += &format!("{} {:<13} {}\n", if f.found { "ok" } else { "--" }, f.name, f.value);
        if !f.found {
            text += &format!("   {:<13} {}\n", "", f.help);
        }
    }
    output::print(&text);
    true
}
