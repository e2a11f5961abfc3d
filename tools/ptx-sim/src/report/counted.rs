//! The counters of a run, as a table and as JSON.

use ptx_sim::{
    profile::{Hot, Profile, bounds},
    time::{Prediction, TimeError},
};
use serde_json::{Value, json};
use tile_target::{Target, rates};

/// What was counted, and the device to bound the time for.
pub struct Counted {
    pub profile: Profile,
    pub time: Result<Prediction, TimeError>,
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
            "counted_ctas": p.counted,
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
            "time": { "target": self.target.name, "at_least": bounds, "predicted": predicted(&self.time) },
        })
    }

    pub fn text(&self) -> String {
        let p = &self.profile;
        let mut out = String::new();
        if p.counted < p.ctas {
            out += &format!("{:>14} CTAs of {} stand for all\n", p.counted, p.ctas);
        }
        out += &format!("{:>14} warp-instructions", p.warp_instructions);
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
        out += &prediction_text(&self.time);
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

/// Resources and stalls that the text names; JSON has more.
const NAMED: usize = 6;
const NAMED_STALLS: usize = 10;
const STALLS: usize = 64;

fn predicted(time: &Result<Prediction, TimeError>) -> Value {
    let p = match time {
        Ok(p) => p,
        Err(e) => return json!({ "missing": e.to_string() }),
    };
    let uses: serde_json::Map<String, Value> =
        p.uses.iter().map(|u| (u.of.to_string(), json!(u.share))).collect();
    let stalls = p.lost.iter().take(STALLS).map(
        |l| json!({ "line": l.line, "source_line": l.source_line, "why": l.why.name(), "share": l.share }),
    );
    json!({
        "seconds": p.seconds,
        "clocks": p.clocks,
        "clock_hz": p.clock,
        "bound": p.bound,
        "checked": p.checked,
        "memory_bytes": p.memory_bytes,
        "ctas_at_once": p.shares.places * p.shares.cluster_size,
        "registers": p.shares.registers,
        "in_use": uses,
        "stalls": stalls.collect::<Vec<_>>(),
    })
}

fn prediction_text(time: &Result<Prediction, TimeError>) -> String {
    let p = match time {
        Ok(p) => p,
        Err(e) => return format!("no prediction: {e}\n"),
    };
    let checked = match p.checked {
        Some(family) => format!("compared with measurements: {family}"),
        None => "not calibrated: no kernel of this kind was compared with measurements".into(),
    };
    let mut out = format!(
        "{:>14.3} µs predicted on {} at {:.2} GHz, bound by {} ({checked})\n",
        p.seconds * 1e6,
        p.target,
        p.clock / 1e9,
        p.bound
    );
    out += "               in use:";
    for u in p.uses.iter().take(NAMED) {
        out += &format!(" {} {:.0} %,", u.of, 100.0 * u.share);
    }
    out.pop();
    out += "\n  line source where warps lose time\n";
    for l in p.lost.iter().take(NAMED_STALLS) {
        out += &format!("{:>6} {:>6} {:.1} % {}\n", l.line, l.source_line, 100.0 * l.share, l.why.name());
    }
    out
}
