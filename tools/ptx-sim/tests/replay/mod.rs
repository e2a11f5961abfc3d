//! Running items on a device one by one, so that one that breaks the device's context costs its own result and no other.
//!
//! An illegal address, an illegal instruction or a failed assertion in a kernel ends the context for the whole process: every
//! later call returns the same error. A kernel that waits for ever returns nothing at all. So there are two processes:
//!
//! ```text
//! the test            starts itself again for one group, reads its lines, notes the last item begun
//!   └─ the replayer   "begin 0 add.s32"  "same"  "begin 1 sub.s32"  "differ {…}"  "begin 2 ld"  "fault …"   and ends
//!   └─ the replayer   from item 3 on …
//! ```
//!
//! What the replayer says is one line for each thing; everything else that it prints is its driver's. A line that is told
//! on, begins with the word that a script can look for:
//!
//! ```text
//! DIFFER {"case": …, "got": "…", "expected": "…"}      bytes in hexadecimal
//! FAULT  {"case": …, "error": …}                        the kernel ended with an error, or with the process
//! REFUSED {"case": …, "error": …}                       the driver does not load its code
//! ```

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// Which items a replayer takes: the name of the group, and how many of its first items are done.
const GROUP: &str = "PTX_SIM_REPLAY_GROUP";
const FROM: &str = "PTX_SIM_REPLAY_FROM";

/// A replayer that says nothing for so long is stuck: a kernel that does not end, or a driver that does not answer.
const SILENCE: Duration = Duration::from_secs(40);

/// What became of one item.
pub enum Outcome {
    Same,
    /// What differs, for `DIFFER`.
    Differ(Value),
    Refused(String),
    Fault(String),
}

/// What a group came to.
#[derive(Default, Debug)]
pub struct Tally {
    pub same: usize,
    /// Items that differ, that ended the context, or that the driver does not load.
    pub bad: Vec<String>,
    /// Why nothing was run.
    pub left_out: Option<String>,
}

/// The replayer's side: what group it is for, and the first item; `None` in a process that nobody started for that.
pub fn wanted() -> Option<(String, usize)> {
    let from = std::env::var(FROM).ok()?.parse().ok()?;
    Some((std::env::var(GROUP).ok()?, from))
}

/// The replayer's side: a line to the test.
pub fn say(word: &str, rest: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads on when the test is gone, and then there is nobody to tell.
    let _ = writeln!(out, "\n@{word} {rest}").and_then(|()| out.flush());
}

/// The replayer's side: runs the items from `from` on; `alive` says whether the device still answers.
pub fn each<T>(
    items: &[T],
    from: usize,
    name: impl Fn(&T) -> &str,
    mut run: impl FnMut(&T) -> Outcome,
    alive: impl Fn() -> bool,
) {
    for (at, item) in items.iter().enumerate().skip(from) {
        let case = name(item);
        say("begin", &format!("{at} {case}"));
        match run(item) {
            Outcome::Same => say("same", ""),
            Outcome::Differ(mut what) => {
                what["case"] = json!(case);
                say("bad", &format!("DIFFER {what}"));
            }
            Outcome::Refused(error) => {
                say("bad", &format!("REFUSED {}", json!({"case": case, "error": error})));
            }
            Outcome::Fault(error) => {
                say("bad", &format!("FAULT {}", json!({"case": case, "error": error})));
                if !alive() {
                    return;
                }
            }
        }
    }
    say("end", "");
}

/// The test's side: replays a group by the ignored test `replayer` of this binary, and tells what is bad as it comes.
pub fn supervise(replayer: &str, group: &str, environment: &[(&str, &str)]) -> Tally {
    let mut tally = Tally::default();
    let mut from = 0;
    while let Some(next) = one_process(replayer, group, from, environment, &mut tally) {
        println!("{group}: going on with item {next} in a new process");
        from = next;
    }
    println!("{group}: {} the same, {} bad", tally.same, tally.bad.len());
    tally
}

/// One replayer; the item to go on with when it did not come to its end.
fn one_process(
    replayer: &str,
    group: &str,
    from: usize,
    environment: &[(&str, &str)],
    tally: &mut Tally,
) -> Option<usize> {
    let mut child = Command::new(std::env::current_exe().expect("the test knows its own file"))
        .args([replayer, "--exact", "--ignored", "--nocapture"])
        .env(GROUP, group)
        .env(FROM, from.to_string())
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    let lines = lines(&mut child);
    let mut begun: Option<(usize, String)> = None;
    let (mut judged, mut ended) = (true, false);
    let mut bad = |line: String| {
        println!("{line}");
        tally.bad.push(line);
    };
    let silent = loop {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => break true,
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
        };
        let Some((word, rest)) = line.strip_prefix('@').and_then(|l| l.split_once(' ')) else { continue };
        match word {
            "begin" => {
                let (at, name) = rest.split_once(' ').unwrap_or((rest, ""));
                begun = Some((at.parse().expect("a replayer counts items"), name.into()));
                judged = false;
            }
            "same" => (tally.same, judged) = (tally.same + 1, true),
            "bad" => {
                bad(rest.into());
                judged = true;
            }
            "left-out" => (tally.left_out, ended) = (Some(rest.into()), true),
            "end" => ended = true,
            _ => {}
        }
    };
    // Whatever hangs, ends here; a process that is over does not mind.
    let _ = child.kill();
    let status = child.wait().expect("a child that was started ends");
    if ended {
        return None;
    }
    let error = match silent {
        true => format!("nothing came for {} s", SILENCE.as_secs()),
        false => format!("the process ended: {status}"),
    };
    match begun {
        // A process that fails before any item would fail again.
        None => bad(format!("FAULT {}", json!({"case": "before the first", "error": error}))),
        Some((_, ref name)) if !judged => bad(format!("FAULT {}", json!({"case": name, "error": error}))),
        Some(_) => {}
    }
    begun.map(|(at, _)| at + 1)
}

/// The lines of a child as they come.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().expect("the output is a pipe"));
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Bytes as a script reads them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
