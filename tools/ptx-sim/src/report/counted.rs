//! The counters of a run, as a table and as JSON.

use ptx_sim::profile::{Hot, Profile, bounds};
use serde_json::{Value, json};
use tile_target::{Target, rates};

/// What was counted, and the device to bound the time for.
pub struct Counted {
    pub profile: Profile,
    pub target: &'static Target,
}

impl Counted {
    fn bounds(&self) -> Vec<bounds::Bound> {
        rates::rates(self.target).map_or(vec![], |r| bounds::bounds(&self.profile, self.target, r))
    }

    pub fn json(&self) -> Value {
        let p = &self.profile;
        let pipes: serde_json::Map<String, Value> = p
            .pipes
            .iter()
            .map(|(pipe, warps, lanes)| (pipe.name().into(), json!({ "warps": warps, "lanes": lanes })))
            .collect();
        let bounds: Vec<Value> =
            self.bounds().iter().map(|b| json!({ "by": b.by, "seconds": b.seconds })).collect();
        json!({
            "ctas": p.ctas,
            "thread_instructions": p.thread_instructions,
            "warp_instructions": p.warp_instructions,
            "pipes": pipes,
            "tensor_multiply_adds": p.tensor,
            "global": {
                "bytes": p.total.global_bytes,
                "sectors": p.total.sectors,
                "touched_bytes": p.touched_bytes,
            },
            "shared": { "wavefronts": p.total.wavefronts, "least_wavefronts": p.total.least_wavefronts },
            "waits": p.total.waits,
            "sites": p.hot.iter().map(site).collect::<Vec<_>>(),
            "time": { "target": self.target.name, "at_least": bounds },
        })
    }

    pub fn text(&self) -> String {
        let p = &self.profile;
        let mut out = format!("{:>14} warp-instructions", p.warp_instructions);
        for (pipe, warps, _) in p.pipes.iter().filter(|x| x.1 > 0) {
            out += &format!(", {warps} {}", pipe.name());
        }
        out += &format!("\n{:>14} multiply-adds on tensor cores\n", p.tensor);
        out += &format!(
            "{:>14} bytes of global memory asked for, {} in sectors, {} touched\n",
            p.total.global_bytes,
            p.total.sectors * 32,
            p.touched_bytes
        );
        out += &format!(
            "{:>14} wavefronts of shared memory, {} without bank conflicts\n",
            p.total.wavefronts, p.total.least_wavefronts
        );
        out += "  line source pipe        warps      bytes    sectors wavefronts   at least      waits\n";
        p.hot.iter().for_each(|h| out += &row(h));
        for b in self.bounds().iter().filter(|b| b.seconds > 0.0) {
            out += &format!("{:>14.3} µs at least on {} by {}\n", b.seconds * 1e6, self.target.name, b.by);
        }
        out
    }
}

fn row(h: &Hot) -> String {
    let s = &h.site;
    format!(
        "{:>6} {:>6} {:<8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        h.line,
        h.source_line,
        h.pipe.name(),
        s.warps,
        s.global_bytes,
        s.sectors,
        s.wavefronts,
        s.least_wavefronts,
        s.waits
    )
}

fn site(h: &Hot) -> Value {
    let s = &h.site;
    json!({
        "line": h.line,
        "source_line": h.source_line,
        "pipe": h.pipe.name(),
        "warps": s.warps,
        "lanes": s.lanes,
        "global_bytes": s.global_bytes,
        "sectors": s.sectors,
        "wavefronts": s.wavefronts,
        "least_wavefronts": s.least_wavefronts,
        "waits": s.waits,
    })
}
